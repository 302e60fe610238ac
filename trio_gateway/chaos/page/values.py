"""What a page shows of a run, as values.

They know nothing of engines or scenarios: whoever can fill a `PageRun` has a page. All
instants and durations are seconds, instants from the run's beginning, shares fractions
of one. Series have one entry for each bucket; None is a bucket that has nothing to say.
"""

from dataclasses import dataclass

from trio_gateway.chaos.scenarios.expect import Measure
from trio_gateway.failover.breaker import BreakerState

Series = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a run; `bound` is None where nothing was expected of it."""

    measure: Measure
    value: float | None
    bound: float | None = None
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """Requests over time: how many came, and how many answers were complete."""

    bucket_s: float
    offered: tuple[int, ...]
    answered: tuple[int, ...]
    availability: Series  # of those that ended in the bucket


@dataclass(frozen=True, slots=True)
class Bands:
    """Quantiles of the time to a first token, by when its request came."""

    bucket_s: float
    p50: Series
    p95: Series
    p99: Series


@dataclass(frozen=True, slots=True)
class StateSpan:
    """A breaker's state for a while."""

    state: BreakerState
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class PageTarget:
    """What one target saw; `over_time` and `firsts` by the buckets of the load."""

    id: str
    attempts: int
    first_attempts: int
    failures: tuple[tuple[str, int], ...]  # the most frequent kind first
    peak: int  # attempts at once
    opened: int  # times that its breaker did
    over_time: tuple[int, ...]  # attempts
    firsts: tuple[int, ...]  # those of them that were their request's first
    states: tuple[StateSpan, ...]  # one after the other, without gaps

    @property
    def failed(self) -> int:
        """Attempts that failed, of all kinds."""
        return sum(times for _, times in self.failures)


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """One fault, whom it strikes and when."""

    target: str
    what: str
    from_s: float
    until_s: float
    share: float = 1.0
    flaps: tuple[float, float] | None = None  # seconds on, seconds off


@dataclass(frozen=True, slots=True)
class PageAttempt:
    """One attempt; seconds from its request's beginning, None where it never came."""

    target: str
    reason: str
    from_s: float
    opened_s: float | None
    until_s: float | None
    outcome: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request, with all that was tried for it."""

    at_s: float
    wait_s: float  # until its first token, or until it ended without one
    outcome: str
    attempts: tuple[PageAttempt, ...]


@dataclass(frozen=True, slots=True)
class PageRun:
    """One simulated run."""

    title: str
    teaches: str
    policy: str
    seed: int
    depth: str
    digest: str
    duration_s: float
    holds: bool
    verdict: str  # a sentence, with what it rests on
    questions: int
    answered: int
    failed: int
    left: int
    measures: tuple[Measured, ...]
    violations: tuple[str, ...]  # invariants that one history broke
    load: Load
    first_token: Bands
    targets: tuple[PageTarget, ...]
    faults: tuple[FaultWindow, ...]
    worst: tuple[PageRequest, ...]  # the slowest first
    evidence: tuple[str, ...] = ()  # the shortest history of what went wrong, in lines
    command: str = ""  # what repeats the run
    policy_changes: tuple[
        str, ...
    ] = ()  # what its policy has other than the first run's
