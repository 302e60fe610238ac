"""What an operator must mend: said once a minute for each target, not for each request.

A refused credential, an empty account and a model that is not there do not pass by
themselves. Requests fail over around them, so nobody else would notice.
"""

from collections.abc import Callable
from typing import Final

from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.telemetry.log import Level, event_line

# Often enough to be seen on a screen that someone just opened, rare enough to be read.
_EVERY_S: Final = 60.0
# One entry for each target and class; a policy has far fewer.
_ENTRIES_MAX: Final = 10_000

_REMEDIES: Final = {
    FailureClass.AUTH: "the provider refuses our credential: check api_key",
    FailureClass.QUOTA: "the account is out of quota or money: raise it",
    FailureClass.NOT_FOUND: "the provider does not know this model: check the target",
}


class Attention:
    """Watches records for what only a person can mend.

    Args:
        write: takes a line and must not block.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._said_at: dict[tuple[str, FailureClass], float] = {}

    def observe(self, record: ExchangeRecord) -> None:
        """Take one ended exchange."""
        for attempt in record.attempts:
            remedy = _REMEDIES.get(attempt.failure) if attempt.failure else None
            if attempt.failure is None or remedy is None:
                continue
            key = (attempt.target, attempt.failure)
            at = record.admitted_at + attempt.ended_s
            if at - self._said_at.get(key, float("-inf")) < _EVERY_S:
                continue
            if len(self._said_at) >= _ENTRIES_MAX:
                self._said_at.clear()
            self._said_at[key] = at
            self._write(
                event_line(
                    "target_needs_attention",
                    at=at,
                    level=Level.ERROR,
                    target=attempt.target,
                    failure=attempt.failure.value,
                    status=attempt.status,
                    remedy=remedy,
                )
            )
