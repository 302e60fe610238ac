"""The control endpoint as somebody else's chaos test uses it: over sockets, by HTTP."""

import httpx
import pytest
import trio

from trio_gateway.chaos.provider.control import Control
from trio_gateway.chaos.provider.server import SimulatedProvider, open_sockets, port_of
from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.worlds.weather import Weather

CHAT = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def url(nursery: trio.Nursery) -> str:
    weather = Weather(provider="a", pace=Pace(tokens=3))
    provider = SimulatedProvider.in_weather(weather)
    provider.control = Control({"a": provider})
    listeners = await open_sockets("127.0.0.1", 0)
    await nursery.start(provider.serve, listeners)
    return f"http://127.0.0.1:{port_of(listeners[0])}"


async def test_a_test_breaks_a_provider_sees_it_broken_and_mends_it(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

        async def chat() -> int:
            answer = await client.post("/v1/chat/completions", json=CHAT)
            return answer.status_code

        assert await chat() == 200
        told = {"faults": ["status=429,retry_after=2s"], "for": "1h"}
        answer = await client.post("/control/faults", json=told)
        assert 3599 < answer.json()["providers"]["a"]["ends_in_s"] <= 3600
        assert await chat() == 429

        await client.post("/control/faults", json={"faults": ["cut=10"]})
        with pytest.raises(httpx.RemoteProtocolError):
            await chat()

        await client.delete("/control/faults")
        assert await chat() == 200
        log = (await client.get("/control/requests")).json()["requests"]

    assert [one["status"] for one in log] == [200, 429, 200, 200]
    assert [one["ending"] for one in log] == [
        "answered",
        "answered",
        "fault",
        "answered",
    ]
    assert log[2]["bytes"] == 10


async def test_a_client_of_this_machine_is_near_over_sockets(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/control/faults")).status_code == 200
