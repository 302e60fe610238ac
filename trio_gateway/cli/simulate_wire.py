"""`simulate --depth wire`: the whole gateway, composed in a simulated world.

Two runs with one seed are equal to the byte only if tasks that are ready at the same
instant run in the same order. Trio shuffles them by dice of its own, which are seeded
here; that is a private seam, which Trio's own tests use, and our tests watch over it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from time import perf_counter
from typing import Final
from uuid import UUID

import trio
from trio._core import _run

from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.clock import LeapingClock
from trio_gateway.chaos.scenarios.forecast import WALL_AT_START
from trio_gateway.chaos.scenarios.load import Scenario
from trio_gateway.chaos.scenarios.run import OnProgress, Run, rare_collections
from trio_gateway.chaos.scenarios.wire import Wire
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.scenarios.worlds import setting_of
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Policy
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway

# No simulated world has more clients at once than memory for them.
_LIMITS: Final = Limits(sends_date=False, connections_max=1_000_000)

# Trio's own switch for its tests.
_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"


def run_wire(
    scenario: Scenario, policy: Policy, seed: int, label: str, tell: OnProgress
) -> Run:
    """Run a scenario through the whole gateway, with all its bytes, in virtual time.

    Raises:
        PolicyError: the scenario does not fit the policy.
    """
    setting = setting_of(scenario, policy, str(seed))
    witness = Witness(scenario.duration_s, tell)
    wire = Wire(setting, policy, seed=seed, witness=witness)
    began_at = perf_counter()
    result = play(wire, seed)
    return Run(
        scenario=scenario,
        policy=policy,
        label=label,
        seed=seed,
        depth="wire",
        setting=setting,
        result=result,
        witness=witness,
        wall_s=perf_counter() - began_at,
    )


def play(wire: Wire, seed: int) -> Result:
    """Let a wire's world happen, with the whole gateway in it."""
    with _same_order(seed), rare_collections():
        return trio.run(_run_all, wire, seed, clock=LeapingClock())


async def _run_all(wire: Wire, seed: int) -> Result:
    """Put the gateway together, and open its door to the wire's clients."""
    ids = count(1)
    fleet = Fleet(Random(f"{seed}/fleet"))
    async with PooledUpstream(connect=wire.connect) as upstream:
        relay = Relay(
            upstream=upstream,
            fleet=fleet,
            recorder=wire.record,
            wall_clock=lambda: WALL_AT_START + trio.current_time(),
            seed=str(seed),
            engine=wire.engine,
        )
        gateway = Gateway(
            policy=wire.policy,
            keyring=Keyring(wire.policy.access_keys),
            relay=relay,
            metrics=Metrics(slugs=wire.policy.routes),
            new_id=lambda: str(UUID(int=next(ids))),
        )
        server = Server(create_app(gateway), _LIMITS)
        return await wire.drive(server.serve_stream, fleet)


@contextmanager
def _same_order(seed: int) -> Iterator[None]:
    """Let Trio's order of tasks follow from the seed, for one run."""
    dice = _run._r  # noqa: SLF001 - see the module
    before, state = getattr(_run, _SWITCH), dice.getstate()
    setattr(_run, _SWITCH, True)
    dice.seed(seed)
    try:
        yield
    finally:
        setattr(_run, _SWITCH, before)
        dice.setstate(state)
