"""HTTP/2 over real sockets: by ALPN, with prior knowledge, and by a known client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, PingFrame

from tests.serving.doors import (
    Kind,
    dial,
    each,
    read,
    tasks_fall_to,
    tasks_living,
    visit_server,
)
from tests.serving.http2.client import Client, request
from tests.serving.toy import Toy
from tests.sockets.test_serving_tls import (
    AT_ONCE_S,
    Leave,
    Secured,
    a_certificate,
    abort,
    close,
    half_close,
    say_goodbye,
    secured,
    see_a_departure,
    trust,
)
from trio_gateway.serving.limits import Limits

# What the stock server has not done by then, it never will.
NEVER_S = 0.5

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


async def test_streams_take_places_from_who_comes_later() -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            client = await Client(stream).begin()
            numbers = [await client.ask("/wait") for _ in range(2)]
            assert (await client.get("/hi")).reset == ErrorCodes.REFUSED_STREAM
            async with await dial(port) as late:
                got, _ = await read(late, within_s=AT_ONCE_S)
                assert got.startswith(b"HTTP/1.1 503 ")
            await client.leave(numbers[0])
            await trio.sleep(0.05)
            assert (await client.get("/hi")).is_whole

    limits = Limits(connections_max=2)
    assert await visit_server("HTTP/2", Toy(), visit, limits=limits) == set()


async def test_a_new_certificate_offers_http_2_as_the_old_one_did() -> None:
    async with secured("hypercorn") as server:
        server.tls.renew(a_certificate("other"))
        stream = await server.client(name="other", alpn=("h2", "http/1.1"))
        client = await Client(stream).begin()
        assert (await client.get("/hi")).is_whole
        await stream.aclose()


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
            ("/early", body * 25, 413, b"no"),
            ("/nothing", b"", 404, b"nothing here"),
        ):
            answer = await client.post(path, content=sent)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)
            assert answer.content == got


async def test_httpx_sees_a_cut_answer_as_broken_and_ends_elsewhere() -> None:
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
        for turn in range(100):  # more, and they would be a flood
            path = ("/wait", "/stream", "/flood", "/slow")[turn % 4]
            number = await client.ask(path)
            with trio.move_on_after(turn % 5 * 0.002):
                while await client.receive():
                    pass
            if not client.answers[number].is_over:
                await client.leave(number)
        assert (await client.get("/hi")).body == b"hi"
        assert not client.goaways
        await stream.aclose()
        assert await tasks_fall_to(before, within_s=AT_ONCE_S)

    assert await visit_server("hypercorn", app, visit) == set()


# What Hypercorn's own protocol does instead: why it is not used.

HARDENED = ("HTTP/2",)


@each("ends", ours=True, stock=False, kinds=HARDENED)
async def test_an_unfinished_answer_is_reset_and_not_left_open(
    kind: Kind, ends: bool
) -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            client = await Client(stream).begin()
            with trio.move_on_after(AT_ONCE_S if ends else NEVER_S):
                await client.get("/cut")
            assert client.answers[1].body == b"half"
            assert client.answers[1].is_over is ends

    assert await visit_server(kind, Toy(), visit) == set()


@each("is_served", ours=True, stock=False, kinds=HARDENED)
async def test_an_app_that_does_not_read_stops_no_other(
    kind: Kind, is_served: bool
) -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            client = await Client(stream).begin()
            number = await client.ask("/late_answer", method="POST", is_whole=False)
            for _ in range(30):  # in pieces: their number fills the stock's queue
                client.h2.send_data(number, b"x")
                await client.flush()
                await trio.sleep(0.001)
            other = await client.ask("/hi")
            with trio.move_on_after(AT_ONCE_S if is_served else NEVER_S):
                await client.answer(other)
            assert client.answers[other].is_whole is is_served

    await visit_server(kind, Toy(), visit)


@each("dies", ours=False, stock=True, kinds=HARDENED)
async def test_data_after_an_early_answer_does_not_end_the_server(
    kind: Kind, dies: bool
) -> None:
    async def visit(port: int) -> None:
        for _ in range(30):
            async with await dial(port) as stream:
                client = await Client(stream).begin()
                number = await client.ask("/early", method="POST", is_whole=False)
                await client.answer(number)
                with suppress(trio.BrokenResourceError):
                    await client.send(DataFrame(number, b"x"))
                await read(stream, within_s=0.02)

    assert bool(await visit_server(kind, Toy(), visit)) is dies


@each("ends", ours=True, stock=False, kinds=HARDENED)
async def test_a_flood_of_pings_is_not_answered_for_ever(
    kind: Kind, ends: bool
) -> None:
    async def visit(port: int) -> None:
        async with await dial(port) as stream:
            client = await Client(stream).begin()
            pings = [PingFrame(0, b"12345678")] * 100
            with suppress(trio.BrokenResourceError):
                for _ in range(50):
                    await client.send(*pings)
            with trio.move_on_after(AT_ONCE_S if ends else NEVER_S):
                await client.to_the_end()
            assert client.has_ended is ends

    assert await visit_server(kind, Toy(), visit) == set()
