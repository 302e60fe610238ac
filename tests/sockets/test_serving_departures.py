"""Clients that leave, stall, crowd or drag, over real sockets, here and there."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.serving.doors import (
    KINDS,
    OURS,
    OURS_IN_ALL_VERSIONS,
    Kind,
    ask,
    dial,
    each,
    happens,
    read,
    reset,
    visit_server,
)
from tests.serving.test_cancels import Blind
from tests.serving.toy import Receive, Send, Toy, begin, part, request
from trio_gateway.serving.limits import Limits

# Real seconds. A departure is seen within a millisecond; CI may be busy.
AT_ONCE_S = 10.0
# What the stock server has not noticed by then, it never will.
NEVER_S = 0.4

Leave = Callable[[trio.SocketStream], Awaitable[None]]


async def close(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def half_close(stream: trio.SocketStream) -> None:
    await stream.send_eof()


async def is_departure_seen(
    kind: Kind, sent: bytes, leave: Leave, *, stalls: bool = False
) -> bool:
    app = Toy()
    is_seen = False

    async def visit(port: int) -> None:
        nonlocal is_seen
        stream = await dial(port, receive_buffer=4096 if stalls else None)
        await stream.send_all(sent)
        await app.started.wait()
        await trio.sleep(0.3 if stalls else 0.02)
        assert not app.ended.is_set()
        await leave(stream)
        is_seen = await happens(
            app.ended, within_s=AT_ONCE_S if kind != "stock" else NEVER_S
        )
        await reset(stream)

    await visit_server(kind, app, visit)
    return is_seen


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize(
    "sent",
    [
        request("/wait", method="POST", body=b"{}"),
        request("/wait", "connection: close"),
        b"GET /wait HTTP/1.0\r\n\r\n",
        request("/stream"),
        request("/wait") + request("/hi"),
        request("/wait", method="POST", body=b"{}") + b"\r\n",
        request("/wait", "connection: close") + b"\r\n",
    ],
)
@pytest.mark.parametrize("kind", OURS)
async def test_every_departure_is_seen_at_once(
    sent: bytes, leave: Leave, kind: Kind
) -> None:
    assert await is_departure_seen(kind, sent, leave)


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("path", ["/wait", "/stream", "/flood"])
async def test_every_departure_in_http_2_is_seen_at_once(
    path: str, leave: Leave
) -> None:
    stalls = path == "/flood"
    sent = ask("HTTP/2", path, method="POST", body=b"{}")
    assert await is_departure_seen("HTTP/2", sent, leave, stalls=stalls)


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("path", ["/waits", "/streams", "/floods"])
@pytest.mark.parametrize("kind", ["fast", "fast, read ahead"])
async def test_an_app_that_asked_is_cancelled_by_every_departure(
    kind: Kind, path: str, leave: Leave
) -> None:
    app = Blind()

    async def visit(port: int) -> None:
        stream = await dial(port, receive_buffer=4096)
        await stream.send_all(request(path) + request("/waits"))
        await trio.sleep(0.1)
        assert not app.ends
        await leave(stream)
        with trio.move_on_after(AT_ONCE_S):
            while not app.ends:  # noqa: ASYNC110 # an event would belong to a run
                await trio.sleep(0.001)
        await stream.aclose()

    assert await visit_server(kind, app, visit) == set()
    assert app.ends == ["left"]


@pytest.mark.parametrize("leave", [close, reset, half_close])
async def test_the_stock_server_misses_one_behind_pipelined_bytes(
    leave: Leave,
) -> None:
    sent = request("/wait") + request("/hi")
    assert not await is_departure_seen("stock", sent, leave)


@each("is_seen", ours=True, stock=False, kinds=OURS_IN_ALL_VERSIONS)
async def test_the_half_close_of_a_stalled_client_is_seen(
    kind: Kind, is_seen: bool
) -> None:
    sent = ask(kind, "/flood")
    assert await is_departure_seen(kind, sent, half_close, stalls=True) is is_seen


@each("fires", ours=True, stock=False, kinds=OURS_IN_ALL_VERSIONS)
async def test_the_apps_deadline_fires_while_the_client_stalls(
    kind: Kind, fires: bool
) -> None:
    app = Toy()
    has_fired = False

    async def visit(port: int) -> None:
        nonlocal has_fired
        stream = await dial(port, receive_buffer=4096)
        await stream.send_all(ask(kind, "/deadline"))
        await app.started.wait()
        has_fired = await happens(
            app.ended, within_s=AT_ONCE_S if kind != "stock" else 0.5 + NEVER_S
        )
        if kind in OURS:  # in HTTP/2, the connection goes on
            _, end = await read(stream, within_s=AT_ONCE_S)
            assert end in {"end", "reset"}
        await reset(stream)

    await visit_server(kind, app, visit)
    assert has_fired is fires


@each("is_cut", ours=True, stock=False, kinds=OURS_IN_ALL_VERSIONS)
async def test_a_stalled_client_is_cut_at_the_stall_limit(
    kind: Kind, is_cut: bool
) -> None:
    app = Toy()
    was_cut = False

    async def visit(port: int) -> None:
        nonlocal was_cut
        stream = await dial(port, receive_buffer=4096)
        await stream.send_all(ask(kind, "/flood"))
        await app.started.wait()
        was_cut = await happens(
            app.ended, within_s=AT_ONCE_S if kind != "stock" else NEVER_S
        )
        await reset(stream)

    await visit_server(kind, app, visit, limits=Limits(stall_s=0.2))
    assert was_cut is is_cut


@each("is_bounded", ours=True, stock=False, kinds=OURS_IN_ALL_VERSIONS)
async def test_a_stalled_client_does_not_prolong_a_drain(
    kind: Kind, is_bounded: bool
) -> None:
    app = Toy()
    clients: list[trio.SocketStream] = []
    leaves_s = 8.0 if kind != "stock" else 1.0

    async def visit(port: int) -> None:
        clients.append(await dial(port, receive_buffer=4096))
        # An app that does not watch for departures: the server alone must end it.
        await clients[0].send_all(ask(kind, "/blind_flood"))
        await app.started.wait()
        await trio.sleep(0.1)

    async def client_leaves_at_last() -> None:
        await trio.sleep(leaves_s)
        await reset(clients[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client_leaves_at_last)
        began_at = trio.current_time()
        await visit_server(kind, app, visit)
        took_s = trio.current_time() - began_at
        nursery.cancel_scope.cancel()
    await clients[0].aclose()
    assert (took_s < leaves_s) is is_bounded


@each("is_closed", ours=True, stock=False)
async def test_dragged_headers_are_cut_before_the_idle_limit(
    kind: Kind, is_closed: bool
) -> None:
    end = ""

    async def visit(port: int) -> None:
        nonlocal end
        stream = await dial(port)
        await stream.send_all(b"GET /hi HTTP/1.1\r\n")
        got, end = await read(stream, within_s=AT_ONCE_S if is_closed else NEVER_S)
        assert got.startswith(b"HTTP/1.1 408" if is_closed else b"")
        await stream.aclose()

    await visit_server(kind, Toy(), visit, limits=Limits(head_s=0.2))
    assert (end == "end") is is_closed


@each("status", ours=b"503", stock=b"")
async def test_one_client_too_many_is_told_so(kind: Kind, status: bytes) -> None:
    """The stock server has no limit: it takes whoever comes until it breaks."""
    got = b""

    async def visit(port: int) -> None:
        nonlocal got
        busy = [await dial(port) for _ in range(3)]
        for stream in busy:
            await stream.send_all(request("/wait"))
        await trio.sleep(0.1)
        extra = await dial(port)
        await extra.send_all(request("/wait"))
        got, _ = await read(extra, within_s=AT_ONCE_S if status else NEVER_S)
        for stream in (*busy, extra):
            await stream.aclose()

    await visit_server(kind, Toy(), visit, limits=Limits(connections_max=3))
    assert got[9:12] == status


@pytest.mark.parametrize("kind", [*KINDS, "HTTP/2"])
async def test_a_drain_waits_for_a_framework_only_here(kind: Kind) -> None:
    """Stock, an app that cancels itself leaves its idle connection to the deadline."""
    end = ""
    stream: trio.SocketStream | None = None

    async def visit(port: int) -> None:
        nonlocal stream
        stream = await dial(port)
        await stream.send_all(ask(kind, "/framework"))
        await read(stream, within_s=0.1)

    began_at = trio.current_time()
    drain_s = 5 if kind != "stock" else 1
    await visit_server(kind, Toy(), visit, drain_s=drain_s)
    took_s = trio.current_time() - began_at
    assert stream is not None
    _, end = await read(stream, within_s=1)
    await stream.aclose()
    assert end == "end"
    assert (took_s < drain_s) is (kind != "stock")


@pytest.mark.parametrize("kind", OURS)
async def test_a_client_that_reads_slowly_is_not_stalled(kind: Kind) -> None:
    is_served = False

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal is_served
        await begin(send)
        await part(send, b"x" * 30_000_000)
        is_served = True

    async def visit(port: int) -> None:
        stream = await dial(port, receive_buffer=4096)
        await stream.send_all(request("/"))
        for _ in range(10):
            await trio.sleep(0.3)
            for _ in range(100):
                assert await stream.receive_some(4096)
        assert not is_served
        await reset(stream)

    assert await visit_server(kind, app, visit, limits=Limits(stall_s=1.5)) == set()


@pytest.mark.parametrize("kind", OURS)
async def test_nothing_follows_what_was_torn(kind: Kind) -> None:
    got, end = b"", ""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await begin(send)
        with trio.move_on_after(0.2):
            await part(send, b"x" * 10_000_000)
        await part(send, b"resumed", more=False)

    async def visit(port: int) -> None:
        nonlocal got, end
        stream = await dial(port, receive_buffer=4096)
        await stream.send_all(request("/"))
        await trio.sleep(0.4)
        got, end = await read(stream, within_s=AT_ONCE_S)
        await stream.aclose()

    await visit_server(kind, app, visit)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"resumed" not in got
    assert end in {"end", "reset"}


@pytest.mark.parametrize("kind", OURS_IN_ALL_VERSIONS)
async def test_an_app_that_never_waits_lets_others_run_and_can_be_cancelled(
    kind: Kind,
) -> None:
    turns, is_cancelled = 0, False

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal turns, is_cancelled
        if scope["type"] != "http":
            return
        async with trio.open_nursery() as nursery:
            await begin(send)
            nursery.start_soon(count_turns)
            turns = 0
            for _ in range(100):
                await part(send, b"x")
            with trio.CancelScope() as scope:
                scope.cancel()
                await part(send, b"x")
            is_cancelled = scope.cancelled_caught
            nursery.cancel_scope.cancel()

    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            await stream.send_all(ask(kind, "/"))
            await read(stream, within_s=AT_ONCE_S if kind in OURS else 1)

    assert await visit_server(kind, app, visit) == set()
    assert turns >= 5
    assert is_cancelled


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(
    "head",
    [
        request("/early", "content-length: 9000000", method="POST"),
        request("/early", "content-length: 9000000", "connection: close"),
        request("/slow", "connection: close"),
    ],
)
async def test_an_answer_reaches_a_client_that_goes_on_sending(
    head: bytes, kind: Kind
) -> None:
    got, end = b"", ""

    async def visit(port: int) -> None:
        nonlocal got, end
        stream = await dial(port)
        await stream.send_all(head)
        await trio.sleep(0.005)
        for _ in range(20):
            await stream.send_all(b"x" * 1000)
            await trio.sleep(0.01)
        got, end = await read(stream, within_s=AT_ONCE_S)
        await stream.aclose()

    assert await visit_server(kind, Toy(), visit) == set()
    assert got.startswith(b"HTTP/1.1 ")
    assert end == "end"


@pytest.mark.parametrize("size", [600_000, 30_000_000])
@pytest.mark.parametrize("kind", OURS)
async def test_an_early_answer_reaches_a_client_that_is_still_sending(
    kind: Kind, size: int
) -> None:
    end, got = "", b""

    async def visit(port: int) -> None:
        nonlocal end, got
        stream = await dial(port)
        body = b"x" * size
        await stream.send_all(request("/early", method="POST", body=body))
        await trio.sleep(0.1)
        got, end = await read(stream, within_s=AT_ONCE_S)
        await stream.aclose()

    assert await visit_server(kind, Toy(), visit) == set()
    assert got.startswith(b"HTTP/1.1 413")
    assert end == "end"  # and not a reset, which may destroy the answer
