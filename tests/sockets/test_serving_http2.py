"""HTTP/2 over real sockets: by ALPN, with prior knowledge, and by a known client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from h2.errors import ErrorCodes

from tests.serving.doors import dial, tasks_fall_to, tasks_living, visit_server
from tests.serving.http2.client import Client, request
from tests.serving.toy import Toy
from tests.sockets.test_serving_tls import (
    AT_ONCE_S,
    Leave,
    Secured,
    abort,
    close,
    half_close,
    say_goodbye,
    secured,
    see_a_departure,
    trust,
)
from trio_gateway.serving.limits import Limits

DEPARTING = {
    "waiting": request("/wait", method="POST", body=b"{}"),
    "streaming": request("/stream"),
    "flooding": request("/flood"),
}


@pytest.mark.parametrize("leave", [close, half_close, abort, say_goodbye])
@pytest.mark.parametrize("sent", DEPARTING.values(), ids=DEPARTING.keys())
async def test_every_departure_over_tls_is_seen_at_once(
    sent: bytes, leave: Leave
) -> None:
    await see_a_departure("hypercorn", sent, leave, alpn=("h2",))


async def test_who_cannot_be_let_in_over_tls_is_told_so_in_http_2() -> None:
    async with secured("hypercorn", Limits(connections_max=1)) as server:
        busy = await Client(await server.client(alpn=("h2",))).begin()
        await busy.ask("/wait")
        await server.app.started.wait()
        stream = await server.client(alpn=("h2",))
        client = Client(stream)
        with trio.fail_after(AT_ONCE_S):
            await client.to_the_end()
        assert client.goaways == [(ErrorCodes.ENHANCE_YOUR_CALM, 0)]
        await stream.aclose()
        await busy.stream.aclose()


# A client that we did not write.


@asynccontextmanager
async def by_httpx(server: Secured) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        http2=True,
        verify=trust(),
        trust_env=False,
        base_url=f"https://localhost:{server.port}",
    ) as client:
        yield client


async def test_httpx_gets_answers_bodies_and_streams() -> None:
    body = bytes(range(256)) * 4000
    async with secured("hypercorn") as server, by_httpx(server) as client:
        for path, sent, status, got in (
            ("/hi", b"", 200, b"hi"),
            ("/three", b"", 200, b"xxx"),
            ("/mirror", body, 200, body),
            ("/early", body[:600_000], 413, b"no"),
            ("/nothing", b"", 404, b"nothing here"),
        ):
            answer = await client.post(path, content=sent)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)
            assert answer.content == got


async def test_httpx_sees_a_cut_answer_as_broken_and_goes_on_elsewhere() -> None:
    async with secured("hypercorn") as server, by_httpx(server) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="error_code:2"):
            await client.get("/cut")
        assert (await client.get("/hi")).content == b"hi"


async def test_httpx_leaves_a_stream_without_a_word_but_not_its_connection() -> None:
    """So one who leaves is missed late, if it asks on: the README warns of it."""
    async with secured("hypercorn") as server:
        async with by_httpx(server) as client:
            async with client.stream("GET", "/stream") as answer:
                assert answer.status_code == 200
            assert (await client.get("/three")).content == b"xxx"
            assert "disconnect" not in server.app.seen
        with trio.fail_after(AT_ONCE_S):
            while "disconnect" not in server.app.seen:  # noqa: ASYNC110 # a list
                await trio.sleep(0.001)


# Without TLS.


async def test_streams_that_are_left_at_any_moment_leave_nothing() -> None:
    app = Toy()

    async def visit(port: int) -> None:
        before = tasks_living()
        stream = await dial(port)
        client = await Client(stream).begin()
        for turn in range(150):
            path = ("/wait", "/stream", "/flood", "/slow")[turn % 4]
            number = await client.ask(path)
            with trio.move_on_after(turn % 5 * 0.002):
                while await client.receive():
                    pass
            if not client.answers[number].is_over:
                await client.leave(number)
        assert (await client.get("/hi")).body == b"hi"
        await stream.aclose()
        assert await tasks_fall_to(before, within_s=AT_ONCE_S)

    assert await visit_server("hypercorn", app, visit) == set()
