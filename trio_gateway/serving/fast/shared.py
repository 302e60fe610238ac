"""What all connections of one server have in common."""

import time
from dataclasses import dataclass, field
from email.utils import formatdate

from hypercorn.typing import ASGIFramework

from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.limits import Limits


class DateLine:
    """The `date` of an answer, made anew once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def now(self) -> bytes:
        """Give the line, with its line break."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line


@dataclass(slots=True)
class Shared:
    """One app and the rules under which it is served."""

    app: ASGIFramework
    limits: Limits
    failures: FailureLog
    state: dict[str, object]  # what the app's lifespan hands to requests
    is_parting: bool = False  # an answer is the last one of its connection
    is_draining: bool = False  # and who has not asked yet is not waited for
    _date: DateLine = field(default_factory=DateLine)

    def date_line(self) -> bytes:
        """Give the line of the date that belongs into a head, or nothing."""
        return self._date.now() if self.limits.sends_date else b""
