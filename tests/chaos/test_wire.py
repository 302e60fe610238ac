"""The whole gateway in a simulated world: what a provider's fall takes along."""

import pytest

from tests.factories import a_policy, a_route
from trio_gateway.chaos.scenarios.forecast import effect_of
from trio_gateway.chaos.scenarios.wire import Wire
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.vocabulary.script import Refusal
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Clients,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.cli.simulate_wire import play

FALLS_AT_S = 10.5


def connections_made(*, until_s: float) -> list[int]:
    """Ask two providers once a second each; of the first and of the second.

    The first goes down for a moment in which nobody asks.
    """
    routes = (a_route("a", slug="one"), a_route("b", slug="other"))
    down, up = (route.targets[0] for route in routes)
    effect = effect_of(Refusal.CONNECT_REFUSED, down)
    quick, brief = Spread.always(0.1), Spread.always(2.0)
    spell = Spell(effect, FALLS_AT_S, FALLS_AT_S + 0.1)
    world = World(
        routes,
        tuple(
            Clients(route.slug, 1.0, arrivals=Arrivals.EVEN, answer_tokens=brief)
            for route in routes
        ),
        until_s,
        {
            down.id: SimulatedTarget(quick, 0.01, (spell,)),
            up.id: SimulatedTarget(quick, 0.01),
        },
    )
    setting = Setting(world, (down, up), {effect: Refusal.CONNECT_REFUSED})
    wire = Wire(setting, a_policy(*routes), seed=1, witness=Witness(until_s))
    result = play(wire, 1)
    assert result.total.answered == result.total.questions > 0
    return [target._connections for target in wire._targets.values()]


@pytest.mark.parametrize(
    ("until_s", "made"), [(FALLS_AT_S, [1, 1]), (2 * FALLS_AT_S, [2, 1])]
)
def test_a_fall_takes_along_the_idle_connections_to_whoever_falls_and_no_others(
    until_s: float, made: list[int]
) -> None:
    assert connections_made(until_s=until_s) == made
