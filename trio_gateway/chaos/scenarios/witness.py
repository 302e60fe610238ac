"""What is remembered of single exchanges, beside the tally's counts.

The slowest of them with all their attempts, the shortest history of each bad end, and
how long first tokens took over time. All of it is bounded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappush, heapreplace
from typing import Final

from trio_gateway.chaos.simulation.history import History, WatchedEngine
from trio_gateway.chaos.simulation.tally import Times
from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.engine import Engine
from trio_gateway.relay.record import Outcome

# A page shows so many requests with their attempts; a terminal shows fewer.
WORST_MAX: Final = 10
# As many points as a picture is wide enough for.
BANDS_MAX: Final = 240
# Progress is told about so often, in exchanges: often enough to be seen to move.
_TELL_EVERY: Final = 500

# Found more quickly than the members, in Python 3.11.
_CANCELLED: Final = Outcome.CANCELLED
_BAD_ENDS: Final = (Outcome.REFUSED, Outcome.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt; seconds from its exchange's beginning."""

    number: int
    target: str
    reason: str
    from_s: float
    opened_s: float | None
    until_s: float | None
    failure: str | None
    cause: str | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Witnessed:
    """One exchange, with all that was tried for it."""

    ticket: str
    at_s: float
    wait_s: float  # until its first token, or until it ended without one
    outcome: Outcome
    attempts: tuple[Tried, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A history for people: what it shows, whose it is, its steps a line each."""

    ticket: str
    lines: tuple[str, ...]


class Witness:
    """Is shown each exchange when it is over.

    Args:
        duration_s: of the run.
        on_progress: told now and then up to which second it has come.
    """

    def __init__(
        self, duration_s: float, on_progress: Callable[[float], None] | None = None
    ) -> None:
        self.band_s = max(1.0, duration_s / BANDS_MAX)
        self.bands: list[Times | None] = [None] * (int(duration_s / self.band_s) + 1)
        self._worst: list[tuple[float, int, Witnessed]] = []
        self._shortest: dict[Outcome, History] = {}
        self._broken: WatchedEngine | None = None
        self._count = 0
        self._on_progress = on_progress

    def over(self, engine: Engine, outcome: Outcome) -> None:
        """See one exchange's end."""
        assert isinstance(engine, WatchedEngine), "every exchange is watched"
        steps = engine.history.steps
        began_at, ended_at = steps[0].at, steps[-1].at
        self._count += 1
        if self._on_progress is not None and self._count % _TELL_EVERY == 0:
            self._on_progress(ended_at)
        winner = engine.attempts.winner
        if winner is not None and winner.opened_at is not None:
            wait_s = winner.opened_at - began_at
            self._band(began_at).add(wait_s)
        else:
            wait_s = ended_at - began_at
        worst = self._worst
        is_quick = len(worst) == WORST_MAX and wait_s <= worst[0][0]
        if not is_quick and outcome is not _CANCELLED:
            self._keep_worst(engine, outcome, began_at, wait_s)
        if outcome in _BAD_ENDS:
            shortest = self._shortest.get(outcome)
            if shortest is None or len(steps) < len(shortest.steps):
                self._shortest[outcome] = engine.history
                if outcome is Outcome.REFUSED:
                    engine.note_denied(ended_at)
        if engine.violations:
            broken = self._broken
            if broken is None or len(steps) < len(broken.history.steps):
                self._broken = engine

    @property
    def worst(self) -> tuple[Witnessed, ...]:
        """The slowest, the slowest first."""
        ranked = sorted(self._worst, key=lambda each: (-each[0], each[1]))
        return tuple(witnessed for _, _, witnessed in ranked)

    def shortest(self, outcome: Outcome) -> Shown | None:
        """The shortest history of exchanges with this end, if there is one."""
        history = self._shortest.get(outcome)
        return None if history is None else _shown(history)

    @property
    def broken(self) -> tuple[tuple[str, ...], Shown] | None:
        """The shortest history that breaks invariants, and which; None: none does."""
        if self._broken is None:
            return None
        return tuple(self._broken.violations), _shown(self._broken.history)

    def _band(self, at_s: float) -> Times:
        index = int(at_s / self.band_s)
        if index >= len(self.bands):
            index = -1
        band = self.bands[index]
        if band is None:
            band = self.bands[index] = Times()
        return band

    def _keep_worst(
        self, engine: WatchedEngine, outcome: Outcome, began_at: float, wait_s: float
    ) -> None:
        worst = self._worst
        witnessed = Witnessed(
            ticket=str(engine.history.ticket),
            at_s=began_at,
            wait_s=wait_s,
            outcome=outcome,
            attempts=tuple(_tried(each, began_at) for each in engine.attempts),
        )
        entry = (wait_s, self._count, witnessed)
        if len(worst) < WORST_MAX:
            heappush(worst, entry)
        else:
            heapreplace(worst, entry)


def _shown(history: History) -> Shown:
    return Shown(str(history.ticket), tuple(history.lines()))


def _tried(attempt: Attempt, began_at: float) -> Tried:
    def since(at: float | None) -> float | None:
        return None if at is None else at - began_at

    failure = attempt.failure
    return Tried(
        number=attempt.number,
        target=attempt.target.id,
        reason=str(attempt.reason),
        from_s=attempt.started_at - began_at,
        opened_s=since(attempt.opened_at),
        until_s=since(attempt.ended_at),
        failure=None if failure is None else str(failure.kind),
        cause=None if failure is None else failure.cause,
        status=None if failure is None else failure.status,
    )
