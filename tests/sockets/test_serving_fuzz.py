"""Two thousand strangers who speak badly, or not at all, and leave as they like."""

import os
from random import Random

import pytest
import trio

from tests.serving.doors import (
    OURS_IN_ALL_VERSIONS,
    Kind,
    dial,
    each,
    read,
    reset,
    tasks_fall_to,
    tasks_living,
    visit_server,
)
from tests.serving.http2.strangers import bytes_of_a_stranger as frames_of_a_stranger
from tests.serving.toy import Toy, request

# More of them on demand: STRANGERS=20000 pytest --timeout 900 tests/sockets/...
CONNECTIONS = int(os.environ.get("STRANGERS", "2000"))
AT_ONCE = 20

LINES = [
    *(f"GET /{path} HTTP/1.1" for path in ("hi", "slow", "stream", "wait", "cut")),
    *(f"POST /{path} HTTP/1.1" for path in ("echo", "early", "framework")),
    "GET /slow HTTP/1.0",
    "HEAD /slow HTTP/1.1",
    "CONNECT x:1 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET /w\xe9 HTTP/1.1",
    "GET /%ff%00 HTTP/1.1",
    "GET  /hi HTTP/1.1",
    "GET /hi HTTP/9.9",
    "PRI * HTTP/2.0",
    "",
]
FIELDS = [
    "connection: close",
    "connection: keep-alive, close",
    "expect: 100-continue",
    "transfer-encoding: chunked",
    "transfer-encoding: identity",
    "content-length: 3",
    "content-length: 70000",
    "content-length: -1",
    "content-length: 3, 3",
    "host: y",
    "x: \x00",
    "x : y",
    ": y",
    " folded",
    "x: " + "y" * 20_000,
    "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: A",
    "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13",
]
TAILS = [
    b"",
    b"",
    b"abc",
    b"\r\n",
    b"garbage garbage\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    b"zz\r\nbad chunk\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"ffffffffffffffffffff\r\n",
    b"3;" + b"e" * 5000 + b"\r\nabc\r\n0\r\nx: y\r\n\r\n",
    b"SM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"y" * 70_000,
    request("/hi"),
    request("/slow") * 30,
]
FAREWELLS = ["read", "half-close", "close", "reset"]


def bytes_of_a_stranger(rng: Random) -> bytes:
    """Some requests, more or less; now and then nothing like one."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.choice([1, 10, 1000, 100_000]))
    words = b""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        host = ["host: x"] if rng.random() < 0.9 else []
        fields = rng.sample(FIELDS, rng.choice([0, 0, 1, 1, 2, 3]))
        lines = [rng.choice(LINES), *host, *fields, "", ""]
        words += "\r\n".join(lines).encode("latin-1") + rng.choice(TAILS)
    if rng.random() < 0.2:
        words = words[: rng.randrange(len(words))]
    if words and rng.random() < 0.2:
        at = rng.randrange(len(words))
        words = words[:at] + rng.randbytes(rng.choice([0, 1, 5])) + words[at + 1 :]
    return words


async def be_a_stranger(kind: Kind, port: int, seed: str) -> None:
    rng = Random(seed)
    speak = frames_of_a_stranger if kind == "HTTP/2" else bytes_of_a_stranger
    words = speak(rng)
    cut = rng.randrange(len(words) + 1)
    pause_s = rng.choice([0, 0.002, 0.012])
    farewell = rng.choice(FAREWELLS)
    stream = await dial(port)
    try:
        with trio.move_on_after(1):
            await stream.send_all(words[:cut])
            await trio.sleep(pause_s)
            await stream.send_all(words[cut:])
            if farewell == "half-close":
                await stream.send_eof()
            if farewell in {"read", "half-close"}:
                await read(stream, within_s=0.02)
    except trio.BrokenResourceError:
        pass  # we were turned away in the middle of a word
    if farewell == "reset":
        await reset(stream)
    await stream.aclose()


@each("dies", ours=False, stock=True, kinds=OURS_IN_ALL_VERSIONS)
async def test_strangers_end_nothing_and_leave_nothing(
    kind: Kind, dies: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing run names its seed: `f"fuzz/{number}"` is one stranger's whole life."""
    left_nothing = False

    async def visit(port: int) -> None:
        nonlocal left_nothing
        before = tasks_living()
        crowd = trio.CapacityLimiter(AT_ONCE)

        async def one(number: int) -> None:
            async with crowd:
                await be_a_stranger(kind, port, f"fuzz/{number}")

        async with trio.open_nursery() as strangers:
            for number in range(CONNECTIONS):
                strangers.start_soon(one, number)

        left_nothing = await tasks_fall_to(before, within_s=30)
        honest = await dial(port)
        await honest.send_all(request("/hi", "connection: close"))
        got, end = await read(honest, within_s=5)
        await honest.aclose()
        assert (got[-2:], end) == (b"hi", "end")

    assert (
        bool(await visit_server(kind, Toy(), visit, stuck_s=30 + CONNECTIONS / 50))
        is dies
    )
    if not dies:
        assert left_nothing
        assert not caplog.records  # not even a connection's own failure
