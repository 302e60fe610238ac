"""Two things in the same instant, in fifty orders: one of them wins, nothing is left.

Trio runs what is due at once in an order that its own dice decide. Here these are
seeded, by the same switch that Trio's plugin for Hypothesis uses.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from random import Random

import pytest
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from tests.factories import a_route
from tests.relay.driver import DONE, ROLE, Run, a_body, a_stream, an_event
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending, Refusal, Script
from trio_gateway.failover.commands import Command
from trio_gateway.failover.events import Event
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.port import Call
from trio_gateway.relay.record import Outcome

SEEDS = range(50)
SOFT_S, HARD_S = 8.0, 20.0


class StrictEngine(WatchedEngine):
    """Fails at the very step that breaks an invariant."""

    def advance(self, event: Event, now: float) -> tuple[Command, ...]:
        commands = super().advance(event, now)
        assert not self.violations, self.history.lines()
        return commands


@contextmanager
def an_order(seed: int) -> Iterator[None]:
    """Let Trio's scheduler throw seeded dice."""
    dice = trio_run._r
    trio_run._r = Random(seed)
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # its switch
    try:
        yield
    finally:
        trio_run._r = dice
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = False  # type: ignore[misc]  # its switch


def words_of(name: str) -> tuple[bytes, ...]:
    return (ROLE, an_event(f"from {name}"), an_event(finish="stop"), DONE)


def answer_at(name: str, seconds: float) -> Script:
    script = a_stream(*words_of(name))
    return Script(script.status, script.headers, seconds, script.steps)


def failure_at(seconds: float) -> Script:
    script = a_body(b'{"error": {"message": "boom"}}', status=503)
    return Script(script.status, script.headers, seconds, script.steps)


# When the second attempt starts: beside the first, at the soft limit.
RACES: dict[str, tuple[dict[str, Sequence[Behaviour]], float]] = {
    "two first tokens": (
        {"a": [answer_at("a", 9.0)], "b": [answer_at("b", 1.0)]},
        inf,
    ),
    "a first token and a failure": (
        {"a": [answer_at("a", 9.0)], "b": [failure_at(1.0)]},
        inf,
    ),
    "two failures": ({"a": [failure_at(9.0)], "b": [failure_at(1.0)]}, inf),
    "a failure and the soft limit": (
        {"a": [failure_at(SOFT_S)], "b": [answer_at("b", 1.0)]},
        inf,
    ),
    "a first token and the soft limit": (
        {"a": [answer_at("a", SOFT_S)], "b": [answer_at("b", 1.0)]},
        inf,
    ),
    "a first token and the hard limit": (
        {"a": [answer_at("a", HARD_S)], "b": [Refusal.SILENCE]},
        inf,
    ),
    "a first token and a departure": (
        {"a": [answer_at("a", 1.0)], "b": [answer_at("b", 1.0)]},
        1.0,
    ),
    "two first tokens and a departure": (
        {"a": [answer_at("a", 9.0)], "b": [answer_at("b", 1.0)]},
        9.0,
    ),
    "a failure and a departure": (
        {"a": [failure_at(1.0)], "b": [answer_at("b", 1.0)]},
        1.0,
    ),
    "the soft limit and a departure": (
        {"a": [Refusal.SILENCE], "b": [answer_at("b", 1.0)]},
        SOFT_S,
    ),
    "a connection refused and a departure in the same breath": (
        {"a": [Refusal.CONNECT_REFUSED], "b": [Refusal.CONNECT_REFUSED]},
        0.0,
    ),
    "the end of an answer and a departure": (
        {"a": [a_stream(*words_of("a"), gap_s=1.0)], "b": [answer_at("b", 1.0)]},
        4.0,
    ),
    "a break and a departure": (
        {"a": [a_stream(*words_of("a")[:2], gap_s=1.0, ending=Ending.CUT)]},
        2.0,
    ),
}


def run_race(name: str, seed: int) -> Run:
    behaviours, leaves_at = RACES[name]
    route = a_route("".join(behaviours), is_overlap_on=True)
    run = Run(route, ScriptedUpstream.by_account(behaviours))
    run.relay.engine = StrictEngine

    async def main() -> None:
        with trio.move_on_at(trio.current_time() + leaves_at):
            await run.go()
        await trio.sleep(2)  # the task of the alarms rests a second after the last
        assert trio.lowlevel.current_statistics().tasks_living == TASKS

    with an_order(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    return run


TASKS = 3  # the main one, its nursery's keeper, and the clock's


@pytest.mark.parametrize("name", RACES)
def test_a_dead_heat_has_one_winner(name: str) -> None:
    for seed in SEEDS:
        run = run_race(name, seed)
        whole = {f"{each}/m": b"".join(words_of(each)) for each in "ab"}
        received, record = run.client.received, run.record
        closes = [call.closed_at for call in run.upstream.calls]

        assert all(at is not None and at <= RACES[name][1] for at in closes)
        assert run.upstream.left_open == [], f"seed {seed}"
        assert all(call.closes <= 1 for call in run.upstream.calls), f"seed {seed}"
        assert len(run.upstream.calls) <= len(record.attempts)
        if record.outcome is Outcome.COMPLETED:
            assert record.target is not None
            assert received == whole[record.target], f"seed {seed}"
            won = [attempt.failure for attempt in record.attempts].count(None)
            assert won == 1, f"seed {seed}"
        elif record.outcome is Outcome.REFUSED:
            assert received == b""
        health = [run.relay.fleet.health(t, 0.0) for t in run.route.targets]
        assert all(each.limiter.in_flight == 0 for each in health), f"seed {seed}"
        assert run.relay.fleet.budgets(run.route).in_flight == 0


def test_a_dead_heat_is_won_now_by_one_and_now_by_the_other() -> None:
    race = "two first tokens"
    winners = [run_race(race, seed).record.target for seed in SEEDS]

    assert set(winners) == {"a/m", "b/m"}
    assert winners == [run_race(race, seed).record.target for seed in SEEDS]


class SecondFails:
    """Targets that say nothing, but for `b`, which fails without another step."""

    def __init__(self) -> None:
        self.fails = trio.Event()

    async def open(self, call: Call) -> Failure:
        if call.account.name == "b":
            await self.fails.wait()
            return Failure(FailureClass.CONNECT, "connection refused")
        return await trio.sleep_forever()


@pytest.mark.parametrize("seed", SEEDS)
def test_one_that_fails_beside_another_as_the_client_leaves_has_no_successor(
    seed: int,
) -> None:
    async def main() -> None:
        upstream = SecondFails()
        run = Run(a_route("abc", is_overlap_on=True), ScriptedUpstream.by_account({}))
        run.relay.engine = StrictEngine
        run.relay.upstream = upstream
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.go)
            await trio.sleep(SOFT_S + 1)
            upstream.fails.set()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == SOFT_S + 1
        await trio.sleep(2)
        assert trio.lowlevel.current_statistics().tasks_living == TASKS

    with an_order(seed):
        trio.run(main, clock=MockClock(autojump_threshold=0))
