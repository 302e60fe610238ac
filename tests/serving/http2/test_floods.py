"""Clients that would have us work or remember without end, in virtual time."""

import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import h2.errors
import pytest
import trio
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from trio.testing import MockClock

from tests.serving.http2.client import GET, Client
from tests.serving.http2.visits import visit
from tests.serving.toy import Receive, Send, Toy, begin, part
from trio_gateway.serving.http2.calm import BURST, FUTILE_COST, REFILL_PER_S, Calm
from trio_gateway.serving.http2.frames import STREAMS_MAX, Frames
from trio_gateway.serving.limits import Limits

# More of anything than any honest client sends.
MANY = 20_000

CALM = ErrorCodes.ENHANCE_YOUR_CALM


def a_ping() -> Frame:
    return PingFrame(0, b"12345678")


def settings(**values: int) -> Frame:
    return SettingsFrame(0, {4: 65535, **{int(k[1:]): v for k, v in values.items()}})


def priority() -> Frame:
    frame = PriorityFrame(7)
    frame.depends_on = 0
    return frame


FLOODS: dict[str, Callable[[], Frame]] = {
    "pings": a_ping,
    "settings": settings,
    "priorities": priority,
    "windows": lambda: WindowUpdateFrame(0, 1),
    "windows of a stream": lambda: WindowUpdateFrame(1, 1),
    "resets of nothing": lambda: RstStreamFrame(1001),
    "empty data": lambda: DataFrame(1),
    "frames that nobody knows": lambda: ExtensionFrame(type=0x77, stream_id=0),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_connection(
    name: str, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        await client.ask("/wait", is_whole=False)
        await app.started.wait()
        await send_until_refused(client, FLOODS[name])
        assert client.goaways[-1][0] == CALM

    await visit(app, story)
    assert app.ended.is_set()
    assert trio.current_time() < 5


async def send_until_refused(client: Client, frame: Callable[[], Frame]) -> None:
    for _ in range(0, MANY, 100):
        with suppress(trio.BrokenResourceError):
            await client.send(*(frame() for _ in range(100)))
        await client.receive_what_is_there()
        if client.has_ended:
            return
    raise AssertionError("the flood is let pass")


async def test_so_much_is_let_pass_again_and_again(autojump_clock: MockClock) -> None:
    """What an honest client may do each minute, and a little more."""

    async def story(client: Client) -> None:
        for _ in range(10):
            await client.send(*(a_ping() for _ in range(50)))
            await client.send(*(priority() for _ in range(50)))
            for _ in range(40):
                await client.leave(await client.ask("/wait"))
            assert (await client.get("/hi")).is_whole
            await trio.sleep(60)

    await visit(Toy(), story)


async def test_a_client_may_open_two_windows_for_each_frame_of_an_answer(
    autojump_clock: MockClock,
) -> None:
    class Long(Toy):
        async def at_long(self, receive: Receive, send: Send) -> None:
            await begin(send)
            for _ in range(5000):
                await part(send, b"data: x\n\n")
            await part(send, b"", more=False)

    async def story(client: Client) -> None:
        number = await client.ask("/long")
        got = client.answers[number]
        opened = 0
        while not got.is_over:
            await client.receive()
            while opened * 9 < len(got.body) < 45_000:
                opened += 1
                await client.open(number, 9)
        assert len(got.body) == 45_000

    await visit(Long(), story, reads=False)


# Requests that come to nothing.


@pytest.mark.parametrize("pause", [True, False])
async def test_a_rapid_reset_ends_its_connection(
    pause: bool, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        for number in range(1, 2001, 2):
            client.h2.send_headers(number, GET, end_stream=True)
            if pause:
                await client.flush()
                await trio.testing.wait_all_tasks_blocked()
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
            await client.flush()
            if number % 100 == 1:
                await client.receive_what_is_there()
            if client.has_ended:
                break
        assert client.goaways[-1][0] == CALM

    app.ways["hi"] = app.at_wait
    await visit(app, story)
    assert bool(app.seen) is pause  # nothing was begun for what was left with it
    assert app.seen.count("GET /hi") <= BURST / FUTILE_COST


async def test_requests_that_make_us_reset_them_end_their_connection(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        for _ in range(1000):
            number = await client.ask("/wait", is_whole=False)
            await client.send(WindowUpdateFrame(number, 2**31 - 1))  # beyond its size
            await client.receive_what_is_there()
            if client.has_ended:
                break
        assert client.goaways[-1][0] == CALM

    await visit(app, story)
    assert app.seen.count("GET /wait") <= BURST / FUTILE_COST


# Heads without end.


def head_of(block: bytes, *, pieces: int = 1, ends: bool = True) -> list[Frame]:
    size = -(-len(block) // pieces) or 1
    parts = [block[n * size : (n + 1) * size] for n in range(pieces)]
    first = HeadersFrame(1, parts[0])
    first.flags.add("END_STREAM")
    frames: list[Frame] = [first, *(ContinuationFrame(1, part) for part in parts[1:])]
    if ends:
        frames[-1].flags.add("END_HEADERS")
    return frames


async def test_a_head_in_many_pieces_is_one(autojump_clock: MockClock) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        fields = [*GET, ("x", "y" * 50_000)]
        await client.send(*head_of(client.h2.encoder.encode(fields), pieces=50))
        await app.ended.wait()

    await visit(app, story)
    assert app.seen == ["GET /hi"]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (head_of(b"", pieces=200, ends=False), ErrorCodes.PROTOCOL_ERROR),
        (head_of(b"x" * 900_000, pieces=60, ends=False), CALM),
        (head_of(Encoder().encode([*GET, ("x", "y" * 4000)]) + b"\xbe" * 5000), CALM),
        (head_of(b"\xff\xff\xff\xff\xff\xff\xff"), ErrorCodes.PROTOCOL_ERROR),
    ],
    ids=["empty pieces", "large pieces", "one that unpacks to much", "nonsense"],
)
async def test_a_head_without_end_ends_its_connection(
    frames: list[Frame], code: ErrorCodes, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        for frame in frames:
            try:
                await client.send(frame)
            except trio.BrokenResourceError:
                break
        await client.to_the_end()
        assert client.goaways[-1][0] == code

    app = Toy()
    await visit(app, story)
    assert app.seen == []


# What is remembered.


def begun() -> Frames:
    frames = Frames(Limits())
    frames.begin()
    frames.data_to_send()
    client = h2.connection.H2Connection()
    client.initiate_connection()
    frames.receive_data(client.data_to_send())
    return frames


async def test_settings_that_nobody_knows_are_forgotten() -> None:
    frames = begun()
    tracemalloc.start()
    for first in range(10, 65536, 2000):
        codes = range(first, min(first + 2000, 65536))
        body = b"".join(struct.pack(">HL", code, 1) for code in codes)
        frames.receive_data(struct.pack(">LBL", len(body) << 8 | 4, 0, 0) + body)
        frames.data_to_send()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200_000  # h2 alone holds more than 50 MB


async def test_the_clients_table_for_our_fields_stays_small() -> None:
    frames = begun()
    frames.receive_data(SettingsFrame(0, {1: 2**31}).serialize())
    assert frames.encoder.header_table_size == 4096
    frames.receive_data(SettingsFrame(0, {1: 100}).serialize())
    assert frames.encoder.header_table_size == 100


async def test_of_streams_that_have_ended_few_are_remembered() -> None:
    frames = begun()
    encoder = Encoder()
    for number in range(1, 4001, 2):
        head = HeadersFrame(number, encoder.encode(GET))
        head.flags |= {"END_STREAM", "END_HEADERS"}
        frames.receive_data(head.serialize())
        frames.send_headers(number, [(b":status", b"200")], end_stream=True)
        frames.data_to_send()
    assert len(frames.streams) + len(frames._closed_streams) < 600


async def test_a_client_that_asks_for_more_words_than_it_takes_is_closed(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        client.h2.initiate_connection()
        client.h2.send_headers(1, GET, end_stream=True)
        await client.flush()
        await app.started.wait()
        await client.send(RstStreamFrame(1))
        with suppress(trio.BrokenResourceError):
            for _ in range(MANY // 100):
                await client.send(*(DataFrame(1, b"x") for _ in range(100)))
            raise AssertionError("all of it was taken")

    app.ways["hi"] = app.at_wait
    await visit(app, story, lockstep=True, limits=Limits(ahead_bytes_max=100_000))
    assert trio.current_time() < Limits().stall_s


# The allowance.


def test_an_allowance_is_used_up_and_refilled_by_time() -> None:
    calm = Calm(0.0)
    for _ in range(int(BURST)):
        calm.spend(1, 0.0)
    with pytest.raises(DenialOfServiceError):
        calm.spend(1, 0.0)
    calm = Calm(0.0)
    calm.spend(BURST, 0.0)
    calm.spend(REFILL_PER_S, 1.0)
    with pytest.raises(DenialOfServiceError):
        calm.spend(1, 1.0)


def test_time_saves_no_more_than_a_burst_and_answers_do() -> None:
    calm = Calm(0.0)
    calm.earn(500)
    calm.spend(BURST + 500, 1e6)
    with pytest.raises(DenialOfServiceError):
        calm.spend(1, 1e6)


def test_all_streams_of_a_client_may_be_left_at_once() -> None:
    Calm(0.0).spend((1 + FUTILE_COST) * STREAMS_MAX, 0.0)
