import json
from dataclasses import replace

import pytest
import trio
import trio.testing

from tests.chaos.client import Got, Reader, a_request, read_behind_the_port
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider import connection, server
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.server import SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Pace
from trio_gateway.chaos.vocabulary.effects import Disorder, WrongBody
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.chaos.worlds.weather import Weather

Clock = trio.testing.MockClock

STREAM = b'{"model":"m","stream":true}'
PLAIN = b'{"model":"m"}'
HELLO = Script(steps=(Send(b"hello"), Pause(1.0), Send(b" world")))


async def serving(
    nursery: trio.Nursery, provider: SimulatedProvider
) -> tuple[MemoryNetwork, SimulatedProvider]:
    network = MemoryNetwork()
    await nursery.start(provider.serve, [network.listen("provider", 80)])
    return network, provider


async def playing(
    nursery: trio.Nursery, behaviour: Behaviour
) -> tuple[MemoryNetwork, SimulatedProvider]:
    return await serving(nursery, SimulatedProvider(lambda *_: behaviour))


async def ask(network: MemoryNetwork, body: bytes = STREAM) -> Got:
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(body))
    got = await Reader(stream).read()
    await stream.aclose()
    return got


NEAREST: dict[Behaviour, str] = {
    Refusal.CONNECT_REFUSED: "reset",
    Refusal.NAME_UNKNOWN: "reset",
    Refusal.CONNECT_HANG: "silent",
}


def raw_behaviours() -> list[Behaviour]:
    scripts = [
        replace(HELLO, headers=headers, ending=ending)
        for ending in Ending
        for headers in ((), (("content-length", "11"),), (("content-length", "99"),))
    ]
    return [*scripts, *Refusal]


@pytest.mark.parametrize("behaviour", raw_behaviours(), ids=repr)
async def test_both_players_give_the_same_bytes_and_the_same_ending(
    autojump_clock: Clock, nursery: trio.Nursery, behaviour: Behaviour
) -> None:
    in_memory = await read_behind_the_port(behaviour)
    network, _ = await playing(nursery, behaviour)
    over_bytes = await ask(network)

    if behaviour in NEAREST:
        # Over bytes the connection is already there.
        assert (in_memory.ending, over_bytes.ending) == ("refused", NEAREST[behaviour])
        return
    assert over_bytes.status == in_memory.status
    if isinstance(behaviour, Script) and behaviour.ending is Ending.EOF:
        # A body that ends with its connection cannot announce a length as well.
        assert over_bytes.body == in_memory.body == b"hello world"
        return
    assert over_bytes.body == in_memory.body
    assert over_bytes.ending == in_memory.ending


FAULTS = (
    *("status=429,retry_after=2s", "error=quota", "error=bad_gateway", "delay=5s"),
    *("slow_first_token=9s", "cut=0", "cut=1", "cut=300", "reset=0", "reset=300"),
    *("eof=0", "eof=300", "hang=0", "hang=300", "reset", "close", "silence"),
    *("error_in_200", "error_in_200=2", "role_only", "role_only=cut", "heartbeats=15s"),
    *("no_finish", "no_finish=done", "wrong_content_type", "slow_head=5s", "gap=2s"),
    *("stall=30s", "stall=30s@2", "slow=8", "slices=1", "slices=7", "unterminated"),
    *("unterminated=300", "role_only=unterminated", "filtered=2", "huge_token=300000"),
    *("wrong_length=+7", "half_open", "stale"),
    *(wrong.value for wrong in (*WrongBody, *Disorder)),
)


@pytest.mark.parametrize("text", FAULTS)
@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_every_fault_shows_the_bytes_it_promises_in_both_players(
    autojump_clock: Clock, nursery: trio.Nursery, text: str, body: bytes
) -> None:
    weather = Weather(
        faults=(parse_fault(text),), pace=Pace(tokens=5, first_token_s=1.0, gap_s=0.1)
    )
    chat = ChatRequest("/v1/chat/completions", body)
    behaviour = weather.behaviour_for(chat, seed=3, number=1)
    in_memory = await read_behind_the_port(behaviour)
    network, _ = await serving(nursery, SimulatedProvider.in_weather(weather, seed=3))
    over_bytes = await ask(network, body)

    assert over_bytes.body == in_memory.body
    assert (over_bytes.status, over_bytes.ending) == (
        in_memory.status,
        in_memory.ending,
    )
    assert in_memory.headers.items() <= over_bytes.headers.items()
    if isinstance(behaviour, Script):
        assert over_bytes.body == behaviour.body


async def test_a_cut_falls_into_the_middle_of_a_chunk(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    cut = Script(headers=(), steps=(Send(b"whole"), Send(b"half")), ending=Ending.CUT)
    network, _ = await playing(nursery, cut)
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(STREAM))
    raw = b""
    while data := await stream.receive_some():
        raw += data
    await stream.aclose()
    assert raw == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n5\r\nhalf"
    )


async def test_a_script_keeps_its_time_over_bytes(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    script = replace(HELLO, head_after_s=2.0)
    network, provider = await playing(nursery, script)
    await ask(network)
    seen = provider.seen[0]
    assert seen.head_at is not None
    assert seen.ended_at is not None
    assert seen.head_at - seen.started_at == pytest.approx(2.0)
    assert seen.ended_at - seen.started_at == pytest.approx(3.0)
    assert (seen.status, seen.bytes_sent) == (200, 11)
    assert seen.ending is RequestEnding.ANSWERED


async def test_a_connection_serves_one_request_after_the_other(
    autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:
    weather = Weather(pace=Pace(tokens=3))
    network, provider = await serving(nursery, SimulatedProvider.in_weather(weather))
    stream = await network.connect("provider", 80)
    reader = Reader(stream)
    for _ in range(3):
        await stream.send_all(a_request(STREAM))
        assert (await reader.read()).ending == "whole"
    await stream.aclose()
    assert [seen.number for seen in provider.seen] == [1, 2, 3]


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_request_may_come_in_pieces(
    autojump_clock: Clock, nursery: trio.Nursery, piece: int
) -> None:
    request = a_request(b'{"model":"m","messages":[]}')
    network, provider = await playing(nursery, HELLO)
    stream = await network.connect("provider", 80)
    for start in range(0, len(request), piece):
        await stream.send_all(request[start : start + piece])
        await trio.sleep(0.01)
    assert (await Reader(stream).read()).body == b"hello world"
    await stream.aclose()
    assert provider.seen[0].body == b'{"model":"m","messages":[]}'


SILENCES: dict[str, Behaviour] = {
    "before the head": Refusal.SILENCE,
    "in a late head": replace(HELLO, head_after_s=50.0),
    "in a pause": replace(HELLO, steps=(Send(b"x"), Pause(50.0), Send(b"y"))),
    "in a hang": replace(HELLO, ending=Ending.HANG),
    "in a full pipe": replace(HELLO, steps=(Send(b"x" * 1_000_000),)),
}


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES)
@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
async def test_a_client_that_leaves_is_noticed_at_once(
    autojump_clock: Clock, nursery: trio.Nursery, silence: Behaviour, how: str
) -> None:
    network, provider = await playing(nursery, silence)
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(STREAM))
    await trio.sleep(10)
    assert provider.in_flight == 1
    match how:
        case "close":
            await stream.aclose()
        case "reset":
            stream.reset()
        case _:
            await stream.send_eof()
    await trio.sleep(0.001)

    seen = provider.seen[0]
    assert seen.ending is RequestEnding.CLIENT_LEFT
    assert seen.ended_at == pytest.approx(seen.started_at + 10)
    assert provider.connections == 0
    await stream.aclose()


async def test_a_provider_that_is_stopped_says_so_in_its_log(
    autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:
    async with trio.open_nursery() as provider_nursery:
        network, provider = await playing(provider_nursery, Refusal.SILENCE)
        stream = await network.connect("provider", 80)
        await stream.send_all(a_request(STREAM))
        await trio.sleep(1)
        provider_nursery.cancel_scope.cancel()
    assert provider.seen[0].ending is RequestEnding.STOPPED
    await stream.aclose()


async def test_the_log_says_what_came_and_how_it_ended(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    ended: list[SeenRequest] = []
    weather = Weather(faults=(parse_fault("reset,times=1"),))
    provider = SimulatedProvider.in_weather(weather, on_request=ended.append)
    network, _ = await serving(nursery, provider)
    await ask(network)
    await ask(network)
    first, second = ended
    assert (first.number, first.method, first.path, first.has_key) == (
        *(1, "POST", "/v1/chat/completions"),
        True,
    )
    assert (first.status, first.ending) == (None, RequestEnding.FAULT)
    assert (second.status, second.ending) == (200, RequestEnding.ANSWERED)
    assert second.body == STREAM
    assert "stream" not in repr(second)
    assert list(provider.seen) == ended


async def test_a_seed_gives_the_same_bytes_again(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    async def all_bytes() -> list[Got]:
        provider = SimulatedProvider.in_weather(Weather(faults=PRESETS["flaky"].faults))
        network, _ = await serving(nursery, provider)
        return [await ask(network) for _ in range(20)]

    assert await all_bytes() == await all_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/openai/models?api-version=1", 200),
        ("POST", "/openai/deployments/d/chat/completions?api-version=1", 200),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/", 404),
    ],
)
async def test_paths_and_methods_are_answered_as_providers_do(
    autojump_clock: Clock, nursery: trio.Nursery, method: str, path: str, status: int
) -> None:
    network, provider = await playing(nursery, HELLO)
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(b"", path=path, method=method))
    got = await Reader(stream).read()
    await stream.aclose()
    assert (got.status, got.ending) == (status, "whole")
    if path.startswith("/v1/models") and status == 200:
        assert json.loads(got.body)["data"][0]["object"] == "model"
    assert provider.seen[0].number == (1 if "deployments" in path else 0)


@pytest.mark.parametrize(
    ("nonsense", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"a: " + b"x" * 100_000, 431),
        (a_request(b"x" * (33 * 1024 * 1024)), 413),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
    ],
)
async def test_bytes_that_are_no_request_are_refused_and_the_connection_closed(
    autojump_clock: Clock, nursery: trio.Nursery, nonsense: bytes, status: int
) -> None:
    network, provider = await playing(nursery, HELLO)
    stream = await network.connect("provider", 80)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, nonsense)
        got = await Reader(stream).read()
    assert (got.status, got.headers["connection"]) == (status, "close")
    assert await stream.receive_some() == b""
    await stream.aclose()
    assert not provider.seen


async def test_a_client_that_says_nothing_is_left_in_time(
    autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:
    network, provider = await playing(nursery, HELLO)
    stream = await network.connect("provider", 80)
    await stream.send_all(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert await stream.receive_some() == b""
    assert trio.current_time() == pytest.approx(connection.IDLE_S)
    await trio.testing.wait_all_tasks_blocked()
    assert provider.connections == 0
    await stream.aclose()


async def test_too_many_requests_at_once_end_the_connection(
    autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:
    network, _ = await playing(nursery, Refusal.SILENCE)
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(STREAM) * 50)
    got = await Reader(stream).read()
    await stream.aclose()
    assert got.status in (None, 400)


async def test_the_log_is_bounded(autojump_clock: Clock, nursery: trio.Nursery) -> None:
    network, provider = await playing(nursery, HELLO)
    stream = await network.connect("provider", 80)
    reader = Reader(stream)
    for _ in range(3):
        await stream.send_all(a_request(b"x" * server.BODY_KEPT_BYTES_MAX + b"x"))
        await reader.read()
    await stream.aclose()
    assert provider.seen.maxlen == server.SEEN_MAX
    assert [seen.body for seen in provider.seen] == [None] * 3


async def test_an_old_client_gets_a_body_that_ends_with_its_connection(
    autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:
    network, _ = await playing(nursery, replace(HELLO, headers=()))
    stream = await network.connect("provider", 80)
    await stream.send_all(b"POST /chat/completions HTTP/1.0\r\n\r\n")
    got = await Reader(stream).read()
    await stream.aclose()
    assert (got.body, got.ending) == (b"hello world", "whole")
    assert "transfer-encoding" not in got.headers


@pytest.mark.parametrize("body", [PLAIN, STREAM], ids=["plain", "stream"])
async def test_a_client_that_leaves_as_soon_as_it_has_all_was_answered(
    autojump_clock: Clock, nursery: trio.Nursery, body: bytes
) -> None:
    weather = Weather(pace=Pace(tokens=2))
    network, provider = await serving(nursery, SimulatedProvider.in_weather(weather))
    for _ in range(50):  # who runs first is Trio's dice
        await ask(network, body)
    await trio.testing.wait_all_tasks_blocked()
    assert {seen.ending for seen in provider.seen} == {RequestEnding.ANSWERED}
