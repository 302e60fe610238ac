"""What a client in haste gets of several targets, in simulated worlds."""

import pytest

from tests.factories import a_route
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import RouteTally
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.world import (
    Clients,
    Effect,
    Library,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.failover.failures import Failure, FailureClass

# One second to answer in, of the two that it waits; two minutes of it.
HASTY = Library(retries_max=0, timeout_s=2.0)
SLOW = Spread.of(p50=0.7, p95=1.2, p99=2.0, most=4.0)
QUICK = Spread.of(p50=0.2, p95=0.5, p99=0.9, most=3.0)
SICK = Fails(Failure(FailureClass.SERVER_ERROR, "503", 503), 0.02)


def asked(
    names: str, first_token: Spread, *, wrong: Effect | None = None
) -> RouteTally:
    """What becomes of five requests a second; with something wrong at the first."""
    spells = {names[0]: (Spell(wrong, share=0.5),)} if wrong is not None else {}
    targets = {
        f"{name}/m": SimulatedTarget(
            first_token=first_token, spells=spells.get(name, ())
        )
        for name in names
    }
    clients = Clients("chat", 5.0, library=HASTY)
    world = World((a_route(names, is_overlap_on=True),), (clients,), 120.0, targets)
    result = Simulator(world, seed="1", engine=WatchedEngine).run()
    assert result.violations == ()
    return result.total


def share(tally: RouteTally) -> float:
    return tally.answered / tally.questions


def test_three_slow_targets_are_worth_hardly_less_than_one() -> None:
    """Shared by three, a second is too short for each of them."""
    one, three = asked("a", SLOW), asked("abc", SLOW)

    assert share(one) > 0.7
    assert share(three) > 0.8 * share(one)  # some are needed to learn it
    assert three.amplification < 1.5


@pytest.mark.parametrize("wrong", [SICK, Hangs()], ids=["fails", "hangs"])
def test_where_there_is_time_for_two_the_second_helps(wrong: Effect) -> None:
    one, two = asked("a", QUICK, wrong=wrong), asked("ab", QUICK, wrong=wrong)

    assert share(two) > share(one) + 0.2
    assert share(two) > 0.85
