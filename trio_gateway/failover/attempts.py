"""What has been tried for one exchange: the engine's own memory, and its arithmetic."""

from dataclasses import dataclass

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.health import Lease
from trio_gateway.policy.route import Target

# Ends that say nothing about whether the client can be answered.
_SILENT = (FailureClass.NOT_PROCESSED, FailureClass.CANCELLED)


class MisuseError(Exception):
    """A driver broke the engine's rules: our bug, never caught and carried on."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One upstream request."""

    number: int  # from 1
    target: Target
    reason: Reason
    lease: Lease
    started_at: float
    soft_at: float  # when it counts as slow
    opened_at: float | None = None
    ended_at: float | None = None
    failure: Failure | None = None

    @property
    def is_alive(self) -> bool:
        """Whether something may still be running for it."""
        return self.ended_at is None

    @property
    def is_slow(self) -> bool:
        """Whether it passed its soft limit."""
        return self.lease.sent.is_slow


class Attempts(list[Attempt]):
    """All attempts of an exchange, in the order in which they started."""

    def live(self) -> list[Attempt]:
        """Those that have not ended."""
        return [attempt for attempt in self if attempt.ended_at is None]

    def alive(self, number: int) -> Attempt:
        """The living attempt of a number.

        Raises:
            MisuseError: there is none.
        """
        if not 1 <= number <= len(self):
            raise MisuseError(f"there is no attempt {number}")
        attempt = self[number - 1]
        if not attempt.is_alive:
            raise MisuseError(f"attempt {number} has ended")
        return attempt

    @property
    def winner(self) -> Attempt | None:
        """The one whose answer the client gets, once there is one."""
        for attempt in self:
            if attempt.opened_at is not None:
                return attempt
        return None

    @property
    def has_despaired(self) -> bool:
        """Whether a target was tried that was known not to work."""
        return any(attempt.lease.is_panic for attempt in self)

    def counted(self, target: Target | None = None) -> int:
        """How many there were, in all or at one target; redials do not count."""
        number = 0
        for attempt in self:
            if attempt.reason is not Reason.REDIAL:
                number += target is None or attempt.target is target
        return number

    def failures(self) -> list[Failure]:
        """Why they failed; not those that we dropped or sent again."""
        failures = [attempt.failure for attempt in self]
        return [f for f in failures if f is not None and f.kind not in _SILENT]
