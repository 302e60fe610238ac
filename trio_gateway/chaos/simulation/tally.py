"""What a simulation has come to: counts, distributions and timelines, all bounded.

While it runs, a `Tally` counts; at the end it becomes a `Result`, which is a value. A
day of traffic takes no more memory than a minute: times go into histograms, and what
is told over time into a fixed number of buckets.
"""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, exp, log
from operator import add
from typing import Final

from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import RefusalKind
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.record import Outcome

# Quantiles read back are right within 1 %.
_GROWTH: Final = 1.02
_LOG_GROWTH: Final = log(_GROWTH)
# From the quickest token to more than the longest answer.
_LOWEST_S: Final = 0.001
_HIGHEST_S: Final = 10_000.0
_CELLS: Final = ceil(log(_HIGHEST_S / _LOWEST_S) / _LOG_GROWTH)
# An hour is shown by the second, a day by 24 of them.
BUCKETS_MAX: Final = 3600
# A breaker that changes more often in one run shows its beginning.
CHANGES_MAX: Final = 10_000
# One broken history is enough to find a mistake; a hundred are noise.
VIOLATIONS_MAX: Final = 100

_INTERRUPTED: Final = Outcome.INTERRUPTED  # found more quickly, in Python 3.11
_UNSENT: Final = frozenset({FailureClass.CONNECT, FailureClass.NOT_PROCESSED})


class Times:
    """A histogram of durations."""

    __slots__ = ("_cells", "most_s")

    def __init__(self) -> None:
        self._cells = array("Q", [0]) * _CELLS
        self.most_s = 0.0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._cells)

    def add(self, seconds: float, cell: int | None = None) -> None:
        """Count one; its cell, where that is known, need not be found again."""
        self._cells[cell_of(seconds) if cell is None else cell] += 1
        if seconds > self.most_s:
            self.most_s = seconds

    def merge(self, other: "Times") -> None:
        """Count what another one has counted."""
        cells = other._cells  # noqa: SLF001 - another of its own kind
        self._cells = array("Q", map(add, self._cells, cells))
        self.most_s = max(self.most_s, other.most_s)

    def quantile(self, share: float) -> float:
        """What so large a share stays below, within 1 %; 0 where nothing was counted.

        The largest is exact.
        """
        counted = self.count
        wanted = max(1, ceil(share * counted))
        if wanted >= counted:
            return self.most_s
        seen = 0
        for cell, count in enumerate(self._cells):
            seen += count
            if seen >= wanted:
                return _LOWEST_S * exp((cell + 0.5) * _LOG_GROWTH)
        return self.most_s


def cell_of(seconds: float) -> int:
    """In which cell of a histogram a duration is counted."""
    if seconds <= _LOWEST_S:
        return 0
    cell = int(log(seconds / _LOWEST_S) / _LOG_GROWTH)
    return cell if cell < _CELLS else -1


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a target's breaker."""

    at_s: float
    target: str
    before: BreakerState
    after: BreakerState


class RouteTally:
    """What became of the requests for one model.

    A *question* is what a client wants; its library may make several *exchanges* of it.
    """

    __slots__ = (
        "answered",
        "attempts",
        "exchanges",
        "failed",
        "first_tokens",
        "interrupted",
        "left",
        "paid",
        "questions",
        "reasons",
        "refusals",
        "waits",
    )

    def __init__(self) -> None:
        self.questions = 0
        self.answered = 0  # questions, in the end
        self.failed = 0  # questions whose last exchange was refused or broke
        self.left = 0  # questions whose client went away
        self.exchanges = 0
        self.interrupted = 0  # exchanges
        self.refusals: Counter[RefusalKind] = Counter()
        self.attempts = 0
        self.paid = 0  # attempts whose prompt was read by somebody
        self.reasons: Counter[str] = Counter()
        self.first_tokens = Times()  # of exchanges, from admission to commit point
        self.waits = Times()  # of questions, from the first try to the answer's start

    @property
    def availability(self) -> float:
        """The share of questions that were answered, of those whose client stayed."""
        stayed = self.answered + self.failed
        return self.answered / stayed if stayed else 1.0

    @property
    def amplification(self) -> float:
        """Attempts for each question."""
        return self.attempts / self.questions if self.questions else 0.0

    @property
    def cost_multiplier(self) -> float:
        """Prompts paid for, for each question that was answered."""
        return self.paid / self.answered if self.answered else 0.0

    def add(self, other: "RouteTally") -> None:
        """Count what another one has counted."""
        for name in self.__slots__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Times):
                mine.merge(theirs)
            else:
                setattr(self, name, mine + theirs)

    def spent(self, attempts: list[Attempt]) -> None:
        """Count an exchange's attempts, once it is over."""
        self.attempts += len(attempts)
        for attempt in attempts:
            self.reasons[attempt.reason] += 1
            failure = attempt.failure
            if failure is None:
                self.paid += 1
            elif failure.kind not in _UNSENT:
                self.paid += failure.status is None or failure.status < 400


class TargetTally:
    """What one target saw, and how its breaker took it."""

    __slots__ = (
        "attempts",
        "failures",
        "firsts",
        "id",
        "live",
        "over_time",
        "peak",
        "state",
    )

    def __init__(self, target_id: str, buckets: int) -> None:
        self.id = target_id
        self.attempts = 0
        self.live = 0  # under way now
        self.failures: Counter[FailureClass] = Counter()
        self.peak = 0  # attempts at once
        self.over_time = array("Q", [0]) * buckets  # attempts
        self.firsts = array("Q", [0]) * buckets  # first attempts of an exchange
        self.state = BreakerState.CLOSED


class Timeline:
    """Questions over time, by the second or by the longer bucket that fits."""

    __slots__ = ("_buckets", "answered", "bucket_s", "failed", "offered")

    def __init__(self, duration_s: float) -> None:
        self.bucket_s = max(1.0, duration_s / BUCKETS_MAX)
        self._buckets = buckets = self.bucket(duration_s) + 1
        self.offered = array("Q", [0]) * buckets
        self.answered = array("Q", [0]) * buckets  # when their answer was whole
        self.failed = array("Q", [0]) * buckets

    def bucket(self, at_s: float) -> int:
        """The index of an instant."""
        return int(at_s / self.bucket_s)

    def place(self, at_s: float) -> int:
        """Where an instant is counted; what happens after the end, at the end."""
        index = int(at_s / self.bucket_s)
        return index if index < self._buckets else -1


@dataclass(frozen=True, slots=True)
class Result:
    """A whole run.

    The digest covers every exchange's beginning, end, attempts and outcome: two runs
    with the same one made the same decisions.
    """

    seed: str
    duration_s: float
    digest: str
    routes: Mapping[str, RouteTally]
    targets: Mapping[str, TargetTally]
    timeline: Timeline
    changes: tuple[Change, ...]
    violations: tuple[str, ...]

    def between(self, series: "array[int]", from_s: float, until_s: float) -> int:
        """The sum of a timeline's series from one instant to before another."""
        timeline = self.timeline
        return sum(series[timeline.bucket(from_s) : timeline.bucket(until_s)])

    @property
    def total(self) -> RouteTally:
        """All routes together."""
        total = RouteTally()
        for route in self.routes.values():
            total.add(route)
        return total


class Tally:
    """The counting hand of a run, told of everything once."""

    def __init__(self, seed: str, duration_s: float) -> None:
        self._seed = seed
        self._duration_s = duration_s
        self._routes: dict[str, RouteTally] = {}
        self._targets: dict[str, TargetTally] = {}
        self._timeline = Timeline(duration_s)
        self._changes: list[Change] = []
        self._violations: list[str] = []
        self._digest = blake2b(digest_size=16)

    def route(self, slug: str) -> RouteTally:
        """A route's counts, begun when they are first asked for."""
        return self._routes.setdefault(slug, RouteTally())

    def target(self, target_id: str) -> TargetTally:
        """A target's counts, likewise."""
        known = self._targets.get(target_id)
        if known is None:
            buckets = len(self._timeline.offered)
            known = self._targets[target_id] = TargetTally(target_id, buckets)
        return known

    def result(self) -> Result:
        """What it has come to."""
        return Result(
            seed=self._seed,
            duration_s=self._duration_s,
            digest=self._digest.hexdigest(),
            routes=self._routes,
            targets=self._targets,
            timeline=self._timeline,
            changes=tuple(self._changes),
            violations=tuple(self._violations),
        )

    # Questions

    def asked(self, slug: str, now: float) -> None:
        """A client has come."""
        self._routes[slug].questions += 1
        timeline = self._timeline
        timeline.offered[timeline.place(now)] += 1

    def answered(self, slug: str, now: float) -> None:
        """It has its whole answer."""
        self._routes[slug].answered += 1
        timeline = self._timeline
        timeline.answered[timeline.place(now)] += 1

    def failed(self, slug: str, now: float) -> None:
        """It was refused, or its answer broke, and it does not ask again."""
        self._routes[slug].failed += 1
        timeline = self._timeline
        timeline.failed[timeline.place(now)] += 1

    def left(self, slug: str) -> None:
        """It has gone."""
        self._routes[slug].left += 1

    # Exchanges

    def opened(self, slug: str, *, first_token_s: float, wait_s: float) -> None:
        """An exchange has reached its commit point."""
        route, cell = self._routes[slug], cell_of(first_token_s)
        route.first_tokens.add(first_token_s, cell)
        route.waits.add(wait_s, cell if wait_s == first_token_s else None)

    def refused(self, slug: str, kind: RefusalKind) -> None:
        """An exchange has ended without an answer."""
        self._routes[slug].refusals[kind] += 1

    def over(
        self,
        slug: str,
        ticket: str,
        started_at: float,
        now: float,
        engine: Engine,
        outcome: Outcome,
    ) -> None:
        """An exchange is over, however."""
        route, attempts = self._routes[slug], engine.attempts
        route.exchanges += 1
        route.interrupted += outcome is _INTERRUPTED
        route.spent(attempts)
        # Put together by hand: in Python 3.11, to format a member takes a call, and to
        # write a number as long as two.
        began = repr(started_at)
        line = ticket + f" {began} {now!r} " + outcome
        for each in attempts:
            line += " " + each.target.id + " " + each.reason + " "
            line += began if each.started_at == started_at else repr(each.started_at)
            line += f" {each.opened_at!r} "
            line += "None" if each.failure is None else each.failure.kind
        self._digest.update((line + "\n").encode())
        if isinstance(engine, WatchedEngine) and engine.violations:
            self._keep_violations(engine)

    def _keep_violations(self, engine: WatchedEngine) -> None:
        if len(self._violations) < VIOLATIONS_MAX:
            self._violations.append(
                "\n".join([*engine.violations, *engine.history.lines()])
            )

    # Targets

    def dialled(self, target: TargetTally, now: float, *, is_first: bool) -> None:
        """An attempt is sent."""
        target.attempts += 1
        target.live = live = target.live + 1
        if live > target.peak:
            target.peak = live
        place = self._timeline.place(now)
        target.over_time[place] += 1
        target.firsts[place] += is_first

    def changed(self, target: TargetTally, state: BreakerState, now: float) -> None:
        """Its breaker was seen in another state than before."""
        if len(self._changes) < CHANGES_MAX:
            self._changes.append(Change(now, target.id, target.state, state))
        target.state = state
