"""What has been tried for one exchange: the engine's own memory, and its arithmetic."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from trio_gateway.failover.commands import Drop, Reason
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import Kind, Lease
from trio_gateway.policy.route import Route, Target

# Ends that say nothing about whether the client can be answered.
_SILENT = (FailureClass.NOT_PROCESSED, FailureClass.CANCELLED)
_REDIAL: Final = Reason.REDIAL  # found more quickly than the member, in Python 3.11


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
    """All attempts of an exchange, in the order in which they started.

    The fleet is told here of each start and of each end, once.
    """

    __slots__ = ("_fleet", "_kind", "_route", "_ticket", "counted")

    def __init__(
        self, fleet: Fleet, route: Route, kind: Kind, ticket: Hashable
    ) -> None:
        self._fleet = fleet
        self._route = route
        self._kind = kind
        self._ticket = ticket
        self.counted = 0
        """How many there were; redials do not count."""

    # What becomes of them

    def begin(self, target: Target, reason: Reason, now: float) -> Attempt:
        """Start one; only where nothing speaks against it, or a slot is kept for it."""
        lease = self._fleet.dial(
            self._route, target, self._kind, ticket=self._ticket, now=now
        )
        if lease.sent.is_probe:
            soft_s = lease.patience.p95_s(now)
            if reason in (Reason.FIRST, Reason.FAILOVER):
                reason = Reason.PROBE
        else:
            soft_s = lease.patience.soft_s(now)
        attempt = Attempt(len(self) + 1, target, reason, lease, now, now + soft_s)
        self.append(attempt)
        self.counted += reason is not _REDIAL
        return attempt

    def slow(self, attempt: Attempt, now: float) -> None:
        """One passed its soft limit."""
        self._fleet.slow(attempt.lease, now)

    def open(self, winner: Attempt, now: float) -> None:
        """One reached its commit point."""
        if now > winner.soft_at and not winner.is_slow:
            self._fleet.slow(winner.lease, now)  # its alarm had no time to ring
        winner.opened_at = now
        self._fleet.opened(winner.lease, now)

    def end(self, attempt: Attempt, failure: Failure | None, now: float) -> None:
        """One is over: well (None), or with a failure."""
        attempt.ended_at = now
        attempt.failure = failure
        self._fleet.ended(self._route, attempt.lease, failure, now)

    def drop(self, attempt: Attempt, cause: str, now: float) -> Drop:
        """End one that may still be running."""
        self.end(attempt, Failure(FailureClass.CANCELLED, cause), now)
        return Drop(attempt.number)

    def drop_all(
        self, cause: str, now: float, *, but: Attempt | None = None
    ) -> tuple[Drop, ...]:
        """End all that may still be running, but one."""
        losers = [attempt for attempt in self.live() if attempt is not but]
        return tuple(self.drop(attempt, cause, now) for attempt in losers)

    # What there was

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
        if attempt.ended_at is not None:
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

    def counted_at(self, target: Target) -> int:
        """How many of them were at one target."""
        return sum(
            attempt.target is target and attempt.reason is not _REDIAL
            for attempt in self
        )

    def failures(self) -> list[Failure]:
        """Why they failed; not those that we dropped or sent again."""
        failures = [attempt.failure for attempt in self]
        return [f for f in failures if f is not None and f.kind not in _SILENT]
