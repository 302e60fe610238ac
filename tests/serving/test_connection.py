"""One connection over memory, in virtual time."""

import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.serving.toy import Receive, Send, Toy, begin, part, request
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server, ServerKind, serve_stream

# Virtual seconds, longer than any test's story.
HANGS_S = 5000

Visit = Callable[[trio.abc.HalfCloseableStream], Awaitable[None]]


async def visit(
    kind: ServerKind,
    app: Toy,
    client: Visit,
    *,
    limits: Limits | None = None,
    lockstep: bool = False,
) -> None:
    pair = lockstep_stream_pair if lockstep else memory_stream_pair
    ours, theirs = pair()
    with trio.fail_after(HANGS_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_stream, app, theirs, limits, kind=kind))
            await client(ours)
            await ours.aclose()


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([data async for data in stream])


async def exchange(
    kind: ServerKind, app: Toy, sent: bytes, *, limits: Limits | None = None
) -> bytes:
    """What a client receives that sends this and then waits for the end."""
    received = b""

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        nonlocal received
        await stream.send_all(sent)
        received = await read_to_end(stream)

    await visit(kind, app, client, limits=limits)
    return received


CLOSE = "connection: close"


async def test_a_request_is_answered_without_the_servers_name(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    got = await exchange(kind, Toy(), request("/hi", CLOSE))
    assert got.startswith(b"HTTP/1.1 200 \r\n")
    assert got.endswith(b"\r\n\r\nhi")
    assert b"\r\ndate: " in got
    assert b"server:" not in got


async def test_without_a_date_an_answer_does_not_depend_on_the_clock(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    got = await exchange(
        kind, Toy(), request("/hi", CLOSE), limits=Limits(sends_date=False)
    )
    assert b"date" not in got


async def test_pipelined_requests_are_answered_in_order(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    got = await exchange(
        kind, app, request("/slow") + request("/hi") + request("/", CLOSE)
    )
    assert got.count(b"HTTP/1.1 200") == 3
    assert got.index(b"slow") < got.index(b"hi") < got.index(b"root")


async def test_http_1_0_gets_an_unchunked_body_and_the_end(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    got = await exchange(kind, Toy(), b"GET /three HTTP/1.0\r\n\r\n")
    assert b"chunked" not in got
    assert got.endswith(b"\r\n\r\nxxx")


async def test_head_has_the_length_and_no_body(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/hi", CLOSE, method="HEAD"))
    assert b"content-length: 2\r\n" in got
    assert got.endswith(b"\r\n\r\n")


async def test_options_of_the_whole_server_reaches_the_app(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    got = await exchange(kind, app, request("*", CLOSE, method="OPTIONS"))
    assert got.startswith(b"HTTP/1.1 200")
    assert app.seen == ["OPTIONS *"]


async def test_an_unfinished_answer_ends_without_its_last_chunk(
    caplog: pytest.LogCaptureFixture, kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/cut"))
    assert got.endswith(b"4\r\nhalf\r\n")
    assert not caplog.records


async def test_a_bug_after_the_start_is_cut_too_and_logged_without_its_text(
    caplog: pytest.LogCaptureFixture, kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/late_bug"))
    assert got.endswith(b"4\r\nhalf\r\n")
    (record,) = caplog.records
    assert "app_failed error=KeyError at=" in record.getMessage()
    assert "secret" not in caplog.text


async def test_a_bug_before_the_start_is_a_500(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/bug"))
    assert got.startswith(b"HTTP/1.1 500")


async def test_failures_are_logged_only_so_many_times(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    server = Server(Toy())
    for _ in range(50):
        server.failures.note("x", ValueError())
    assert len(caplog.records) == 10
    await trio.sleep(61)
    server.failures.note("x", ValueError())
    assert caplog.records[-1].levelno == logging.ERROR
    assert "dropped=40" in caplog.records[-1].getMessage()


# Limits of time.


async def test_a_slow_head_is_refused_after_its_limit(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await trio.sleep(60)
        for byte in b"GET /hi HT":
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.9)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 408")

    await visit(kind, Toy(), client)
    # 60 s of silence, then 10 s since the first byte.
    assert trio.current_time() == pytest.approx(70)


async def test_an_idle_connection_is_closed_after_its_limit_without_a_word(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/framework"))
        assert (await read_to_end(stream)).endswith(b"hi")

    await visit(kind, app, client)
    assert trio.current_time() == pytest.approx(75)


async def test_a_long_answer_is_no_idleness(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/wait"))
        await trio.sleep(1000)
        assert app.seen == ["GET /wait"]

    await visit(kind, app, client)
    assert app.seen == ["GET /wait", "disconnect"]


async def test_a_stalled_client_is_cut_at_the_stall_limit(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/flood"))
        await app.ended.wait()

    await visit(kind, app, client, lockstep=True)
    assert "disconnect" in app.seen
    assert trio.current_time() == pytest.approx(30)


async def test_a_slow_client_with_headway_is_not_stalled(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/flood"))
        for _ in range(20):
            await trio.sleep(20)
            assert await stream.receive_some(16 * 1024)
        assert not app.ended.is_set()

    await visit(kind, app, client, lockstep=True)


async def test_the_apps_own_deadline_ends_a_blocked_send_at_once(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/deadline"))
        while b"\r\n\r\n" not in await stream.receive_some():
            pass
        await app.ended.wait()
        assert trio.current_time() == pytest.approx(0.5)
        assert b"x" * 65536 not in await read_to_end(stream)

    await visit(kind, app, client, lockstep=True)
    assert app.seen[-1] == "deadline"


async def test_after_a_cancelled_send_nothing_more_is_sent(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def at_resume(receive: Receive, send: Send) -> None:
        await begin(send)
        await part(send, b"first")
        with trio.move_on_after(1):
            await part(send, b"a" * 99)
        await part(send, b"resumed", more=False)

    app.ways["resume"] = at_resume

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/resume"))
        while b"first" not in await stream.receive_some():
            pass
        await trio.sleep(2)
        assert b"resumed" not in await read_to_end(stream)

    await visit(kind, app, client, lockstep=True)


# Departures.


@pytest.mark.parametrize("extra", [b"", b"\r\n", request("/hi"), b"\r\n" * 1000])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0", "HTTP/1.1\r\n" + CLOSE])
async def test_a_half_close_is_seen_at_once_behind_any_bytes(
    version: str, extra: bytes, kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(
            f"GET /wait {version}\r\nhost: x\r\n\r\n".encode() + extra
        )
        await trio.sleep(5)
        await stream.send_eof()
        assert await read_to_end(stream) == b""

    await visit(kind, app, client)
    assert app.seen == ["GET /wait", "disconnect"]
    assert trio.current_time() == pytest.approx(5)


async def test_a_departure_overtakes_a_body_that_was_not_read(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    body = b"x" * 1_000_000

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/wait", method="POST", body=body)[:-1])
        await app.started.wait()
        await trio.testing.wait_all_tasks_blocked()

    await visit(kind, app, client)
    assert app.seen == ["POST /wait", "disconnect"]


@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_client_that_pipelines_without_end_is_dropped(
    body: bytes,
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/wait", body=body))
        await stream.send_all(request("/hi") * 20_000)
        assert await read_to_end(stream) == b""

    await visit(kind, app, client)
    assert app.seen == ["GET /wait", "disconnect"]


async def test_an_app_that_takes_a_large_body_gets_all_of_it(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    body = b"x" * 3_000_000
    got = await exchange(kind, Toy(), request("/echo", CLOSE, method="POST", body=body))
    assert got.endswith(b"\r\n\r\n3000000")


# What is refused.


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /w\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 505),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\nabc", 501),
        (request("/echo", "content-length: 5", "transfer-encoding: chunked"), 400),
        (request("/echo", "content-length: 5", "content-length: 6"), 400),
        (request("/echo", "transfer-encoding: gzip, chunked"), 501),
        (request("/hi", "x: a\r\n folded"), 400),
        (request("/hi", "x: a\nb: c"), 400),
        (request("/hi", "x : a"), 400),
        (request("/hi", "x: a\x00b"), 400),
        (request("/hi", "x: a\rb"), 400),
        (request("/hi").replace(b"\r\n", b"\n"), 400),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (request("/hi", *(f"x{n}: y" for n in range(200))), 431),
        (request("/hi", "x: " + "y" * 65536), 431),
        (request("/" + "y" * 65536), 431),
        (b"GET /" + b"y" * 200_000, 431),
    ],
)
async def test_what_a_gateway_must_not_accept_is_refused_and_closed(
    sent: bytes, status: int, kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()
    got = await exchange(kind, app, sent)
    assert got.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in got.lower()
    assert b'{"error":{"code":"' in got
    assert len(re.findall(rb"\r\nx-request-id: [0-9a-f-]{36}\r\n", got)) == 1
    assert b"\r\nx-gateway-target: none\r\nx-gateway-attempts: 0\r\n" in got
    assert got.count(b"HTTP/1.1") == 1
    assert app.seen == []


@pytest.mark.parametrize("fields", [("x: " + "y" * 60_000,), ("x: y",) * 120])
async def test_a_large_head_within_the_limits_passes(
    fields: tuple[str, ...], kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/hi", CLOSE, *fields))
    assert got.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "fields",
    [
        ("upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AA"),
        (
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ],
)
async def test_an_offered_upgrade_is_ignored(
    fields: tuple[str, ...], kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/hi", *fields) + request("/", CLOSE))
    assert got.startswith(b"HTTP/1.1 200")
    assert got.endswith(b"root")


async def test_a_stray_line_break_between_requests_is_ignored(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    got = await exchange(
        kind,
        Toy(),
        request("/echo", method="POST", body=b"12")
        + b"\r\n\r\n"
        + request("/hi", CLOSE),
    )
    assert got.count(b"HTTP/1.1 200") == 2


async def test_a_broken_chunk_is_a_400_and_the_apps_disconnect(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    got = await exchange(
        kind, app, request("/wait", "transfer-encoding: chunked") + b"zz\r\n"
    )
    assert got.startswith(b"HTTP/1.1 400")
    assert app.seen[-1] == "disconnect"


# Bodies.


async def test_a_body_is_asked_for_only_when_the_app_wants_it(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    head = request(
        "/echo", "expect: 100-continue", "content-length: 2", CLOSE, method="POST"
    )

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(head)
        assert await stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        await stream.send_all(b"12")
        assert (await read_to_end(stream)).endswith(b"\r\n\r\n2")

    await visit(kind, Toy(), client)


async def test_an_early_answer_comes_without_100_and_closes(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    head = request("/early", "expect: 100-continue", "content-length: 2", method="POST")
    got = await exchange(kind, Toy(), head)
    assert got.startswith(b"HTTP/1.1 413")


async def test_a_body_that_the_app_left_unread_is_never_taken_for_a_request(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    smuggled = request("/hi") * 3000
    got = await exchange(
        kind, app, request("/early", method="POST", body=b"x" * 9 + smuggled)
    )
    assert got.startswith(b"HTTP/1.1 413")
    assert app.seen == ["POST /early"]


async def test_a_small_body_that_the_app_left_unread_is_skipped(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        words = request("/early", method="POST", body=b"x" * 1000)
        await stream.send_all(words[:-10])
        got = await stream.receive_some()
        assert got.startswith(b"HTTP/1.1 413")
        if kind == "hypercorn":  # closes, and says so: another request would be lost
            assert b"\r\nconnection: close\r\n" in got.lower()
            return
        assert b"connection: close" not in got
        await stream.send_all(words[-10:] + request("/hi", CLOSE))
        assert (await read_to_end(stream)).endswith(b"hi")

    await visit(kind, app, client)


async def test_an_early_answer_waits_for_one_who_reads_only_after_sending_all(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    head = request("/early", "content-length: 6553600", method="POST")

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(head)
        for _ in range(100):
            await trio.sleep(0.1)  # which is slower than any patience with one read
            await stream.send_all(b"x" * 65536)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 413")

    await visit(kind, Toy(), client)


async def test_a_body_that_the_app_left_unread_is_not_waited_for_long(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/early", method="POST", body=b"xx")[:-1])
        got = await read_to_end(stream)
        assert got.startswith(b"HTTP/1.1 413")
        assert got.count(b"HTTP/1.1") == 1

    await visit(kind, Toy(), client)
    assert trio.current_time() <= Limits().head_s + 3


async def test_an_app_that_says_nothing_is_a_500_without_a_body_for_head(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    got = await exchange(kind, Toy(), request("/bug", method="HEAD"))
    assert got.startswith(b"HTTP/1.1 500")
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("words", ["3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "0\r\n\r\n"])
async def test_chunked_requests_may_be_pipelined(
    words: str, kind: ServerKind, autojump_clock: MockClock
) -> None:
    one = request("/echo", "transfer-encoding: chunked", method="POST") + words.encode()
    got = await exchange(kind, Toy(), one * 3 + request("/hi", CLOSE))
    assert got.count(b"\r\n\r\n5" if "abc" in words else b"\r\n\r\n0") == 3
    assert got.endswith(b"hi")


async def test_requests_may_be_cut_anywhere(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    words = request("/echo", method="POST", body=b"12345") + request("/hi", CLOSE)
    for cut in range(1, len(words)):

        async def client(stream: trio.abc.HalfCloseableStream, cut: int = cut) -> None:
            await stream.send_all(words[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(words[cut:])
            got = await read_to_end(stream)
            assert b"\r\n\r\n5HTTP/1.1 200" in got
            assert got.endswith(b"hi")

        await visit(kind, Toy(), client)


async def test_after_its_answer_an_app_receives_the_end(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/afterwards"))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        await app.ended.wait()
        assert trio.current_time() == 0

    await visit(kind, app, client)
    assert app.seen == ["GET /afterwards", "http.disconnect"]


async def test_100_is_not_said_in_the_middle_of_an_answer(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    length = "content-length: 1"
    head = request("/talks_first", "expect: 100-continue", length, CLOSE)

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(head)
        await trio.sleep(1)
        await stream.send_all(b"b")
        assert b"HTTP/1.1 100" not in await read_to_end(stream)

    await visit(kind, Toy(), client)


async def test_a_body_that_is_too_long_to_skip_ends_the_connection_with_notice(
    autojump_clock: MockClock,
) -> None:
    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/early", "content-length: 9000000"))
        assert b"\r\nconnection: close\r\n" in await read_to_end(stream)

    await visit("fast", Toy(), client)


async def test_a_body_without_end_is_not_skipped_for_long(
    autojump_clock: MockClock,
) -> None:
    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/early", "transfer-encoding: chunked"))
        await stream.send_all(b"fffff\r\n" + b"x" * 200_000)
        await read_to_end(stream)

    await visit("fast", Toy(), client)
    assert trio.current_time() < Limits().head_s / 2


@pytest.mark.parametrize("fields", [(), ("content-length: 2",)])
async def test_one_who_sends_without_end_gets_no_answer_that_was_not_begun(
    fields: tuple[str, ...], kind: ServerKind, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def client(stream: trio.abc.HalfCloseableStream) -> None:
        await stream.send_all(request("/late_answer", *fields))
        await app.started.wait()
        await stream.send_all(b"{}" + request("/hi") * 20_000)
        await trio.testing.wait_all_tasks_blocked()
        app.may_answer.set()
        if not fields:
            assert await read_to_end(stream) == b""

    await visit(kind, app, client)
    assert app.seen == ["GET /late_answer"]


# Draining.


async def test_who_comes_while_we_drain_is_not_waited_for(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    server = Server(Toy(), kind=kind)
    await server.drain()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        assert await ours.receive_some() == b""
    assert trio.current_time() < 5


async def test_draining_closes_the_idle_and_announces_the_close_to_the_busy(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    server = Server(app, kind=kind)
    async with trio.open_nursery() as nursery:
        idle, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        busy, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        await busy.send_all(request("/slow"))
        await app.started.wait()

        await server.drain()
        assert await idle.receive_some() == b""
        got = await read_to_end(busy)
        await server.wait_until_empty()

    assert b"connection: close" in got.lower()
    assert got.endswith(b"slow")


@pytest.mark.parametrize("asks_again", [True, False])
async def test_who_could_not_be_told_of_a_drain_may_ask_once_more(
    asks_again: bool, kind: ServerKind, autojump_clock: MockClock
) -> None:
    """Else a request that was sent as the answer before it ended would be lost."""
    server = Server(Toy(), kind=kind)
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        await ours.send_all(request("/three"))
        got = bytes(await ours.receive_some())
        assert b"connection: close" not in got.lower()
        await server.drain()
        while not got.endswith(b"0\r\n\r\n"):
            more = await ours.receive_some()
            assert more
            got += more
        began = trio.current_time()
        if asks_again:
            await ours.send_all(request("/hi"))
        last = await read_to_end(ours)
        await server.wait_until_empty()

    waited_s = trio.current_time() - began
    if asks_again:
        assert last.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in last.lower()
    else:
        assert last == b""
        assert waited_s == pytest.approx(0.5, abs=0.1)
