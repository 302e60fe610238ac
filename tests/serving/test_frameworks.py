"""The stack that the gateway uses: Quart-Trio behind our server, in virtual time."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio
from quart import Response, request
from quart_trio import QuartTrio
from trio.testing import MockClock

from tests.serving import toy
from tests.serving.test_server import MemoryListener
from trio_gateway.serving.process import Shutdown, Site, serve
from trio_gateway.serving.server import ServerKind


def an_app(seen: list[str]) -> QuartTrio:
    app = QuartTrio(__name__)

    @app.before_serving
    async def start() -> None:
        seen.append("start")

    @app.after_serving
    async def end() -> None:
        seen.append("end")

    @app.post("/echo")
    async def echo() -> Response:
        return Response(await request.get_data())

    @app.get("/stream")
    async def stream() -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"data: x\n\n"
                    await trio.sleep(1)
            except trio.Cancelled:
                seen.append("cancelled")
                raise

        response = Response(body())
        response.timeout = None
        return response

    return app


@pytest.mark.parametrize("fields", [(), ("connection: close",)])
async def test_quart_answers_keeps_alive_closes_and_drains(
    fields: tuple[str, ...], kind: ServerKind, autojump_clock: MockClock
) -> None:
    seen: list[str] = []
    listener, shutdown = MemoryListener(), Shutdown()
    async with trio.open_nursery() as nursery:
        sites = [Site(an_app(seen), [listener], server=kind)]
        await nursery.start(partial(serve, sites, shutdown=shutdown))
        client = await listener.dial()
        await client.send_all(toy.request("/echo", *fields, method="POST", body=b"hi"))
        got = b""
        while not got.endswith(b"hi"):
            got += await client.receive_some()
        if fields:
            assert await client.receive_some() == b""
        shutdown.request()

    assert got.startswith(b"HTTP/1.1 200")
    assert seen == ["start", "end"]
    assert trio.current_time() < 1


async def test_quart_is_cancelled_when_the_client_leaves(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []
    listener, shutdown = MemoryListener(), Shutdown()
    async with trio.open_nursery() as nursery:
        sites = [Site(an_app(seen), [listener], server=kind)]
        await nursery.start(partial(serve, sites, shutdown=shutdown))
        client = await listener.dial()
        await client.send_all(toy.request("/stream") + toy.request("/stream"))
        await trio.sleep(10.5)
        left_at = trio.current_time()
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["start", "cancelled"]
        assert trio.current_time() == left_at
        shutdown.request()
