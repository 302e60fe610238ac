"""The pool behind httpx's own client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trio.testing

from tests.upstream.peers import Peer, Place, in_memory
from tests.upstream.test_http import OK, always_ok, answering, silence, unfinished
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.upstream.transport import PoolTransport


@asynccontextmanager
async def a_client(
    serve: Callable[[Peer], Awaitable[None]], *, timeout: float | None = 5.0
) -> AsyncIterator[tuple[httpx.AsyncClient, Place]]:
    async with (
        in_memory(serve) as place,
        PooledUpstream(connect=place.connect) as upstream,
        httpx.AsyncClient(
            transport=PoolTransport(upstream),
            base_url=place.base_url,
            timeout=timeout,
            trust_env=False,
        ) as client,
    ):
        yield client, place


async def test_a_request_goes_out_as_it_was_made_and_its_answer_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            requests.append(request)
            await peer.send(OK.replace(b"\r\n\r\n", b"\r\nX-Name: 1\r\n\r\n"))

    async with a_client(serve) as (client, place):
        for _ in range(2):
            answer = await client.put("/a%20b?c=d", content=b"body", headers={"X": "1"})
            assert (answer.status_code, answer.text) == (200, "hello")
            assert answer.headers["x-name"] == "1"
        assert place.connections == 1

    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"PUT /a%20b?c=d HTTP/1.1"
    assert lines[1] == b"host: provider.test"
    assert b"x: 1" in [line.lower() for line in lines]
    assert head.lower().count(b"content-length: 4") == 1
    assert head.lower().count(b"host:") == 1
    assert body == b"body"


async def test_a_body_that_is_generated_is_sent_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests: list[bytes] = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.request() or b"")
        await peer.send(OK)

    async def body() -> AsyncIterator[bytes]:
        yield b"he"
        yield b"llo"

    async with a_client(serve) as (client, _):
        await client.post("/", content=body())
    assert requests[0].endswith(b"content-length: 5\r\n\r\nhello")
    assert b"transfer-encoding" not in requests[0].lower()


async def test_an_answer_may_be_left_unread(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_client(unfinished) as (client, place):
        async with client.stream("GET", "/") as answer:
            assert answer.status_code == 200
            assert place.connections_open == 1
        await trio.sleep(1)
        assert place.connections_open == 0


async def test_an_answer_to_head_has_no_body_whatever_its_length_says(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_client(answering(OK[:-5])) as (client, _):
        answer = await client.head("/")
        assert (answer.content, answer.headers["content-length"]) == (b"", "5")


@pytest.mark.parametrize(
    ("serve", "expected"),
    [
        (answering(b""), httpx.ReadError),
        (answering(b"SSH-2.0\r\n"), httpx.RemoteProtocolError),
        (answering(OK[:-1]), httpx.RemoteProtocolError),
        (silence, httpx.ReadTimeout),
        (unfinished, httpx.ReadTimeout),
    ],
)
async def test_a_failure_is_the_exception_that_httpx_has_for_it(
    autojump_clock: trio.testing.MockClock,
    serve: Callable[[Peer], Awaitable[None]],
    expected: type[Exception],
) -> None:
    async with a_client(serve) as (client, place):
        with pytest.raises(expected):
            await client.get("/")
        await trio.sleep(1)
        assert place.connections_open == 0


async def test_a_failure_to_connect_is_one_of_httpx_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hang(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with (
        PooledUpstream(connect=hang) as upstream,
        httpx.AsyncClient(transport=PoolTransport(upstream), trust_env=False) as client,
    ):
        started_at = trio.current_time()
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://provider.test", timeout=2)
        assert trio.current_time() == started_at + 2
    async with a_client(always_ok) as (client, _):
        with pytest.raises(httpx.ConnectError, match="name not resolved"):
            await client.get("http://elsewhere.test")


async def test_what_is_no_request_is_not_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_client(always_ok) as (client, place):
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://provider.test")
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.request("CONNECT", "/")
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("/", headers={"x": "1\r\ny: 2"})
        with pytest.raises(httpx.LocalProtocolError):
            await client.request("GE T", "/")
        assert place.connections == 0


async def test_without_a_limit_an_answer_may_take_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(3600)
        await peer.send(OK)

    async with a_client(serve, timeout=None) as (client, _):
        assert (await client.get("/")).text == "hello"
