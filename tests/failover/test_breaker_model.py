"""The breaker against a model that keeps everything and counts it anew each time."""

from dataclasses import dataclass, field
from math import floor, inf
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from trio_gateway.failover.breaker import Breaker, BreakerState, Sent
from trio_gateway.failover.view import describe_breaker
from trio_gateway.policy.route import BreakerRules

CLOSED, OPEN, PROBE, RAMP = BreakerState

RULES = BreakerRules(
    consecutive=3,  # few, so that histories get somewhere
    share=0.5,
    window_s=10.0,
    min_samples=8,
    open_base_s=5.0,
    open_max_s=30.0,
)
# So long after healing, with a request a second: open, two probes, ramp, and then a
# minute until the last failure is forgotten.
CLOSED_AFTER_S = 30 + 3 + 10 + 2
TRUSTED_AFTER_S = CLOSED_AFTER_S + 60

LEGAL = {
    (CLOSED, OPEN),
    (OPEN, PROBE),
    (PROBE, OPEN),
    (PROBE, RAMP),
    (RAMP, OPEN),
    (RAMP, CLOSED),
}


@dataclass
class Known:
    """One piece of evidence, with its instant."""

    at: float
    requests: int
    good: float
    failures: float


@dataclass
class Model:
    """What the breaker should be, but for the dice: those are read from it."""

    state: BreakerState = CLOSED
    since: float = -inf
    until: float = -inf
    known: list[Known] = field(default_factory=list)
    successes: int = 0
    slow_probes: int = 0
    era: list[Sent] = field(default_factory=list)  # all of it, as sent
    weights: dict[int, float | None] = field(default_factory=dict)  # None: neutral

    def passed(self, now: float) -> None:
        if self.state is OPEN and now >= self.until:
            self._probe(self.until)
        elif self.state is RAMP and now >= self.since + 10.0:
            self.state, self.since = CLOSED, self.since + 10.0

    def sums(self, now: float, span_s: float) -> tuple[int, float, float]:
        width_s = span_s / 10
        newest = floor(now / width_s)
        kept = [one for one in self.known if floor(one.at / width_s) > newest - 10]
        return (
            sum(one.requests for one in kept),
            sum(one.good for one in kept),
            sum(one.failures for one in kept),
        )

    def skip_share(self, now: float) -> float:
        n, good, _ = self.sums(now, 60.0)
        good = max(good, 0)
        return 0.0 if n - good < 3 else min(0.8, max(0, (n - 1.25 * good) / (n + 1)))

    def is_well(self, now: float) -> bool:
        n, good, _ = self.sums(now, 60.0)
        return n - good < 3

    def share(self, now: float) -> float:
        if self.state is CLOSED:
            return 1 - self.skip_share(now)
        return max(0.1, (now - self.since) / 10.0) if self.state is RAMP else 0.0

    def run(self, sent: Sent) -> float:
        """Write the whole era as one word, and cut it where a run ends."""
        letters, weights = "", []
        for one in self.era:
            weight = self.weights.get(id(one), -1.0)
            letters += {-1.0: "?", 0.0: "."}.get(
                -2.0 if weight is None else weight, "x"
            )
            weights.append(weight or 0.0)
        at = next(n for n, one in enumerate(self.era) if one is sent)
        if "." in letters[at:]:
            return 0.0
        begin = 1 + max(letters.rfind(end, 0, at) for end in ".?")
        return sum(weights[begin : (letters + "?").index("?", at)])

    def slow(self, now: float, sent: Sent) -> None:
        self.weights[id(sent)] = 0.5
        if self.state in (CLOSED, RAMP):
            self._evidence(now, sent, 1, 0.0, 0.5)
        elif self.state is PROBE and sent.is_probe:
            self.slow_probes += 1
            if self.slow_probes == 2:
                self._open(now)

    def committed(self, now: float, sent: Sent) -> None:
        if sent.is_slow:
            return
        self.weights[id(sent)] = 0.0
        if self.state in (CLOSED, RAMP):
            self.known.append(Known(now, 1, 1.0, 0.0))
            return
        if self.state is OPEN:
            self._probe(now)
        self.slow_probes = 0
        self.successes += 1
        if self.successes == 2:
            self.state, self.since = RAMP, now
            self._forget()

    def failed(self, now: float, sent: Sent, weight: float) -> None:
        self.weights[id(sent)] = weight
        if self.state in (CLOSED, RAMP):
            self._evidence(
                now,
                sent,
                0 if sent.is_slow or sent.is_committed else 1,
                -weight if sent.is_committed and not sent.is_slow else 0.0,
                weight - 0.5 if sent.is_slow else weight,
            )
        elif self.state is PROBE and sent.is_probe and weight == 1:
            self._open(now)

    def _evidence(
        self, now: float, sent: Sent, n: int, good: float, weight: float
    ) -> None:
        self.known.append(Known(now, n, good, weight))
        waiting = sum(id(one) not in self.weights for one in self.era)
        requests, _, failures = self.sums(now, RULES.window_s)
        if requests + waiting < RULES.min_samples:
            requests, _, failures = self.sums(now, 60.0)
        requests += waiting
        is_half = failures >= max(3, requests / 2) and requests >= RULES.min_samples
        if self.run(sent) >= RULES.consecutive or is_half:
            self._open(now)

    def _open(self, now: float) -> None:
        self.state, self.since, self.until = OPEN, now, inf  # the die is not yet cast
        self._forget()

    def _probe(self, now: float) -> None:
        self.state, self.since = PROBE, now
        self.successes = self.slow_probes = 0

    def _forget(self) -> None:
        self.known, self.era, self.weights = [], [], {}


class Histories(RuleBasedStateMachine):
    waiting = Bundle("waiting")  # sent, no first token yet
    flowing = Bundle("flowing")  # committed

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = Model()
        self.live_probes: set[int] = set()  # ids of probes without an outcome
        self.seen = CLOSED
        self.in_flight: dict[int, Sent] = {}

    @initialize(seed=st.integers(0, 10**6))
    def begin(self, seed: int) -> None:
        self.breaker = Breaker(RULES, Random(f"model/{seed}"))

    def matters(self, sent: Sent) -> bool:
        return any(one is sent for one in self.model.era)

    def told(self) -> None:
        """Compare, and read the die."""
        model, breaker = self.model, self.breaker
        if model.state is OPEN and model.until == inf:
            assert breaker.state(self.now) is OPEN
            model.until = breaker.open_until
            assert 2.5 <= model.until - self.now <= 30.0
        self.agree()

    def step(self, now: float) -> None:
        self.now = now
        self.model.passed(now)
        self.agree()

    def agree(self) -> None:
        breaker, model = self.breaker, self.model
        state = breaker.state(self.now)
        assert state is model.state
        assert breaker.since == model.since
        assert breaker.skip_share(self.now) == model.skip_share(self.now)
        assert breaker.share(self.now) == model.share(self.now)
        assert breaker.is_probe_free(self.now) == (
            state is PROBE and not self.live_probes
        )
        is_plain = state is CLOSED and model.skip_share(self.now) == 0.0
        assert (self.now < breaker.plain_until) == is_plain
        assert state is self.seen or (self.seen, state) in LEGAL
        self.seen = state

    @rule(after_s=st.sampled_from([0.1, 0.5, 1.0, 3.0, 6.0, 10.0, 31.0, 61.0]))
    def time_passes(self, after_s: float) -> None:
        now = self.now + after_s
        # Nothing is missed in between: each step makes one change at most.
        for at in sorted({self.model.until, self.model.since + 10.0}):
            if self.now < at < now:
                self.step(at)
        self.step(now)

    @rule(target=waiting)
    def send(self) -> Sent:
        return self.sends(self.breaker.sent())

    @rule(target=waiting)
    def probe(self) -> object:
        if not self.breaker.is_probe_free(self.now):
            return multiple()
        sent = self.breaker.take_probe(self.now)
        self.live_probes.add(id(sent))
        return self.sends(sent)

    def sends(self, sent: Sent) -> Sent:
        self.model.era.append(sent)
        self.in_flight[id(sent)] = sent
        return sent

    @rule(sent=waiting)
    def is_late(self, sent: Sent) -> None:
        if sent.is_slow or sent.is_committed:
            return
        if self.matters(sent):
            self.model.slow(self.now, sent)
        self.breaker.was_slow(self.now, sent)
        self.told()

    @rule(target=flowing, sent=consumes(waiting))
    def commits(self, sent: Sent) -> Sent:
        self.live_probes.discard(id(sent))
        if self.matters(sent):
            self.model.committed(self.now, sent)
        self.breaker.committed(self.now, sent)
        self.told()
        return sent

    # Not `consumes(waiting) | consumes(flowing)`: whoever draws from the one that is
    # empty has drawn the whole history in vain.
    @rule(sent=consumes(flowing), weight=st.sampled_from([1, 0.5]))
    def breaks(self, sent: Sent, weight: float) -> None:
        self.fails(sent, weight)

    @rule(sent=consumes(flowing))
    def is_left(self, sent: Sent) -> None:
        self.ends_neutral(sent)

    @rule(sent=consumes(waiting), weight=st.sampled_from([1, 0.5]))
    def fails(self, sent: Sent, weight: float) -> None:
        self.live_probes.discard(id(sent))
        del self.in_flight[id(sent)]
        if self.matters(sent):
            self.model.failed(self.now, sent, weight)
        self.breaker.failed(self.now, sent, "x", weight=weight)
        self.told()

    @rule(count=st.integers(1, 4), is_good=st.booleans())
    def several_end_at_once(self, *, count: int, is_good: bool) -> None:
        for _ in range(count):
            can_probe = self.breaker.is_probe_free(self.now)
            sent = self.probe() if can_probe else self.send()
            assert isinstance(sent, Sent)
            if is_good:
                self.commits(sent)
            else:
                self.fails(sent, 1)

    @rule(sent=consumes(waiting))
    def ends_neutral(self, sent: Sent) -> None:
        self.live_probes.discard(id(sent))
        del self.in_flight[id(sent)]
        if self.matters(sent):
            self.model.weights.setdefault(id(sent), None)
        before = describe_breaker(self.breaker, self.now)
        self.breaker.neutral(sent)
        assert describe_breaker(self.breaker, self.now) == before
        self.told()

    @invariant()
    def one_probe_at_a_time(self) -> None:
        assert len(self.live_probes) <= 1

    def teardown(self) -> None:
        """It heals: whoever hung leaves, and a request a second goes well."""
        if not hasattr(self, "breaker"):
            return
        breaker, begun = self.breaker, self.now
        for sent in self.in_flight.values():
            breaker.neutral(sent)
        for second in range(TRUSTED_AFTER_S):
            now = begun + second
            if breaker.is_probe_free(now):
                breaker.committed(now, breaker.take_probe(now))
            elif breaker.share(now) > 0:
                breaker.committed(now, breaker.sent())
            assert second < CLOSED_AFTER_S or breaker.state(now) is CLOSED
        assert breaker.share(begun + TRUSTED_AFTER_S) == 1.0


Histories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, derandomize=True
)
TestEveryHistoryIsTheModels = Histories.TestCase
