"""Every history of a small world against the invariants of `chaos.invariants`."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.factories import a_route, with_timeouts
from trio_gateway.chaos.simulation.invariants import Watch
from trio_gateway.failover.commands import Command, Dial, Refuse, WakeAt
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    ClientLeft,
    CutShort,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import Lease
from trio_gateway.policy.route import Route

Move = tuple[float, Event]  # so many seconds later, this happens
Answer = tuple[Callable[[Dial, float], float], Failure | None]


class CountingFleet(Fleet):
    """A fleet that knows how many attempts it was told of."""

    def __init__(self) -> None:
        super().__init__(Random("fleet"))
        self.ends = 0

    def ended(
        self, route: Route, lease: Lease, failure: Failure | None, now: float
    ) -> None:
        super().ended(route, lease, failure, now)
        self.ends += 1

    def is_idle(self, route: Route, now: float) -> bool:
        """Whether everything that was taken has been given back."""
        targets = (*route.targets, *route.context_chain)
        healths = [self.health(target, now) for target in targets]
        return (
            all(health.limiter.in_flight == 0 for health in healths)
            and all(not health.waiting for health in healths)
            and all(health.cooldown.waiters == 0 for health in healths)
            and self.budgets(route).in_flight == 0
            and self.budgets(route).panic.live == 0
        )


def after(seconds: float) -> Callable[[Dial, float], float]:
    return lambda dial, now: min(seconds, dial.commit_by - now)


def at_the_limit(dial: Dial, now: float) -> float:
    return dial.commit_by - now


def a_failure(
    kind: FailureClass, *, status: int | None = None, hint_s: float | None = None
) -> Failure:
    return Failure(kind, "scripted", status, retry_after_s=hint_s)


EVERY_ANSWER: list[Answer] = [
    (after(0.2), None),
    (after(0.1), a_failure(FailureClass.CONNECT)),
    (after(0.1), a_failure(FailureClass.NOT_PROCESSED)),
    (after(0.1), a_failure(FailureClass.RESET)),
    (after(0.1), a_failure(FailureClass.SERVER_ERROR, status=503)),
    (after(0.1), a_failure(FailureClass.OVERLOADED, status=529)),
    (after(0.1), a_failure(FailureClass.RATE_LIMIT, status=429, hint_s=2.0)),
    (after(0.1), a_failure(FailureClass.RATE_LIMIT, status=429, hint_s=90.0)),
    (after(0.1), a_failure(FailureClass.QUOTA, status=429)),
    (after(0.1), a_failure(FailureClass.AUTH, status=401)),
    (at_the_limit, a_failure(FailureClass.TIMEOUT)),
    (after(0.1), a_failure(FailureClass.BAD_ANSWER, status=200)),
    (after(0.1), a_failure(FailureClass.CLIENT_ERROR, status=400)),
    (after(0.1), a_failure(FailureClass.CONTEXT_LENGTH, status=400)),
    (after(0.1), a_failure(FailureClass.CONTENT_FILTER, status=400)),
]
SOME_ANSWERS: list[Answer] = [
    # One of each verdict and each blame.
    (after(0.2), None),
    (after(0.1), a_failure(FailureClass.NOT_PROCESSED)),
    (after(0.1), a_failure(FailureClass.SERVER_ERROR, status=503)),
    (after(0.1), a_failure(FailureClass.RATE_LIMIT, status=429, hint_s=2.0)),
    (after(0.1), a_failure(FailureClass.AUTH, status=401)),
    (at_the_limit, a_failure(FailureClass.TIMEOUT)),
    (after(0.1), a_failure(FailureClass.CLIENT_ERROR, status=400)),
    (after(0.1), a_failure(FailureClass.CONTEXT_LENGTH, status=400)),
]
FEW_ANSWERS: list[Answer] = [
    (after(0.2), None),
    (after(0.1), a_failure(FailureClass.SERVER_ERROR, status=500)),
    (after(0.1), a_failure(FailureClass.RATE_LIMIT, status=429, hint_s=2.0)),
    (after(0.1), a_failure(FailureClass.NOT_PROCESSED)),
    (at_the_limit, a_failure(FailureClass.TIMEOUT)),
]
TINY_ANSWERS: list[Answer] = [
    (after(0.2), None),
    (after(0.1), a_failure(FailureClass.SERVER_ERROR, status=500)),
    (at_the_limit, a_failure(FailureClass.TIMEOUT)),
]


class World:
    """One route, and every way that its upstreams and its client may behave."""

    def __init__(self, route: Route, answers: list[Answer], *, is_stream: bool) -> None:
        self.route = route
        self.answers = answers
        self.is_stream = is_stream

    def histories(self) -> Iterator[tuple[Watch, CountingFleet, float]]:
        """Every complete history, each run from its start."""
        todo: list[list[Move]] = [[]]
        while todo:
            path = todo.pop()
            watch, fleet, now, moves = self._run(path)
            if moves:
                todo += [[*path, move] for move in moves]
            else:
                yield watch, fleet, now

    def _run(self, path: list[Move]) -> tuple[Watch, CountingFleet, float, list[Move]]:
        now, fleet = 1000.0, CountingFleet()
        wish = Wish(is_stream=self.is_stream, max_tokens=500)
        engine = Engine(self.route, fleet, wish, ticket="x", random_for=Random)
        watch = Watch(self.route, now, is_stream=self.is_stream, is_alone=True)
        commands = engine.start(now)
        watch.saw(None, commands, now)
        for seconds, event in path:
            now += seconds
            commands = engine.advance(event, now)
            watch.saw(event, commands, now)
        return watch, fleet, now, self._moves(watch, commands, now)

    def _moves(
        self, watch: Watch, commands: tuple[Command, ...], now: float
    ) -> list[Move]:
        if watch.is_over:
            return []
        if watch.winner is not None:
            broken = a_failure(FailureClass.INTERRUPTED)
            return [
                (0.1, AnswerEnded(watch.winner)),
                (0.1, AnswerEnded(watch.winner, broken)),
                (0.1, ClientLeft()),
            ]
        moves: list[Move] = [(0.05, ClientLeft()), (0.05, CutShort())]
        alarms = [command.at for command in commands if isinstance(command, WakeAt)]
        alarm_at = alarms[0] if alarms else float("inf")
        for number, dial in watch.dials.items():
            if number not in watch.ended:
                for late, failure in self.answers:
                    seconds = late(dial, now)
                    if now + seconds <= alarm_at or not self.route.is_overlap_on:
                        moves.append((seconds, self._event(dial, failure)))
        is_waiting = all(number in watch.ended for number in watch.dials)
        # Beside a living attempt an alarm matters only to an overlap.
        if alarm_at <= watch.precommit_by and (is_waiting or self.route.is_overlap_on):
            moves.append((alarm_at - now, TimeCame()))
        return moves

    def _event(self, dial: Dial, failure: Failure | None) -> Event:
        if failure is None:
            return Opened(dial.attempt)
        return AttemptFailed(dial.attempt, failure)


WORLDS = {
    "three targets, three attempts": World(
        a_route("abc", chain="de"), SOME_ANSWERS, is_stream=True
    ),
    "three targets, not streamed": World(
        a_route("abc", chain="d"), SOME_ANSWERS, is_stream=False
    ),
    "three targets, two tries each": World(
        a_route("abc", attempts_max=4, same_target=1), FEW_ANSWERS, is_stream=True
    ),
    "one target, tried twice": World(a_route("a"), EVERY_ANSWER, is_stream=True),
    "less patience than targets": World(
        a_route("abc", attempts_max=5, timeouts=with_timeouts(precommit_s=3.0)),
        SOME_ANSWERS,
        is_stream=True,
    ),
    "three targets, overlapping": World(
        a_route("abc", is_overlap_on=True), TINY_ANSWERS, is_stream=True
    ),
    "two targets, overlapping": World(
        a_route("ab", attempts_max=2, is_overlap_on=True), FEW_ANSWERS, is_stream=True
    ),
    "two targets, two tries, overlapping": World(
        a_route("ab", attempts_max=4, same_target=1, is_overlap_on=True),
        TINY_ANSWERS,
        is_stream=True,
    ),
    "whole answers, overlapping": World(
        a_route("abc", is_overlap_on=True), TINY_ANSWERS, is_stream=False
    ),
    "two attempts only": World(
        a_route("abc", chain="d", attempts_max=2), EVERY_ANSWER, is_stream=True
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_every_history_keeps_the_invariants(name: str) -> None:
    seen = 0
    for watch, fleet, now in WORLDS[name].histories():
        seen += 1
        assert watch.close() == [], (watch.dials, watch.ended)
        assert fleet.ends == len(watch.dials)
        assert fleet.is_idle(WORLDS[name].route, now)
    assert seen > 50


def test_a_refusal_ends_a_history() -> None:
    world = WORLDS["two attempts only"]
    kinds = {
        watch.refusal.kind
        for watch, _, _ in world.histories()
        if isinstance(watch.refusal, Refuse)
    }
    assert len(kinds) == 5
