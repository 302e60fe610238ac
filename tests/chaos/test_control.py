import json
from typing import Any

import pytest
import trio
import trio.testing

from tests.chaos.client import Got, Reader, a_request
from tests.chaos.test_server import PLAIN, serving
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider.connection import Connection
from trio_gateway.chaos.provider.control import Control
from trio_gateway.chaos.provider.http1 import HttpRequest
from trio_gateway.chaos.provider.server import SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Script
from trio_gateway.chaos.worlds.weather import Weather

Clock = trio.testing.MockClock
FAULTS, REQUESTS = "/control/faults", "/control/requests"


def a_provider(*texts: str, name: str = "a") -> SimulatedProvider:
    faults = tuple(map(parse_fault, texts))
    weather = Weather(provider=name, faults=faults, pace=Pace(tokens=3))
    provider = SimulatedProvider.in_weather(weather)
    provider.control = Control({name: provider})
    return provider


async def call(
    network: MemoryNetwork, method: str, path: str, body: bytes = b"", *, port: int = 80
) -> Got:
    stream = await network.connect("provider", port)
    await stream.send_all(a_request(body, path=path, method=method))
    got = await Reader(stream).read()
    await stream.aclose()
    return got


async def chat(network: MemoryNetwork) -> int | None:
    return (await call(network, "POST", "/v1/chat/completions", PLAIN)).status


def said(got: Got) -> Any:
    assert got.status == 200, got.body
    return json.loads(got.body)


async def test_faults_are_changed_while_it_runs_and_come_back(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider("status=500"))
    assert await chat(network) == 500
    told = json.dumps({"faults": ["status=503,times=1"], "for": "30s"}).encode()
    answer = said(await call(network, "POST", FAULTS, told))
    assert answer == {
        "providers": {
            "a": {"faults": ["status=503,times=1"], "preset": None, "ends_in_s": 30.0}
        }
    }
    assert [await chat(network), await chat(network)] == [503, 200]
    await trio.sleep(30)
    assert await chat(network) == 500


async def test_what_was_told_is_shown_and_taken_back(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider("status=500"))
    await call(network, "POST", FAULTS, b'{"preset": "auth_storm"}')
    assert await chat(network) == 401
    assert said(await call(network, "GET", FAULTS))["providers"]["a"] == {
        "faults": ["status=401,until=78m"],
        "preset": "auth_storm",
        "ends_in_s": None,
    }
    shown = said(await call(network, "DELETE", FAULTS))
    assert shown["providers"]["a"]["faults"] == ["status=500"]
    assert await chat(network) == 500
    await call(network, "POST", FAULTS, b'{"faults": []}')
    assert await chat(network) == 200


async def test_the_log_tells_what_was_seen_but_no_prompt_and_no_key(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider("status=503,times=1"))
    prompt = b'{"model":"gpt","messages":[{"role":"user","content":"s3cret"}]}'
    path = "/v1/chat/completions?key=s3cret"
    await call(network, "POST", path, prompt)
    await trio.sleep(2)
    await call(network, "POST", path, prompt)
    await call(network, "GET", FAULTS)
    got = await call(network, "GET", REQUESTS)

    first, second = said(got)["requests"]
    assert b"s3cret" not in got.body
    assert b"Bearer" not in got.body
    assert first == {
        "provider": "a",
        "number": 1,
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "gpt",
        "has_key": True,
        "status": 503,
        "ending": "answered",
        "bytes": first["bytes"],
        "started_ago_s": 2.0,
        "took_s": 0.0,
    }
    assert first["bytes"] > 50
    assert (second["number"], second["status"]) == (2, 200)

    await call(network, "DELETE", REQUESTS)
    assert said(await call(network, "GET", REQUESTS)) == {"requests": []}


async def test_a_request_under_way_is_in_the_log(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await serving(nursery, a_provider("silence"))
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(PLAIN))
    await trio.sleep(5)
    (seen,) = said(await call(network, "GET", REQUESTS))["requests"]
    assert (seen["ending"], seen["status"], seen["took_s"]) == (None, None, 5.0)
    await stream.aclose()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "this is no JSON object, such as"),
        (b"[]", "this is no JSON object"),
        (b"[" * 100_000, "this is no JSON object"),
        (b'{"fault": []}', "did you mean 'faults'?"),
        (b'{"faults": "status=503"}', "faults must be a list of texts"),
        (b'{"faults": [503]}', "faults must be a list of texts"),
        (b'{"faults": ["statsu=503"]}', "did you mean 'status'?"),
        (b'{"faults": ["refuse", "silence"]}', "add up to 2"),
        (b'{"preset": "flakey"}', "did you mean 'flaky'?"),
        (b'{"for": 30}', "for needs a time, such as for=300ms"),
    ],
)
async def test_what_cannot_be_told_is_refused_and_changes_nothing(
    autojump_clock: Clock, nursery: trio.Nursery, body: bytes, complaint: str
) -> None:
    network, _ = await serving(nursery, a_provider("status=500"))
    got = await call(network, "POST", FAULTS, body)
    assert got.status == 400
    assert complaint in json.loads(got.body)["error"]["message"]
    assert await chat(network) == 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", FAULTS, 405),
        ("POST", REQUESTS, 405),
        ("GET", "/control/prompts", 404),
        ("GET", "/control/", 404),
    ],
)
async def test_other_paths_and_methods_are_refused(
    autojump_clock: Clock, nursery: trio.Nursery, method: str, path: str, status: int
) -> None:
    network, _ = await serving(nursery, a_provider())
    assert (await call(network, method, path)).status == status


async def test_a_provider_without_control_does_not_know_it(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    provider = a_provider()
    provider.control = None
    network, _ = await serving(nursery, provider)
    assert (await call(network, "GET", FAULTS)).status == 404


async def test_control_is_for_this_machine_unless_told_otherwise(
    autojump_clock: Clock,
) -> None:
    request = HttpRequest("GET", FAULTS, (), b"", knows_chunks=True, keeps_alive=True)

    def status(*, only_near: bool, is_near: bool) -> int:
        control = Control({"a": a_provider()}, only_near=only_near)
        script = control.answer(request, is_near=is_near)
        assert isinstance(script, Script)
        return script.status

    assert status(only_near=True, is_near=True) == 200
    assert status(only_near=True, is_near=False) == 403
    assert status(only_near=False, is_near=False) == 200


async def test_a_client_of_whom_nothing_is_known_is_not_near(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(a_provider().serve_stream, theirs)
    await ours.send_all(a_request(b"", path=FAULTS, method="GET"))
    assert (await Reader(ours).read()).status == 403
    await ours.aclose()


async def test_a_port_of_its_own_is_about_all_providers_or_one(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    providers = {"a": a_provider(), "b": a_provider(name="b")}
    control = Control(providers)
    network = MemoryNetwork()

    async def serve(stream: trio.abc.Stream) -> None:
        await Connection(stream, control).run()

    listener = network.listen("provider", 9100)
    await nursery.start(trio.serve_listeners, serve, [listener])

    async def told(query: str, body: bytes) -> Any:
        got = await call(network, "POST", f"{FAULTS}{query}", body, port=9100)
        return {name: one["faults"] for name, one in said(got)["providers"].items()}

    assert await told("", b'{"faults": ["close"]}') == {"a": ["close"], "b": ["close"]}
    assert await told("?provider=b", b'{"faults": []}') == {"b": []}
    got = await call(network, "GET", FAULTS, port=9100)
    assert said(got)["providers"]["a"]["faults"] == ["close"]
    got = await call(network, "GET", f"{FAULTS}?provider=c", port=9100)
    assert got.status == 400
    got = await call(network, "GET", "//[", port=9100)  # which is no address at all
    assert got.status == 400
