"""Targets of a simulation in bytes, as they are when their clients are gone."""

import json
import socket

import pytest

from tests.factories import a_route
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.scenarios.forecast import Bad, effect_of
from trio_gateway.chaos.scenarios.wire_targets import Wanted, WireTarget
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.vocabulary.answers import ChatRequest
from trio_gateway.chaos.vocabulary.script import Refusal, Script
from trio_gateway.chaos.worlds.world import Effect, SimulatedTarget, Spell, World


def a_wire_target(wanted: Wanted | None, *weather: Refusal) -> WireTarget:
    route = a_route("a")
    (target,) = route.targets
    behind: dict[Effect, Bad] = {effect_of(what, target): what for what in weather}
    spec = SimulatedTarget(spells=tuple(map(Spell, behind)))
    world = World((route,), (), 1.0, {target.id: spec})
    setting = Setting(world, route.targets, behind)
    return WireTarget(target, "a.simulated", setting, seed=1, wanted=lambda _: wanted)


REQUEST = ChatRequest(
    "/v1/chat/completions",
    json.dumps({"model": "m", "stream": True, "user": "0/1/1"}).encode(),
)


async def test_a_request_is_answered_as_its_client_wants() -> None:
    target = a_wire_target(Wanted(tokens=3, opens_at_token=1))

    assert isinstance(target._behave(REQUEST, 1), Script)
    assert target._turns == {"0/1/1": 1}


async def test_a_request_that_arrives_after_its_client_has_gone_leaves_nothing() -> (
    None
):
    target = a_wire_target(None)

    assert target._behave(REQUEST, 1) is Refusal.CLOSE
    assert not target._turns


@pytest.mark.parametrize(
    ("weather", "error"),
    [
        (Refusal.CONNECT_REFUSED, ConnectionRefusedError),
        (Refusal.NAME_UNKNOWN, socket.gaierror),
    ],
)
async def test_what_cannot_be_connected_says_why(
    weather: Refusal, error: type[OSError]
) -> None:
    target = a_wire_target(None, weather)

    with pytest.raises(error):
        await target.connect(MemoryNetwork())
