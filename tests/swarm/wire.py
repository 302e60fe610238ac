"""A seed's world in bytes: the whole gateway, with operators and a watch beside it."""

import trio

from tests.swarm.play import carry_out, miscounted, shown_to
from tests.swarm.watch import Finding, HouseWatch
from tests.swarm.worlds import Drawn, Order
from trio_gateway.chaos.scenarios.wire import Door, Wire
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.cli.simulate_wire import play
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.fleet import Fleet
from trio_gateway.relay.record import Outcome


def play_wire(drawn: Drawn, house: HouseWatch) -> None:
    """Play it."""
    result = play(_SwarmWire(drawn, house), drawn.seed)
    house.findings += miscounted(result)
    completed = house.outcomes[Outcome.COMPLETED]
    answered, left = result.total.answered, result.total.left
    if not answered <= completed <= answered + left:
        rule = f"(3) clients and records agree: {answered} of {completed} were whole"
        house.findings.append(Finding(rule, "", ()))


class _SwarmWire(Wire):
    """A wire with operators and a watch."""

    def __init__(self, drawn: Drawn, house: HouseWatch) -> None:
        witness = _ToWatch(house, drawn.world.duration_s)
        super().__init__(drawn.setting, drawn.policy, seed=drawn.seed, witness=witness)
        self.engine = shown_to(house, self.engine)
        self._drawn = drawn
        self._house = house

    async def drive(self, door: Door, fleet: Fleet) -> Result:
        async with trio.open_nursery() as nursery:
            for order in self._drawn.orders:
                nursery.start_soon(self._carry_out, order, fleet)
            result = await super().drive(door, fleet)
            nursery.cancel_scope.cancel()
        routes = self.policy.routes.values()
        self._house.close(fleet, routes, trio.current_time())
        return result

    async def _carry_out(self, order: Order, fleet: Fleet) -> None:
        for at_s in (order.at_s, order.until_s):
            await trio.sleep_until(at_s)
            carry_out(order, self._house, fleet, trio.current_time())


class _ToWatch(Witness):
    """Passes on each exchange's end."""

    def __init__(self, house: HouseWatch, duration_s: float) -> None:
        super().__init__(duration_s)
        self._house = house

    def over(self, engine: Engine, outcome: Outcome) -> None:
        super().over(engine, outcome)
        self._house.over(engine, outcome, trio.current_time())
