"""Faults of connections: what a byte stream shows of them, and no answer does."""

import json

import pytest
import trio
import trio.testing

from tests.chaos.client import Reader, a_request
from tests.chaos.test_server import PLAIN, STREAM, serving
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider.connection import IDLE_S
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.provider.server import House, Room, SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Pace
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Script
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.chaos.worlds.world import Capacity

Clock = trio.testing.MockClock

PACE = Pace(tokens=3)


async def a_provider(
    nursery: trio.Nursery,
    *texts: str,
    pace: Pace = PACE,
    house: House | None = None,
) -> tuple[MemoryNetwork, SimulatedProvider]:
    weather = Weather(faults=tuple(map(parse_fault, texts)), pace=pace)
    return await serving(nursery, SimulatedProvider.in_weather(weather, house=house))


def usual(body: bytes, number: int = 1) -> bytes:
    chat = ChatRequest("/v1/chat/completions", body)
    script = Weather(pace=PACE).behaviour_for(chat, seed=0, number=number)
    assert isinstance(script, Script)
    return script.body


async def raw(network: MemoryNetwork, body: bytes) -> tuple[bytes, str]:
    """Everything that comes, and how it ends: closed, reset or silent."""
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(body))
    got, ending = b"", "silent"
    with trio.move_on_after(1000):
        try:
            while data := await stream.receive_some():
                got += data
            ending = "closed"
        except trio.BrokenResourceError:
            ending = "reset"
    await stream.aclose()
    return got, ending


def chunks(raw_body: bytes) -> tuple[bytes, bytes]:
    """Undo chunks; say what is left after the last whole one."""
    body = b""
    while raw_body:
        size, _, rest = raw_body.partition(b"\r\n")
        length = int(size, 16)
        if len(rest) < length + 2:
            return body, raw_body
        body, raw_body = body + rest[:length], rest[length + 2 :]
    return body, b""


@pytest.mark.parametrize("status", [100, 102, 103])
async def test_interim_heads_come_before_the_head(
    autojump_clock: Clock, nursery: trio.Nursery, status: int
) -> None:
    network, _ = await a_provider(nursery, f"interim={status},delay=2s")
    got, _ = await raw(network, PLAIN)
    interim, head, body = got.split(b"\r\n\r\n", 2)
    assert interim.startswith(b"HTTP/1.1 %d " % status)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == usual(PLAIN)


async def test_a_slow_head_comes_byte_by_byte(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await a_provider(nursery, "delay=10s,slow_head=20s")
    stream = await network.connect("provider", 80)
    await stream.send_all(a_request(PLAIN))
    arrivals: list[float] = []
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await stream.receive_some(1)
        head += piece
        arrivals.append(trio.current_time())
    await stream.aclose()
    assert arrivals[0] == pytest.approx(10.0)
    assert arrivals[-1] == pytest.approx(30.0)
    assert len(set(arrivals)) == len(head)


async def test_an_unterminated_body_has_whole_chunks_and_no_last_one(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, provider = await a_provider(nursery, "unterminated")
    got, ending = await raw(network, STREAM)
    body, left = chunks(got.partition(b"\r\n\r\n")[2])
    assert (body, left, ending) == (usual(STREAM), b"", "closed")
    assert not got.endswith(b"0\r\n\r\n")
    assert provider.seen[0].ending is RequestEnding.FAULT


@pytest.mark.parametrize("body", [STREAM, PLAIN], ids=["stream", "plain"])
@pytest.mark.parametrize("by", [-5, -1, 1, 100])
async def test_a_wrong_length_is_wrong_by_as_much_as_was_asked_for(
    autojump_clock: Clock, nursery: trio.Nursery, body: bytes, by: int
) -> None:
    network, provider = await a_provider(nursery, f"wrong_length={by:+}")
    got, _ = await raw(network, body)
    head, _, sent = got.partition(b"\r\n\r\n")
    assert b"content-length: %d" % (len(usual(body)) + by) in head
    assert head.count(b"content-length") == 1
    assert b"chunked" not in head
    assert sent == usual(body)
    # A body that is too short is the connection's end; after one that is too long, the
    # next request could come.
    assert trio.current_time() == pytest.approx(0 if by > 0 else IDLE_S, abs=0.01)
    assert provider.seen[0].ending is RequestEnding.FAULT


@pytest.mark.parametrize(("text", "stray"), [("stray=5", b"xxxxx"), ("stray", None)])
async def test_stray_bytes_follow_an_answer_that_is_complete(
    autojump_clock: Clock, nursery: trio.Nursery, text: str, stray: bytes | None
) -> None:
    network, _ = await a_provider(nursery, text)
    got, _ = await raw(network, PLAIN)
    _, _, sent = got.partition(b"\r\n\r\n")
    assert sent.startswith(usual(PLAIN))
    follows = sent.removeprefix(usual(PLAIN))
    assert follows == stray if stray else follows.startswith(b"HTTP/1.1 200")


async def test_a_stale_connection_closes_without_having_said_so(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, _ = await a_provider(nursery, "stale")
    got, ending = await raw(network, PLAIN)
    assert got.endswith(usual(PLAIN))
    assert ending == "closed"
    assert b"connection: close" not in got


async def test_a_half_open_connection_answers_once_and_never_again(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    network, provider = await a_provider(nursery, "half_open")
    stream = await network.connect("provider", 80)
    reader = Reader(stream)
    await stream.send_all(a_request(PLAIN))
    assert (await reader.read()).ending == "whole"
    await stream.send_all(a_request(PLAIN))
    assert (await reader.read()).ending == "silent"
    assert len(provider.seen) == 1
    await stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert provider.connections == 0


async def test_slots_keep_requests_waiting_and_a_full_line_refuses(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    house = House(room=Room(Capacity(slots=1, line_max=1)))
    network, provider = await a_provider(
        nursery, pace=Pace(tokens=3, gap_s=1.0), house=house
    )
    got: list[tuple[float, bytes]] = []

    async def ask() -> None:
        stream = await network.connect("provider", 80)
        await stream.send_all(a_request(PLAIN))
        answer = await Reader(stream).read()
        got.append((trio.current_time(), answer.body))
        await stream.aclose()

    async with trio.open_nursery() as clients:
        for _ in range(3):
            clients.start_soon(ask)
            await trio.sleep(0.1)
    assert [at for at, _ in got] == [pytest.approx(at) for at in (0.2, 2.0, 4.0)]
    assert json.loads(got[0][1])["error"]["code"] == "server_is_overloaded"
    assert [seen.status for seen in provider.seen] == [200, 200, 503]


async def test_a_client_that_leaves_the_line_is_seen_to_leave(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    house = House(rooms={"m": Room(Capacity(slots=1))})
    network, provider = await a_provider(
        nursery, pace=Pace(tokens=3, gap_s=10.0), house=house
    )
    streams = []
    for _ in range(2):
        stream = await network.connect("provider", 80)
        await stream.send_all(a_request(STREAM))
        streams.append(stream)
    await trio.sleep(1.0)
    await streams[1].aclose()
    await trio.sleep(0.1)
    assert provider.seen[1].ending is RequestEnding.CLIENT_LEFT
    assert provider.in_flight == 1
    await streams[0].aclose()
