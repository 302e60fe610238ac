import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from random import Random

import pytest

from tests.factories import RETRY, a_route, a_target
from trio_gateway.chaos.simulation.crowd import Crowd, Question
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import Result, Times
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS, Spread
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Breaks,
    Capacity,
    Clients,
    Effect,
    Library,
    Shrinks,
    SimulatedTarget,
    Slows,
    Spell,
    World,
)
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import Command, RefusalKind, Refuse
from trio_gateway.failover.events import Event
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Hedge, Jitter
from trio_gateway.relay.record import Outcome

SICK = Fails(Failure(FailureClass.SERVER_ERROR, "503", 503), 0.02)
ALWAYS_2_S = SimulatedTarget(first_token=Spread.always(2.0), gap_s=0.0)


def a_world(
    *spells: Spell, rate_per_s: float = 20.0, duration_s: float = 30.0
) -> World:
    return World(
        (a_route("abc", is_overlap_on=True),),
        (Clients("chat", rate_per_s),),
        duration_s,
        {"a/m": SimulatedTarget(spells=spells)},
    )


def a_run(world: World, *, seed: str = "1") -> Result:
    result = Simulator(world, seed=seed, engine=WatchedEngine).run()
    assert result.violations == ()
    return result


STORMY = a_world(
    Spell(Breaks(), 1.0, 5.0, share=0.3),
    Spell(SICK, 6.0, 9.0),
    Spell(Hangs(), 14.0, 18.0),
    Spell(Slows(8.0), 24.0, 28.0),
)


def test_the_same_seed_is_the_same_run_and_another_is_another() -> None:
    assert a_run(STORMY).digest == a_run(STORMY).digest
    assert a_run(STORMY).digest != a_run(STORMY, seed="2").digest


def test_the_same_seed_is_the_same_run_in_any_process() -> None:
    program = (
        "from tests.chaos.test_simulator import STORMY, a_run; "
        "print(a_run(STORMY).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert digests == {a_run(STORMY).digest}


def test_time_never_steps_back() -> None:
    """A hedge that falls due while its exchange waits to try again is overdue then."""
    seen_at: list[float] = []

    class Timed(WatchedEngine):
        def advance(self, event: Event, now: float) -> tuple[Command, ...]:
            seen_at.append(now)
            return super().advance(event, now)

    patient = replace(RETRY, backoff_initial_s=4.0, jitter=Jitter.NONE)
    hedge = Hedge(0.5, 0.01, 0.05)
    route = a_route("ab", same_target=1, hedge=hedge, retry=patient)
    world = World(
        (route,),
        (Clients("chat", 20.0),),
        30.0,
        {"a/m": SimulatedTarget(spells=(Spell(SICK, 10.0, share=0.2),))},
    )
    Simulator(world, engine=Timed).run()

    assert seen_at == sorted(seen_at)


def test_every_question_comes_to_one_end() -> None:
    route = a_run(STORMY).total

    assert route.questions > 400
    assert route.answered + route.failed + route.left == route.questions
    assert route.exchanges == route.questions
    assert route.first_tokens.count == route.answered + route.interrupted
    assert route.interrupted > 0


def test_a_healthy_world_costs_one_attempt_a_question() -> None:
    result = a_run(a_world())
    route = result.total

    assert route.availability == 1.0
    assert route.amplification == pytest.approx(1.0, abs=0.01)
    assert route.cost_multiplier == pytest.approx(1.0, abs=0.01)
    assert result.changes == ()
    assert route.first_tokens.quantile(0.5) == pytest.approx(0.726, rel=0.06)


def test_an_outage_is_seen_in_the_breaker_and_over_time() -> None:
    result = a_run(a_world(Spell(SICK, 10.0, 20.0)))
    sick = result.targets["a/m"]

    assert [change.after for change in result.changes][:2] == [
        BreakerState.OPEN,
        BreakerState.PROBE,
    ]
    assert 10.0 < result.changes[0].at_s < 12.0
    assert sick.failures[FailureClass.SERVER_ERROR] > 4
    assert result.between(sick.over_time, 0, 9) > 100
    assert result.between(sick.over_time, 13, 20) < 5
    assert result.total.availability == 1.0


EFFECTS: list[tuple[Effect, FailureClass]] = [
    (Fails(Failure(FailureClass.AUTH, "401", 401)), FailureClass.AUTH),
    (Hangs(is_connected=False), FailureClass.CONNECT),
    (Hangs(), FailureClass.TIMEOUT),
    (Breaks(), FailureClass.INTERRUPTED),
    (Slows(100.0), FailureClass.TIMEOUT),
]


@pytest.mark.parametrize(("effect", "kind"), EFFECTS)
def test_each_effect_fails_in_its_own_way(effect: Effect, kind: FailureClass) -> None:
    world = World(
        (a_route("a"),),
        (Clients("chat", 0.2, arrivals=Arrivals.EVEN),),
        20.0,
        {"a/m": SimulatedTarget(spells=(Spell(effect),))},
    )
    assert a_run(world).targets["a/m"].failures[kind] > 0


def test_a_spell_strikes_its_share_and_only_in_its_time() -> None:
    wrong = Fails(Failure(FailureClass.CLIENT_ERROR, "400", 400))
    world = World(
        (a_route("a"),),
        (Clients("chat", 50.0, arrivals=Arrivals.EVEN),),
        30.0,
        {"a/m": SimulatedTarget(spells=(Spell(wrong, 10.0, 20.0, share=0.25),))},
    )
    result = a_run(world)
    timeline = result.timeline

    assert result.between(timeline.failed, 0.0, 10.0) == 0
    assert result.between(timeline.failed, 10.0, 21.0) == pytest.approx(125, rel=0.2)
    assert result.between(timeline.failed, 21.0, 30.0) == 0


def test_a_flapping_spell_is_on_and_off() -> None:
    spell = Spell(SICK, 10.0, 100.0, flaps=(20.0, 20.0))
    is_on = {at: spell.is_on(at) for at in (9.9, 10.0, 29.9, 30.0, 49.9, 50.0, 100.0)}
    assert list(is_on.values()) == [False, True, True, False, False, True, False]


# A target of two slots, each taken for two seconds.


def waits_at(capacity: Capacity, *, clients: float, every_s: float) -> Result:
    target = a_target("a")
    spec = SimulatedTarget(Spread.always(2.0), gap_s=0.0, capacity=capacity)
    return a_run(
        World(
            (a_route([target], same_target=0),),
            (Clients("chat", 1 / every_s, arrivals=Arrivals.EVEN),),
            (clients - 0.5) * every_s,
            {"a/m": spec},
        )
    )


def test_those_beyond_the_slots_stand_in_line() -> None:
    result = waits_at(Capacity(slots=2), clients=6, every_s=0.01)
    waits = result.total.first_tokens

    assert result.total.answered == 6
    assert waits.quantile(2 / 6) == pytest.approx(2.0, rel=0.02)
    assert waits.quantile(4 / 6) == pytest.approx(4.0, rel=0.02)
    assert waits.most_s == pytest.approx(6.0, rel=0.02)


def test_a_line_that_is_too_long_refuses() -> None:
    result = waits_at(Capacity(slots=2, line_max=1), clients=6, every_s=0.01)

    assert result.total.answered == 3
    assert result.targets["a/m"].failures[FailureClass.OVERLOADED] == 3


@pytest.mark.parametrize("notices", [True, False])
def test_a_target_that_notices_no_departure_works_for_nobody(notices: bool) -> None:
    spec = SimulatedTarget(
        Spread.always(2.0),
        gap_s=0.0,
        capacity=Capacity(slots=1, notices_departures=notices),
    )
    impatient = Clients(
        "chat", 10.0, until_s=1.0, patience=Spread.always(3.9), arrivals=Arrivals.EVEN
    )
    later = Clients("chat", 0.5, from_s=5.0, until_s=24.0, arrivals=Arrivals.EVEN)
    world = World((a_route([a_target("a")]),), (impatient, later), 30.0, {"a/m": spec})

    result = Simulator(world, engine=WatchedEngine).run()

    late_s = result.between(result.timeline.answered, 5.0, 25.0)
    assert late_s >= 9 if notices else late_s < 5


def test_slots_that_went_missing_come_back() -> None:
    spec = SimulatedTarget(
        Spread.always(1.0),
        gap_s=0.0,
        capacity=Capacity(slots=10),
        spells=(Spell(Shrinks(0.2), 10.0, 20.0),),
    )
    world = World(
        (a_route([a_target("a")]),),
        (Clients("chat", 8.0, arrivals=Arrivals.EVEN, patience=Spread.always(5.0)),),
        40.0,
        {"a/m": spec},
    )
    result = a_run(world)
    answered = result.timeline.answered

    assert result.between(answered, 2.0, 10.0) == pytest.approx(64, abs=2)
    assert result.between(answered, 12.0, 20.0) == pytest.approx(14, abs=6)
    assert result.between(answered, 26.0, 34.0) == pytest.approx(64, abs=8)


# Clients


def test_a_person_leaves_in_the_middle_of_an_answer() -> None:
    outcomes: list[Outcome] = []
    world = World(
        (a_route("a"),),
        (Clients("chat", 1.0, patience=Spread.always(0.9)),),
        20.0,
        {"a/m": SimulatedTarget(Spread.always(0.5))},
    )
    result = Simulator(
        world, engine=WatchedEngine, on_over=lambda _, outcome: outcomes.append(outcome)
    ).run()

    assert result.total.left == outcomes.count(Outcome.CANCELLED) > 5
    assert result.total.first_tokens.count == result.total.questions
    assert result.targets["a/m"].live == 0


def a_question(tries: int = 1) -> tuple[Crowd, Question]:
    crowd = Crowd(Clients("chat", 1.0, library=Library(retries_max=2)), "x")
    question = crowd.question(0.0)
    question.tries = tries
    return crowd, question


def test_a_library_obeys_what_it_is_told() -> None:
    crowd, question = a_question()
    told = Refuse(RefusalKind.UNAVAILABLE, retry_after_s=7.0, is_retry_welcome=True)
    too_long = Refuse(
        RefusalKind.RATE_LIMITED, retry_after_s=200.0, is_retry_welcome=True
    )
    unwelcome = Refuse(RefusalKind.UPSTREAM_FAILED)

    assert crowd.asks_again_s(question, told) == 7.0
    assert crowd.asks_again_s(question, too_long) is None
    assert crowd.asks_again_s(question, unwelcome) is None


@pytest.mark.parametrize(("tries", "most_s"), [(1, 0.5), (2, 1.0)])
def test_a_library_backs_off_by_itself_where_it_was_told_nothing(
    tries: int, most_s: float
) -> None:
    crowd, question = a_question(tries)
    after_s = crowd.asks_again_s(question, None)

    assert after_s is not None
    assert 0.75 * most_s <= after_s <= most_s
    assert a_question(3)[0].asks_again_s(a_question(3)[1], None) is None


def test_a_librarys_retries_are_exchanges_of_one_question() -> None:
    limit = Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=7.0)
    world = World(
        (a_route("a"),),
        (Clients("chat", 0.02, arrivals=Arrivals.EVEN, library=Library()),),
        250.0,
        {"a/m": SimulatedTarget(spells=(Spell(Fails(limit)),))},
    )
    route = a_run(world).total

    assert route.questions == route.failed == 5
    assert route.exchanges == route.refusals[RefusalKind.RATE_LIMITED] == 15


@pytest.mark.parametrize("arrivals", Arrivals)
def test_clients_come_at_their_rate(arrivals: Arrivals) -> None:
    world = World(
        (a_route("a"),),
        (Clients("chat", 50.0, from_s=10.0, until_s=30.0, arrivals=arrivals),),
        60.0,
    )
    result = a_run(world)

    assert result.between(result.timeline.offered, 0, 10) == 0
    assert result.total.questions == pytest.approx(1000, rel=0.1)
    assert result.between(result.timeline.offered, 30, 60) == 0


# Distributions and histograms


@pytest.mark.parametrize("name", FIRST_TOKENS)
def test_a_spread_has_the_quantiles_that_it_was_made_of(name: str) -> None:
    spread, dice = FIRST_TOKENS[name], Random(name)
    drawn = sorted(spread.at(dice.random()) for _ in range(20_000))

    for share, value in spread.points[1:4]:
        assert spread.at(share) == pytest.approx(value)
        assert drawn[int(share * len(drawn))] == pytest.approx(value, rel=0.15)
    assert spread.at(0.0) < drawn[0]
    assert drawn[-1] <= spread.points[-1][1]


@pytest.mark.parametrize(
    "points",
    [
        ((0.0, 1.0),),
        ((0.0, 1.0), (0.9, 2.0)),
        ((0.0, 2.0), (1.0, 1.0)),
        ((0.0, 0.0), (1.0, 1.0)),
        ((0.0, 1.0), (0.5, 2.0), (0.5, 3.0), (1.0, 4.0)),
    ],
)
def test_a_spread_that_is_none_is_refused(
    points: tuple[tuple[float, float], ...],
) -> None:
    with pytest.raises(ValueError, match="spread"):
        Spread(points)


def test_times_are_remembered_within_a_hundredth() -> None:
    times, dice = Times(), Random("times")
    drawn = sorted(dice.lognormvariate(0.0, 2.0) for _ in range(5000))
    for value in drawn:
        times.add(value)

    for share in (0.1, 0.5, 0.95, 0.99):
        exact = drawn[int(share * len(drawn)) - 1]
        assert times.quantile(share) == pytest.approx(exact, rel=0.011)
    assert times.quantile(1.0) == drawn[-1]


# What it takes


def test_memory_does_not_grow_with_the_run() -> None:
    def peak_bytes(duration_s: float) -> int:
        tracemalloc.start()
        world = a_world(
            Spell(SICK, flaps=(5.0, 20.0)), rate_per_s=10.0, duration_s=duration_s
        )
        Simulator(world).run()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak_bytes(10.0)  # what is imported and cached once
    # The windows fill at first; a run kept in memory would take six times as much.
    assert peak_bytes(600.0) < 2.5 * peak_bytes(100.0)


def test_nothing_is_left_in_the_fleet() -> None:
    route = STORMY.routes[0]
    ends: list[Outcome] = []
    simulator = Simulator(STORMY, on_over=lambda _, outcome: ends.append(outcome))
    result = simulator.run()

    fleet, now = simulator.fleet, simulator.now
    assert all(target.live == 0 for target in result.targets.values())
    assert all(fleet.health(t, now).limiter.in_flight == 0 for t in route.targets)
    assert all(not fleet.health(t, now).waiting for t in route.targets)
    assert fleet.budgets(route).in_flight == 0
    assert len(ends) == result.total.exchanges


def test_a_full_gateway_turns_away_whoever_comes() -> None:
    even = Clients("chat", 1.0, arrivals=Arrivals.EVEN)
    late = SimulatedTarget(first_token=Spread.always(1.5), gap_s=0.0)
    world = World((a_route("a"),), (even,), 10.0, {"a/m": late}, max_in_flight=1)
    total = a_run(world).total
    # While one is answered, the next one comes to a full house.
    assert (total.answered, total.failed) == (5, 5)
    assert total.refusals == {RefusalKind.UNAVAILABLE: 5}
    assert total.exchanges == 5


def test_who_was_turned_away_comes_again_if_its_library_does() -> None:
    library = Library(retries_max=2, timeout_s=60.0)
    even = Clients("chat", 0.5, until_s=3.0, arrivals=Arrivals.EVEN, library=library)
    slow = SimulatedTarget(first_token=Spread.always(3.0), gap_s=0.0)
    world = World((a_route("a"),), (even,), 10.0, {"a/m": slow}, max_in_flight=1)
    total = a_run(world).total
    assert (total.questions, total.answered) == (2, 2)
    assert total.refusals[RefusalKind.UNAVAILABLE] > 0
