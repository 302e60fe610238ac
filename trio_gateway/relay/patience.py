"""A limit for one wait after the other, which costs nothing as long as it holds.

A stream waits twice for each of its chunks, and each wait has a limit that hardly ever
comes. A cancel scope around each would cost more than all that the relay does with the
chunk. Here one scope stands around all of them. When an alarm rings it looks whether
the wait of that moment is due; if not, it is set anew, for the first instant at which
that wait or a later one could be. So limits are kept to the instant, but a wait that
begins only notes until when: it need not be shorter than the one before, and where it
is, the alarm is set again.
"""

from math import inf
from types import TracebackType
from typing import Final, Self

import trio

from trio_gateway.relay.alarms import Alarm, Alarms
from trio_gateway.relay.curfew import Curfew

# However short the limits are, nobody is looked after more often than that.
_LOOK_S: Final = 0.05


class Patience:
    """The limits of one stream's waits; a context, in which they are kept.

    Once one has come it `is_over`, and whatever is awaited inside is cancelled.

    Args:
        alarms: who looks at the clock.
        curfew: when every wait for an upstream must end.
        shortest_s: how long a wait usually may take at least.
    """

    __slots__ = (
        "_alarm",
        "_alarms",
        "_by",
        "_curfew",
        "_rings_at",
        "_scope",
        "_shortest_s",
        "is_for_client",
        "is_over",
    )

    def __init__(self, alarms: Alarms, curfew: Curfew, *, shortest_s: float) -> None:
        self._alarms = alarms
        self._curfew = curfew
        self._shortest_s = max(shortest_s, _LOOK_S)
        self._scope = trio.CancelScope()
        self._alarm: Alarm | None = None
        self._rings_at = inf  # that alarm
        self._by = 0.0
        self.is_for_client = False  # whom the last wait was for
        self.is_over = False

    def for_upstream(self, by: float) -> None:
        """Begin to wait for an upstream; this ends with the curfew, too."""
        self.is_for_client = False
        if by > self._curfew.by:
            by = self._curfew.by
        self._by = by
        if by < self._rings_at:
            self._set_alarm(by)

    def for_client(self, by: float) -> None:
        """Begin to wait for the client, who shall have its last words in a drain."""
        self.is_for_client = True
        self._by = by
        if by < self._rings_at:
            self._set_alarm(by)

    def heed(self, curfew_by: float) -> None:
        """Note that the curfew will come."""
        if not self.is_for_client and curfew_by < self._by:
            self._by = curfew_by
            if curfew_by < self._rings_at:
                self._set_alarm(curfew_by)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.off()
        self._alarm = self._alarms.set(at, self._look)
        self._rings_at = at

    def _look(self) -> None:
        now = trio.current_time()
        if now >= self._by:
            self.is_over = True
            self._scope.cancel()
        else:
            self._set_alarm(min(self._by, now + self._shortest_s))

    def __enter__(self) -> Self:
        self._curfew.waits.add(self)
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._curfew.waits.discard(self)
        if self._alarm is not None:
            self._alarm.off()
        return self._scope.__exit__(exc_type, exc, traceback)
