"""What is no request of HTTP/2: reset, or answered as in HTTP/1.1."""

import re
from functools import partial

import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock, memory_stream_pair

from tests.serving.http2.client import GET, PREFACE, Client, Fields
from tests.serving.http2.visits import visit
from tests.serving.toy import Toy
from trio_gateway.serving.server import serve_stream

MALFORMED: dict[str, Fields] = {
    "no method": GET[1:],
    "no path": GET[:3],
    "no scheme": [GET[0], *GET[2:]],
    "nobody asked": [*GET[:2], GET[3]],
    "an empty path": [*GET[:3], (":path", "")],
    "two paths": [*GET, (":path", "/")],
    "an unknown pseudo field": [*GET, (":x", "y")],
    "a field of answers": [*GET, (":status", "200")],
    "a protocol": [*GET, (":protocol", "websocket")],
    "a pseudo field that comes late": [*GET[:3], ("x", "y"), GET[3]],
    "a field of connections": [*GET, ("connection", "close")],
    "a framing": [*GET, ("transfer-encoding", "chunked")],
    "keep-alive": [*GET, ("keep-alive", "5")],
    "an upgrade": [*GET, ("upgrade", "h2c")],
    "te": [*GET, ("te", "gzip")],
    "a name in upper case": [*GET, ("X", "y")],
    "a name with a space": [*GET, ("x y", "z")],
    "an empty name": [*GET, ("", "z")],
    "a line break": [*GET, ("x", "y\r\nz: a")],
    "a null byte": [*GET, ("x", "y\0")],
    "a space before a value": [*GET, ("x", " y")],
    "two hosts": [*GET, ("host", "y")],
    "no method's letters": [(":method", "G T"), *GET[1:]],
    "two lengths": [*GET, ("content-length", "0"), ("content-length", "0")],
    "other lengths": [*GET, ("content-length", "0"), ("content-length", "1")],
    "no length": [*GET, ("content-length", "+5")],
    "a length without end": [*GET, ("content-length", "9" * 5000)],
    "a length and no body": [*GET, ("content-length", "5")],
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_head_resets_its_stream_and_no_other(
    name: str, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        other = await client.ask("/three")
        got = await client.answer(await client.ask_with(MALFORMED[name]))
        assert got.reset == ErrorCodes.PROTOCOL_ERROR
        assert got.status is None
        assert (await client.answer(other)).body == b"xxx"

    await visit(app, story)
    assert app.seen == ["GET /three"]


async def test_who_sends_an_interim_answer_harms_no_other(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        other = await client.ask("/three")
        head = HeadersFrame(3, client.h2.encoder.encode([*GET, (":status", "100")]))
        head.flags.add("END_HEADERS")
        client.h2.highest_outbound_stream_id = 3
        await client.send(head)
        assert (await client.get("/hi")).is_whole
        assert (await client.answer(other)).is_whole

    await visit(app, story)
    assert app.seen == ["GET /three", "GET /hi"]


@pytest.mark.parametrize(
    ("length", "parts"), [("5", [b"1234"]), ("5", [b"123456"]), ("5", [b"1", b"23456"])]
)
@pytest.mark.parametrize("has_trailers", [False, True])
async def test_a_body_that_is_not_as_long_as_it_says_resets_its_stream_and_no_other(
    length: str, parts: list[bytes], has_trailers: bool, autojump_clock: MockClock
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        other = await client.ask("/three")
        number = await client.ask(
            "/wait", ("content-length", length), method="POST", is_whole=False
        )
        for body in parts:
            client.h2.send_data(number, body)
        if has_trailers:
            client.h2.send_headers(number, [("x", "y")], end_stream=True)
        else:
            client.h2.end_stream(number)
        await client.flush()
        assert (await client.answer(number)).reset == ErrorCodes.PROTOCOL_ERROR
        assert (await client.answer(other)).body == b"xxx"

    await visit(app, story)
    assert "disconnect" in app.seen or app.seen == ["GET /three"]


async def test_a_body_that_is_as_long_as_it_says_passes(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        number = await client.ask(
            "/echo", ("content-length", "5"), method="POST", body=b"12345"
        )
        assert (await client.answer(number)).body == b"5"

    await visit(Toy(), story)


@pytest.mark.parametrize(
    ("trailers", "is_good"), [([("x", "y")], True), ([(":path", "/")], False)]
)
async def test_trailers_are_judged_and_let_go(
    trailers: Fields, is_good: bool, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        number = await client.ask("/echo", method="POST", is_whole=False)
        client.h2.send_data(number, b"12345")
        client.h2.send_headers(number, trailers, end_stream=True)
        await client.flush()
        got = await client.answer(number)
        assert got.body == (b"5" if is_good else b"")
        assert got.reset == (None if is_good else ErrorCodes.PROTOCOL_ERROR)

    await visit(Toy(), story)


REFUSED: dict[str, tuple[Fields, int]] = {
    "a tunnel": ([(":method", "CONNECT"), (":authority", "x:1")], 501),
    "no target of ours": ([*GET[:3], (":path", "http://x/")], 400),
    "a fragment": ([*GET[:3], (":path", "/a#b")], 400),
    "letters of no path": ([*GET[:3], (":path", "/w\u00e9")], 400),
    "too many fields": ([*GET, *((f"x{n}", "y") for n in range(200))], 431),
    "a large field": ([*GET, ("x", "y" * 65536)], 431),
    "a large path": ([*GET[:3], (":path", "/" + "y" * 65536)], 431),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_a_gateway_must_not_accept_is_refused_as_in_http_1(
    name: str, autojump_clock: MockClock
) -> None:
    app = Toy()
    head, status = REFUSED[name]

    async def story(client: Client) -> None:
        got = await client.answer(await client.ask_with(head))
        assert (got.status, got.is_whole) == (status, True)
        assert got.body.startswith(b'{"error":{"code":"')
        assert re.fullmatch("[0-9a-f-]{36}", got.fields["x-request-id"])
        assert got.fields["x-gateway-attempts"] == "0"
        assert (await client.get("/hi")).is_whole

    await visit(app, story)
    assert app.seen == ["GET /hi"]


@pytest.mark.parametrize("fields", [[("x", "y" * 60_000)], [("x", "y")] * 120])
async def test_a_large_head_within_the_limits_passes(
    fields: Fields, autojump_clock: MockClock
) -> None:
    async def story(client: Client) -> None:
        assert (await client.get("/hi", *fields)).status == 200

    await visit(Toy(), story)


async def test_options_of_the_whole_server_reaches_the_app(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        await client.answer(await client.ask("*", method="OPTIONS"))

    await visit(app, story)
    assert app.seen == ["OPTIONS *"]


async def test_a_preface_that_is_not_the_first_thing_is_refused(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve_stream, Toy(), theirs, kind="hypercorn"))
        await ours.send_all(b"GET /hi HTTP/1.1\r\nhost: x\r\n\r\n" + PREFACE)
        got = b"".join([data async for data in ours])
    assert got.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 505" in got


async def test_a_preface_may_be_cut_anywhere(autojump_clock: MockClock) -> None:
    for cut in range(1, len(PREFACE) + 5):
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_stream, Toy(), theirs, kind="hypercorn"))
            client = Client(ours)
            client.h2.initiate_connection()
            words = client.h2.data_to_send()
            await ours.send_all(words[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await ours.send_all(words[cut:])
            assert (await client.get("/hi")).is_whole
            await ours.aclose()
