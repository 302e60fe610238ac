"""The fleet under any sequence of exchanges, outcomes, departures and waits."""

from dataclasses import dataclass, replace
from math import inf
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.factories import BREAKER, a_route, a_target
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import Command, Dial, Refuse, WakeAt
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import State
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    ClientLeft,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Queue, Target

MOST = 3  # attempts at once, at target a
ACCOUNT_MOST = 4  # at the account of b and c together
OPENS_AFTER = replace(BREAKER, consecutive=3)  # so that histories are short


def targets() -> tuple[Target, ...]:
    shared = replace(a_target("b").account, max_concurrency=ACCOUNT_MOST)
    made = (
        a_target("a", max_concurrency=MOST),
        a_target("b", account=shared),
        a_target("c", account=shared),
    )
    return tuple(replace(target, breaker=OPENS_AFTER) for target in made)


A, B, C = targets()
ROUTES = {
    "abc": a_route([A, B, C], slug="abc", is_overlap_on=True, queue=Queue(4, 2.0)),
    "a": a_route([A], slug="a", queue=Queue(4, 2.0)),
    "ca": a_route([C, A], slug="ca", same_target=1, chain=[B], queue=Queue(4, 2.0)),
}
WHOLE = st.sampled_from(
    [
        Failure(kind, "any", status, retry_after_s=hint_s)
        for kind, status, hint_s in (
            (FailureClass.CONNECT, None, None),
            (FailureClass.NOT_PROCESSED, None, None),
            (FailureClass.RESET, None, None),
            (FailureClass.SERVER_ERROR, 500, None),
            (FailureClass.SERVER_ERROR, 503, 3.0),
            (FailureClass.OVERLOADED, 529, None),
            (FailureClass.RATE_LIMIT, 429, 2.0),
            (FailureClass.RATE_LIMIT, 429, 40.0),
            (FailureClass.RATE_LIMIT, 429, None),
            (FailureClass.QUOTA, 429, None),
            (FailureClass.AUTH, 401, None),
            (FailureClass.NOT_FOUND, 404, None),
            (FailureClass.TIMEOUT, None, None),
            (FailureClass.BAD_ANSWER, 200, None),
            (FailureClass.CLIENT_ERROR, 400, None),
            (FailureClass.CONTEXT_LENGTH, 400, None),
            (FailureClass.CONTENT_FILTER, 400, None),
        )
    ]
)
PICK = st.integers(0, 999)


@dataclass(eq=False)
class Live:
    """One exchange, and when its alarm rings."""

    engine: WatchedEngine
    alarm_at: float = inf

    @property
    def winner(self) -> int | None:
        return self.engine.watch.winner


class FleetMachine(RuleBasedStateMachine):
    """Drives engines against one fleet; checks what they were allowed to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.fleet = Fleet(Random("fleet"))
        self.live: list[Live] = []
        self.count = 0

    # What happens

    @rule(slug=st.sampled_from([*ROUTES]), is_stream=st.booleans(), again=st.booleans())
    def start(self, slug: str, is_stream: bool, again: bool) -> None:
        self.count += 1
        engine = WatchedEngine(
            ROUTES[slug],
            self.fleet,
            Wish(is_stream=is_stream, max_tokens=100, is_client_retry=again),
            ticket=self.count,
            random_for=lambda actor: Random(f"{self.count}/{actor}"),
        )
        live = Live(engine)
        self.live.append(live)
        allowed = self._allowed()
        self._obey(live, engine.start(self.now), allowed)

    @precondition(lambda self: self._attempts())
    @rule(pick=PICK)
    def open(self, pick: int) -> None:
        waiting = [
            pair for pair in self._attempts() if pair[0].engine.watch.winner is None
        ]
        if waiting:
            live, attempt = waiting[pick % len(waiting)]
            self._tell(live, Opened(attempt.number))

    @precondition(lambda self: self._attempts())
    @rule(pick=PICK, failure=WHOLE)
    def fail(self, pick: int, failure: Failure) -> None:
        attempts = self._attempts()
        live, attempt = attempts[pick % len(attempts)]
        if live.winner is None:
            self._tell(live, AttemptFailed(attempt.number, failure))
        else:
            broken = Failure(FailureClass.INTERRUPTED, "any")
            self._tell(live, AnswerEnded(attempt.number, broken))

    @precondition(lambda self: self._attempts())
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        won = [
            pair
            for pair in self._attempts()
            if pair[0].engine.watch.winner == pair[1].number
        ]
        if won:
            live, attempt = won[pick % len(won)]
            self._tell(live, AnswerEnded(attempt.number))

    @precondition(lambda self: self.live)
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        self._tell(self.live[pick % len(self.live)], ClientLeft())

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5, 6.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while due := self._due(until):
            self.now, live, event = due
            self._tell(live, event)
        self.now = until

    def _due(self, until: float) -> tuple[float, Live, Event] | None:
        """What the drivers themselves bring about next: alarms and hard limits."""
        late = Failure(FailureClass.TIMEOUT, "late")
        events: list[tuple[float, int, Live, Event]] = []
        for number, live in enumerate(self.live):
            events.append((live.alarm_at, number, live, TimeCame()))
            if live.winner is None:
                for each in live.engine.attempts.live():
                    by = live.engine.watch.dials[each.number].commit_by
                    failed = AttemptFailed(each.number, late)
                    events.append((by, number, live, failed))
        due = min(events, key=lambda each: each[:2], default=None)
        if due is None or due[0] > until:
            return None
        at, _, live, event = due
        return max(at, self.now), live, event

    # What the engines may do

    def _tell(self, live: Live, event: Event) -> None:
        allowed = self._allowed()
        live.alarm_at = inf
        self._obey(live, live.engine.advance(event, self.now), allowed)

    def _allowed(self) -> dict[str, bool]:
        """Which targets may be dialled now, whoever does it."""
        return {
            target.id: not (
                self.fleet.health(target, self.now).is_disabled(self.now)
                or self.fleet.account(target.account).is_disabled(self.now)
                or self.fleet.health(target, self.now).cooldown.is_active(self.now)
            )
            for target in (A, B, C)
        }

    def _obey(
        self, live: Live, commands: tuple[Command, ...], allowed: dict[str, bool]
    ) -> None:
        for command in commands:
            match command:
                case Dial(_, target, _):
                    assert allowed[target.id], f"{target.id} may not be dialled"
                case WakeAt(at):
                    live.alarm_at = at
                case Refuse():
                    assert not live.engine.attempts.live()
                case _:
                    pass
        assert live.engine.violations == [], live.engine.history.lines()
        if live.engine.state is State.OVER:
            self.live.remove(live)
        self._deliver()

    def _deliver(self) -> None:
        while self.fleet.calls:
            ticket = self.fleet.calls.popleft()
            for live in self.live:
                if live.engine.history.ticket == ticket:
                    if live.winner is None:
                        self._tell(live, Called())
                    break

    def _attempts(self) -> list[tuple[Live, Attempt]]:
        return [
            (live, attempt)
            for live in self.live
            for attempt in live.engine.attempts.live()
        ]

    # What must hold

    @invariant()
    def counters_are_what_they_count(self) -> None:
        attempts = self._attempts()
        granted = list(self.fleet.lines.kept.values())
        for target in (A, B, C):
            here = [pair[1] for pair in attempts if pair[1].target is target]
            health = self.fleet.health(target, self.now)
            assert health.limiter.in_flight == len(here) + granted.count(target.id)
            assert len(health.waiting) == sum(a.opened_at is None for a in here)
            assert health.cooldown.waiters >= 0
        for route in ROUTES.values():
            ours = [live for live in self.live if live.engine._case.route is route]
            budgets = self.fleet.budgets(route)
            assert budgets.in_flight == len(ours)
            panicking = [
                attempt
                for live in ours
                for attempt in live.engine.attempts.live()
                if attempt.lease.is_panic
            ]
            assert budgets.panic.live == len(panicking)

    @invariant()
    def nobody_has_more_than_it_may(self) -> None:
        assert self.fleet.health(A, self.now).limiter.in_flight <= MOST
        account = self.fleet.account(B.account).limiter
        assert 0 <= account.in_flight <= ACCOUNT_MOST

    @invariant()
    def one_probe_at_a_time(self) -> None:
        for target in (A, B, C):
            probes = [
                attempt
                for _, attempt in self._attempts()
                if attempt.target is target
                and attempt.lease.sent.is_probe
                and attempt.opened_at is None
                and attempt.lease.sent.era == attempt.lease.health.breaker._era
            ]
            assert len(probes) <= 1

    @invariant()
    def who_waits_will_be_woken(self) -> None:
        for live in self.live:
            is_answering = live.winner is not None
            assert is_answering or live.engine.attempts.live() or live.alarm_at < inf

    @invariant()
    def no_line_holds_anybody_who_is_gone(self) -> None:
        tickets = {live.engine.history.ticket for live in self.live}
        assert set(self.fleet.lines.kept) <= tickets
        for line in self.fleet.lines.by_target.values():
            assert set(line._places) <= tickets

    def teardown(self) -> None:
        for live in list(self.live):
            if live in self.live:
                self._tell(live, ClientLeft())
        self.counters_are_what_they_count()
        assert not self.fleet.lines.kept
        assert all(not len(line) for line in self.fleet.lines.by_target.values())
        for target in (A, B, C):
            health = self.fleet.health(target, self.now)
            assert health.cooldown.waiters == 0
            is_probing = health.breaker.state(self.now) is BreakerState.PROBE
            assert not is_probing or health.breaker.is_probe_free(self.now)


TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
