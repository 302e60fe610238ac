"""What strangers' bytes do, over real sockets, to our servers and to the stock one."""

from dataclasses import dataclass

import h2.config
import h2.connection
import pytest
import trio

from tests.serving.doors import (
    KINDS,
    Kind,
    dial,
    each,
    read,
    tasks_fall_to,
    tasks_living,
    visit_server,
)
from tests.serving.http2.client import request as http_2_request
from tests.serving.toy import Toy, request


@dataclass(frozen=True)
class Shape:
    """Bytes, and how each server answers: status of each answer, and is it closed."""

    sent: bytes
    ours: tuple[list[int], str]
    stock: tuple[list[int], str]


H2C = ("upgrade: h2c", "connection: upgrade, http2-settings")
WEBSOCKET = (
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
ANSWER = b"HTTP/1.1 "
SETTINGS = 4  # the type of HTTP/2's first frame

SHAPES = {
    "an upgrade to h2c is ignored": Shape(
        request("/hi", *H2C, "http2-settings: AAMAAABkAAQAAP__"),
        ours=([200], "open"),
        stock=([101], "open"),
    ),
    "an upgrade to a websocket is ignored": Shape(
        request("/hi", *WEBSOCKET), ours=([200], "open"), stock=([500], "end")
    ),
    "two framings are refused": Shape(
        request("/echo", "content-length: 5", "transfer-encoding: chunked")
        + b"0\r\n\r\n",
        ours=([400], "end"),
        stock=([200], "open"),
    ),
    "a head of too many fields is refused": Shape(
        request("/hi", *(f"x{n}: y" for n in range(1500))),
        ours=([431], "end"),
        stock=([200], "open"),
    ),
    "a body is not asked for before the app wants it": Shape(
        request("/early", "expect: 100-continue", "content-length: 5"),
        ours=([413], "end"),
        stock=([100, 413], "end"),
    ),
    "connection: close closes though the app cancels itself": Shape(
        request("/framework", "connection: close"),
        ours=([200], "end"),
        stock=([200], "open"),
    ),
    "http/1.0 closes though the app cancels itself": Shape(
        b"GET /framework HTTP/1.0\r\n\r\n", ours=([200], "end"), stock=([200], "open")
    ),
    "a stray line break is no request": Shape(
        request("/echo", method="POST", body=b"12") + b"\r\n",
        ours=([200], "open"),
        stock=([200, 400], "end"),
    ),
    "a stray line break after a last request is no error": Shape(
        request("/slow", "connection: close") + b"\r\n",
        ours=([200], "end"),
        stock=([400], "end"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
async def test_bytes(name: str, kind: Kind) -> None:
    shape = SHAPES[name]
    statuses, end = shape.stock if kind == "stock" else shape.ours
    seen: tuple[list[int], str] | None = None

    async def visit(port: int) -> None:
        nonlocal seen
        async with await dial(port) as stream:
            await stream.send_all(shape.sent)
            got = b""
            with trio.move_on_after(10):
                while got.count(ANSWER) < len(statuses):
                    data = await stream.receive_some()
                    if not data:
                        break
                    got += data
            # That nothing more comes can only be seen by waiting.
            more, is_seen = await read(stream, within_s=0.3 if end == "open" else 10)
        answers = (got + more).split(ANSWER)[1:]
        seen = [int(answer[:3]) for answer in answers], is_seen

    assert await visit_server(kind, Toy(), visit) == set()
    assert seen == (statuses, end)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_preface_of_http_2_gets_an_answer_of_whatever_is_spoken(
    kind: Kind,
) -> None:
    got = b""

    async def visit(port: int) -> None:
        nonlocal got
        async with await dial(port) as stream:
            await stream.send_all(http_2_request("/hi"))
            got, _ = await read(stream, within_s=0.5)

    assert await visit_server(kind, Toy(), visit) == set()
    if kind in {"hypercorn", "stock"}:
        assert got[3] == SETTINGS
        assert b"hi" in got
    else:
        assert got.startswith(ANSWER + b"505")


@each("dies", ours=False, stock=True)
@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT bug HTTP/1.1\r\nhost: x\r\n\r\nabc",
        request("/hi", *H2C, "http2-settings: A"),
    ],
)
async def test_malformed_bytes_do_not_end_the_server(
    sent: bytes, kind: Kind, dies: bool
) -> None:
    async def visit(port: int) -> None:
        for _ in range(30):
            stream = await dial(port)
            await stream.send_all(sent)
            await read(stream, within_s=0.02)
            await stream.aclose()

    assert bool(await visit_server(kind, Toy(), visit)) is dies


@each("dies", ours=False, stock=True)
async def test_an_http_2_client_that_says_goaway_does_not_end_the_server(
    kind: Kind, dies: bool
) -> None:
    async def attack(port: int) -> None:
        stream = await dial(port)
        client = h2.connection.H2Connection(
            config=h2.config.H2Configuration(client_side=True)
        )
        client.initiate_connection()
        target = [(":method", "GET"), (":path", "/busy"), (":scheme", "http")]
        client.send_headers(1, [*target, (":authority", "x")], end_stream=True)
        await stream.send_all(client.data_to_send())
        await trio.sleep(0.02)
        client.close_connection()
        try:
            await stream.send_all(client.data_to_send())
        except trio.BrokenResourceError:
            assert kind.startswith("fast")  # it has already been refused
        await read(stream, within_s=0.02)
        await stream.aclose()

    async def visit(port: int) -> None:
        for _ in range(40):
            await attack(port)

    assert bool(await visit_server(kind, Toy(), visit)) is dies


@each("is_freed", ours=True, stock=False)
async def test_a_large_body_that_nobody_read_leaves_no_task(
    kind: Kind, is_freed: bool
) -> None:
    app = Toy()
    freed: bool | None = None

    async def visit(port: int) -> None:
        nonlocal freed
        before = tasks_living()
        async with await dial(port) as stream:
            head = request("/late_answer", "content-length: 9000000", method="POST")
            await stream.send_all(head)
            with trio.move_on_after(0.5):  # we hold back what the app does not take
                for _ in range(12):  # in pieces: their number fills the stock's queue
                    await stream.send_all(b"x" * 65536)
                    await trio.sleep(0.01)
            app.may_answer.set()
            got, _ = await read(stream, within_s=1)
            assert got.startswith(b"HTTP/1.1 413")
        freed = await tasks_fall_to(before, within_s=10 if kind != "stock" else 0.5)

    assert await visit_server(kind, app, visit) == set()
    assert freed is is_freed


# HTTP/1.0: where the end of the connection is the end of the answer.

OLD = "GET {} HTTP/1.0\r\n\r\n"


@each("end", ours="reset", stock="end", kinds=("fast", "hypercorn"))
@pytest.mark.parametrize("path", ["/cut", "/late_bug"])
async def test_http_1_0_is_not_told_that_a_cut_answer_is_whole(
    path: str, kind: Kind, end: str
) -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            await stream.send_all(OLD.format(path).encode())
            await trio.sleep(0.1)  # what came before the reset can still be read
            got, seen = await read(stream, within_s=10)
        assert got.endswith(b"\r\n\r\nhalf")
        assert seen == end

    assert await visit_server(kind, Toy(), visit) == set()


@pytest.mark.parametrize("path", ["/three", "/hi"])
@pytest.mark.parametrize("kind", KINDS)
async def test_http_1_0_is_told_that_a_whole_answer_is_whole(
    path: str, kind: Kind
) -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            await stream.send_all(OLD.format(path).encode())
            await trio.sleep(0.1)
            got, seen = await read(stream, within_s=10)
        assert got.endswith((b"\r\n\r\nxxx", b"\r\n\r\nhi"))
        assert seen == "end"

    assert await visit_server(kind, Toy(), visit) == set()
