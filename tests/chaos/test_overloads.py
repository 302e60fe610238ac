"""What becomes of clients while targets say that they are overloaded, and after it."""

from tests.factories import a_route
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.worlds.outline import Fails
from trio_gateway.chaos.worlds.world import (
    Clients,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.failover.failures import Failure, FailureClass

BUSY = Fails(Failure(FailureClass.OVERLOADED, "529", 529), 0.02)


def answered_of(share: float, *, until_s: float) -> float:
    """The part of 40 clients a second, for five minutes, both of whose targets are."""
    spell = Spell(BUSY, share=share, from_s=30.0, until_s=until_s)
    targets = {name: SimulatedTarget(spells=(spell,)) for name in ("a/m", "b/m")}
    clients = Clients("chat", 40.0)
    world = World((a_route("ab"),), (clients,), 300.0, targets)
    result = Simulator(world, seed="1", engine=WatchedEngine).run()
    assert result.violations == ()
    return result.total.answered / result.total.questions


def test_a_brown_out_costs_those_whom_both_refuse_and_hardly_anybody_else() -> None:
    assert answered_of(0.25, until_s=300.0) > 0.9  # of a sixteenth, both refuse


def test_a_spell_that_is_over_costs_nobody_anything_for_long() -> None:
    assert answered_of(0.5, until_s=60.0) > 0.8  # which is a tenth of the time
