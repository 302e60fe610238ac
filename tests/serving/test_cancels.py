"""The fast loop's offer: a departure cancels the app, which need not watch for it."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.serving.doors import Kind, dial, visit_server
from tests.serving.test_connection import read_to_end
from tests.serving.toy import Receive, Send, answer, begin, part, request, whole_body
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.head import parse_head
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper
from trio_gateway.serving.fast.wire import Owner
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server, serve_stream


class Blind:
    """An app that never watches, and notes how it ends."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def __call__(self, scope: object, receive: Receive, send: Send) -> None:
        assert isinstance(scope, dict)
        cancels = scope["extensions"]["trio_gateway.cancels"]
        await whole_body(receive)
        try:
            if scope["path"] != "/not_asked":
                cancels["on_departure"]()
            await self.serve(scope["path"], send)
            self.ends.append("served")
        except trio.Cancelled:
            self.ends.append("left" if cancels["has_left"]() else "cancelled")
            raise

    async def serve(self, path: str, send: Send) -> None:
        match path:
            case "/waits":
                await trio.sleep_forever()
            case "/streams":
                await begin(send)
                while True:
                    await part(send, b"data: x\n\n")
                    await trio.sleep(1)
            case "/floods":
                await begin(send)
                while True:
                    await part(send, b"x" * 65536)
            case "/large":
                await answer(send, bytes(50_000_000))
            case "/lingers":
                await answer(send, b"hi")
                await trio.sleep(5)
            case _:
                await trio.sleep(5)


@pytest.mark.parametrize("path", ["/waits", "/streams", "/floods"])
async def test_a_departure_cancels_the_app_at_once(
    path: str, autojump_clock: MockClock
) -> None:
    app = Blind()
    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request(path))
        with trio.move_on_after(2.5):
            while path == "/streams":
                await ours.receive_some()
            await trio.sleep_forever()
        assert not app.ends
        await ours.aclose()
    assert app.ends == ["left"]
    assert trio.current_time() == pytest.approx(2.5)


@pytest.mark.parametrize("kind", ["fast", "fast, read ahead"])
async def test_who_leaves_during_the_last_send_cancels_the_app(kind: Kind) -> None:
    app = Blind()

    async def visit(port: int) -> None:
        stream = await dial(port, receive_buffer=8192)
        await stream.send_all(request("/large"))
        assert await stream.receive_some(1)
        assert not app.ends
        await stream.aclose()

    assert await visit_server(kind, app, visit, drain_s=10) == set()
    assert app.ends == ["left"]


async def test_an_app_that_did_not_ask_is_left_alone(autojump_clock: MockClock) -> None:
    app = Blind()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/not_asked"))
        await trio.sleep(1)
        await ours.aclose()
    assert app.ends == ["served"]
    assert trio.current_time() == pytest.approx(5)


async def test_who_leaves_with_the_whole_answer_cancels_nothing(
    autojump_clock: MockClock,
) -> None:
    app = Blind()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/lingers"))
        assert (await ours.receive_some()).endswith(b"hi")
        await ours.aclose()
    assert app.ends == ["served"]
    assert trio.current_time() == pytest.approx(5)


async def test_who_stalls_is_as_good_as_gone(autojump_clock: MockClock) -> None:
    app = Blind()
    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/floods"))
        await trio.sleep(100)
        assert app.ends == ["left"]
        await ours.aclose()


async def test_the_end_of_a_drain_is_no_departure(autojump_clock: MockClock) -> None:
    app = Blind()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/waits"))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert app.ends == ["cancelled"]


async def test_a_departure_before_the_app_asks_is_told_as_it_asks(
    autojump_clock: MockClock,
) -> None:
    ends: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await trio.sleep(2)
        scope["extensions"]["trio_gateway.cancels"]["on_departure"]()
        try:
            await trio.sleep(10)
        finally:
            ends.append(f"{trio.current_time():.0f}")

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/"))
        await trio.sleep(1)
        await ours.aclose()
    assert ends == ["2"]


async def test_after_the_last_connection_nothing_of_the_server_lives(
    autojump_clock: MockClock,
) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    server = Server(Blind())
    for _ in range(2):
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_stream, theirs)
            await ours.send_all(request("/lingers", "connection: close"))
            assert (await read_to_end(ours)).endswith(b"hi")
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize(
    ("body", "ends_with", "said", "after_s"),
    [
        (b"0123", None, 408, 300),
        (b"0123", 20, None, 20),
        (b"zz\r\n", None, 400, 0),
    ],
    ids=["too slow", "left", "malformed"],
)
async def test_it_says_why_a_body_did_not_come(
    body: bytes,
    ends_with: int | None,
    said: int | None,
    after_s: float,
    autojump_clock: MockClock,
) -> None:
    heard: list[tuple[int | None, float]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await whole_body(receive)
        refused = scope["extensions"]["trio_gateway.cancels"]["refused"]()
        heard.append((refused, trio.current_time() - began))

    began = trio.current_time()
    ours, theirs = memory_stream_pair()
    framing = "content-length: 9" if said != 400 else "transfer-encoding: chunked"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/", framing) + body)
        if ends_with is not None:
            await trio.sleep(ends_with)
            await ours.aclose()
        else:
            answered = await read_to_end(ours)
            assert answered.startswith(b"HTTP/1.1 %d " % (said or 0))
            await ours.aclose()
    ((refused, at_s),) = heard
    assert refused == said
    assert at_s == pytest.approx(after_s)


async def test_headway_does_not_extend_the_limit_of_a_body(
    autojump_clock: MockClock,
) -> None:
    async def app(scope: object, receive: Receive, send: Send) -> None:
        await whole_body(receive)

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, app, theirs)
        await ours.send_all(request("/", "content-length: 1000"))
        for _ in range(29):
            await trio.sleep(10)
            await ours.send_all(b"x")
        await trio.sleep(11)
        assert (await read_to_end(ours)).startswith(b"HTTP/1.1 408 ")
        await ours.aclose()


class LastWords:
    """A wire whose client sends half a line and is gone before it is read."""

    scheme, client, server = "http", None, None

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.reads = 0

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if self.reads == 1:
            self._owner.departed()
            return b"5"
        return await trio.sleep_forever()

    def interrupt(self) -> None:
        """It holds bytes: they are given first, and that is all there is."""


async def test_who_leaves_with_half_a_line_is_noticed_at_once(
    autojump_clock: MockClock,
) -> None:
    told: list[str] = []

    async def app(scope: object, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])

    client = Client(LastWords)  # type: ignore[arg-type] # all that is asked of it
    head = parse_head(request("/", "transfer-encoding: chunked"), Limits())
    shared = Shared(app, Limits(), FailureLog(), {})
    bodies = DeadlineQueue(Sweeper(), 300.0, Exchange.give_up)
    with trio.fail_after(1):
        await Exchange(head, client, shared, bodies).run()
    assert told == ["http.disconnect"]
