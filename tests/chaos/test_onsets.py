"""What becomes of the answers that are under way when an outage begins."""

from math import inf

import pytest

from tests.factories import a_route, with_timeouts
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.chaos.vocabulary.climate import Bursts, Flaps, Incident, When
from trio_gateway.chaos.vocabulary.script import Onset, UnderWay
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Capacity,
    Clients,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint, Route

DOWN = Fails(Failure(FailureClass.CONNECT, "connection refused"))
RESET, SILENT, GOES_ON = UnderWay.RESET, UnderWay.SILENT, UnderWay.GOES_ON


# Beginnings


@pytest.mark.parametrize(
    ("spell", "begins"),
    [
        (Spell(DOWN), []),  # nothing is under way before everything
        (Spell(DOWN, 5.0, 9.0), [5.0]),
        (Spell(DOWN, 5.0, 30.0, flaps=(4.0, 6.0)), [5.0, 15.0, 25.0]),
        (Spell(DOWN, 5.0, 25.0, flaps=(4.0, 6.0)), [5.0, 15.0]),
    ],
)
def test_a_spell_begins_whenever_it_was_not_on_before(
    spell: Spell, begins: list[float]
) -> None:
    assert all_begins(spell) == begins
    assert all(spell.is_on(at) and not spell.is_on(at - 1e-6) for at in begins)


@pytest.mark.parametrize(
    "when",
    [
        When(5.0, 30.0),
        When(5.0, 60.0, Flaps(4.0, 6.0)),
        When(5.0, rhythm=Bursts(10.0, 2.0)).drawn("dice"),
        When(5.0, rhythm=Incident(10.0)).drawn("dice"),
    ],
    ids=repr,
)
def test_a_fault_begins_whenever_it_did_not_reign_before(when: When) -> None:
    begins = all_begins(when)
    assert begins
    assert all(when.reigns(at + 1e-6) for at in begins)
    assert not any(when.reigns(at - 1e-6) for at in begins)


def test_a_rhythm_of_chance_begins_only_once_it_is_drawn() -> None:
    assert not all_begins(When(rhythm=Bursts(10.0, 2.0)))


def all_begins(what: Spell | When) -> list[float]:
    """Those of the first hundred seconds, but for its very beginning."""
    found = [what.next_begin(0.0)]
    while found[-1] < 100.0:
        found.append(what.next_begin(found[-1]))
    return found[:-1]


def test_the_first_beginning_that_strikes_is_an_answers_onset() -> None:
    spells = (
        Spell(DOWN, 20.0, under_way=RESET),
        Spell(Hangs(), 10.0, under_way=SILENT),
        Spell(Hangs(), 5.0),
    )
    assert onset_of(striking(spells), "x", after_s=0.0) == Onset(10.0, SILENT)
    assert onset_of(striking(spells), "x", after_s=10.0) == Onset(20.0, RESET)
    assert onset_of(striking(spells), "x", after_s=20.0) is None
    assert onset_of(striking(spells), "x", after_s=0.0, until_s=10.0) is None


def test_a_share_is_drawn_by_each_answer_at_each_beginning() -> None:
    spell = Spell(DOWN, 0.0, share=0.3, flaps=(1.0, 1.0), under_way=RESET)
    onsets = [onset_of((spell,), f"{number}", after_s=0.5) for number in range(1000)]
    first = sum(onset is not None and onset.at_s == 2.0 for onset in onsets)
    second = sum(onset is not None and onset.at_s == 4.0 for onset in onsets)
    assert 250 < first < 350
    assert 160 < second < 260
    again = [onset_of((spell,), f"{number}", after_s=0.5) for number in range(1000)]
    assert onsets == again


# By decisions


def a_run(
    *spells: Spell,
    route: Route | None = None,
    is_stream: bool = True,
    capacity: Capacity | None = None,
) -> tuple[Result, list[WatchedEngine]]:
    """Ten clients a second for ten seconds; an answer opens in 1 s and takes 3 s.

    Returns:
        What came of it, and every exchange's engine.
    """
    engines: list[WatchedEngine] = []
    target = SimulatedTarget(Spread.always(1.0), 0.1, spells, capacity)
    other = SimulatedTarget(Spread.always(1.0), 0.1)
    world = World(
        (route or a_route("ab"),),
        (
            Clients(
                "chat",
                10.0,
                arrivals=Arrivals.EVEN,
                is_stream=is_stream,
                answer_tokens=Spread.always(21.0),
            ),
        ),
        10.0,
        {"a/m": target, "b/m": other},
    )

    def over(engine: object, _: object) -> None:
        assert isinstance(engine, WatchedEngine)
        engines.append(engine)

    result = Simulator(world, seed="1", engine=WatchedEngine, on_over=over).run()
    assert result.violations == ()
    return result, engines


def failures_of(engines: list[WatchedEngine]) -> list[tuple[str, float, float]]:
    """Of each failed attempt: its class, when it was sent, and when it ended."""
    return [
        (str(each.failure.kind), each.started_at, each.ended_at or inf)
        for engine in engines
        for each in engine.attempts
        if each.failure is not None and each.started_at < 5.0
    ]


def test_what_is_under_way_goes_on_unless_the_outage_says_otherwise() -> None:
    result, engines = a_run(Spell(DOWN, 5.0, 6.0))
    assert not failures_of(engines)
    assert result.total.interrupted == 0


def test_a_reset_cuts_open_streams_and_moves_those_that_wait() -> None:
    result, engines = a_run(Spell(DOWN, 5.05, 6.05, under_way=RESET))
    failed = failures_of(engines)
    assert {ended for _, _, ended in failed} == {5.05}
    assert (
        sorted(kind for kind, _, _ in failed)
        == ["bad_answer"] * 10 + ["interrupted"] * 20
    )
    assert result.total.interrupted == result.total.failed == 20
    # Those that waited have their answer from the other target.
    assert result.total.answered == result.total.questions - 20
    assert result.targets["a/m"].live == 0


def test_a_silence_is_noticed_by_the_limits_of_a_stream_and_of_a_first_token() -> None:
    route = a_route("a", attempts_max=1, timeouts=with_timeouts(idle_s=7.0))
    result, engines = a_run(Spell(Hangs(False), 5.05, under_way=SILENT), route=route)
    failed = failures_of(engines)
    open_ones = [ended for kind, _, ended in failed if kind == "interrupted"]
    assert open_ones == pytest.approx([12.05] * 20)
    late = [(started, ended) for kind, started, ended in failed if kind == "timeout"]
    assert len(late) == 10
    waits = [ended - started for started, ended in late]
    assert waits == pytest.approx([route.timeouts.precommit_s] * 10)
    assert result.total.interrupted == 20


def test_a_share_strikes_some_of_what_is_under_way() -> None:
    _, engines = a_run(Spell(DOWN, 5.05, 6.05, share=0.5, under_way=RESET))
    assert 8 < len(failures_of(engines)) < 22


def test_answers_that_are_not_streams_fail_over_and_cost_nobody_anything() -> None:
    result, engines = a_run(Spell(DOWN, 5.05, 6.05, under_way=RESET), is_stream=False)
    assert [kind for kind, _, _ in failures_of(engines)] == ["reset"] * 30
    assert result.total.availability == 1.0


@pytest.mark.parametrize(
    ("under_way", "kind"), [(RESET, "bad_answer"), (SILENT, "timeout")]
)
def test_what_is_held_until_it_is_whole_fails_over_as_well(
    under_way: UnderWay, kind: str
) -> None:
    route = a_route(
        "ab",
        commit=CommitPoint(CommitMode.COMPLETE),
        timeouts=with_timeouts(idle_s=7.0),
    )
    result, engines = a_run(Spell(DOWN, 5.05, 6.05, under_way=under_way), route=route)
    failed = [each for each in failures_of(engines) if each[1] <= 4.05]
    assert {each[0] for each in failed} == {kind}
    waits = {round(ended - 5.05, 6) for _, _, ended in failed}
    assert waits == ({0.0} if under_way is RESET else {7.0})
    assert result.total.availability == 1.0


def test_those_who_stand_in_line_are_struck_too() -> None:
    """Ten slots for thirty at once: twenty wait, or have left after two seconds."""
    result, engines = a_run(
        Spell(DOWN, 5.05, 6.05, under_way=RESET), capacity=Capacity(10)
    )
    failed = [each for each in failures_of(engines) if each[2] == 5.05]
    kinds = sorted(kind for kind, _, _ in failed)
    assert kinds.count("interrupted") <= 10
    assert kinds.count("reset") >= 10  # without a head
    assert result.targets["a/m"].live == 0


def test_the_same_seed_is_struck_the_same() -> None:
    storm = Spell(DOWN, 2.0, 9.0, 0.5, (1.0, 1.0), RESET)
    assert a_run(storm)[0].digest == a_run(storm)[0].digest
