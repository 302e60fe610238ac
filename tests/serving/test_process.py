"""The life of a process, without sockets and signals, in virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.serving.test_server import MemoryListener, ask
from tests.serving.toy import Receive, Send, Toy, request
from trio_gateway.serving.lifespan import LifespanError
from trio_gateway.serving.process import (
    BindError,
    Drain,
    Shutdown,
    Site,
    listen,
    run,
    serve,
)
from trio_gateway.serving.server import ServerKind

Story = Callable[[MemoryListener, Shutdown], Awaitable[None]]


async def live(
    kind: ServerKind,
    app: Any,
    story: Story,
    *,
    drain: Drain | None = None,
    background: tuple[Callable[[], Awaitable[None]], ...] = (),
) -> int:
    """Run a process around a story; return its exit code."""
    listener, shutdown = MemoryListener(), Shutdown()
    code = -1

    async def process() -> None:
        nonlocal code
        code = await run(
            [Site(app, [listener], server=kind)],
            drain=drain,
            background=background,
            shutdown=shutdown,
        )

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process)
            await story(listener, shutdown)
    return code


async def test_a_process_serves_drains_and_exits_with_zero(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        assert app.lifespan == ["lifespan.startup"]
        shutdown.request()

    assert await live(kind, app, story) == 0
    assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]
    assert trio.current_time() < 1  # an idle connection is not waited for


async def test_a_drain_lets_a_stream_finish_and_takes_nobody_new(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    got: list[bytes | bytearray] = []

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        stream = await listener.dial()
        await stream.send_all(request("/three"))
        await trio.sleep(0.1)
        shutdown.request()
        await trio.sleep(0.1)
        with pytest.raises(trio.ClosedResourceError):
            await listener.dial()
        got.extend([data async for data in stream])

    assert await live(kind, Toy(), story) == 0
    assert b"".join(got).endswith(b"0\r\n\r\n")


async def test_the_drains_steps_come_in_their_order_and_time(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    steps: list[tuple[str, float]] = []

    def step(name: str) -> Callable[[], None]:
        return lambda: steps.append((name, trio.current_time()))

    drain = Drain(
        limit_s=20, notice_s=5, on_start=step("start"), on_deadline=step("deadline")
    )

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        stream = await listener.dial()
        await stream.send_all(request("/stream"))
        await trio.sleep(1)
        shutdown.request()
        await trio.sleep(4)
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        got = b"".join([data async for data in stream])
        steps.append(("cut", trio.current_time()))
        assert not got.endswith(b"0\r\n\r\n")

    assert await live(kind, Toy(), story, drain=drain) == 0
    assert [name for name, _ in steps] == ["start", "deadline", "cut"]
    assert [at for _, at in steps] == pytest.approx([1, 26, 28])


async def test_who_is_idle_may_ask_once_more_while_parting(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    """Else the request that was on its way when its connection was closed is lost."""

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        used, fresh, silent = [await listener.dial() for _ in range(3)]
        assert b"connection: close" not in await ask(used)
        shutdown.request()
        await trio.sleep(1)
        for stream in (used, fresh):
            answer = await ask(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer.lower()
            assert await stream.receive_some() == b""
        assert await silent.receive_some() == b""
        assert trio.current_time() == pytest.approx(2, abs=0.1)

    assert await live(kind, Toy(), story, drain=Drain(parting_s=2)) == 0


async def test_who_asks_while_a_drain_is_announced_is_told_to_go_elsewhere(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        kept = await listener.dial()
        assert b"connection: close" not in await ask(kept)
        shutdown.request()
        await trio.sleep(0.5)
        for stream in (kept, await listener.dial()):
            answer = await ask(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer.lower()

    assert await live(kind, Toy(), story, drain=Drain(notice_s=1)) == 0


async def test_who_comes_while_a_drain_is_announced_has_its_limit_like_everybody(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    """Also if there was nobody at all for a moment."""
    got: list[bytes | bytearray] = []

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        shutdown.request()
        await trio.sleep(0.9)
        stream = await listener.dial()
        await stream.send_all(request("/three"))
        got.extend([data async for data in stream])

    assert await live(kind, Toy(), story, drain=Drain(notice_s=1)) == 0
    assert b"".join(got).endswith(b"0\r\n\r\n")
    assert trio.current_time() > 1.5


async def test_a_second_request_ends_at_once(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        stream = await listener.dial()
        await stream.send_all(request("/stream"))
        await trio.sleep(1)
        shutdown.request()
        await trio.sleep(1)
        shutdown.request()

    assert await live(kind, Toy(), story) == 1
    assert trio.current_time() == pytest.approx(2)


async def test_a_background_task_lives_as_long_as_the_sites(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    ended_at = -1.0

    async def background() -> None:
        nonlocal ended_at
        try:
            await trio.sleep_forever()
        finally:
            ended_at = trio.current_time()

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        stream = await listener.dial()
        await stream.send_all(request("/three", "connection: close"))
        await trio.sleep(0.1)
        shutdown.request()
        assert [data async for data in stream]

    assert await live(kind, Toy(), story, background=(background,)) == 0
    assert ended_at == pytest.approx(0.9)


async def test_a_background_task_that_crashes_ends_the_process_with_one(
    kind: ServerKind, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def background() -> None:
        await trio.sleep(3)
        raise KeyError("a secret")

    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        stream = await listener.dial()
        await stream.send_all(request("/wait"))

    assert await live(kind, Toy(), story, background=(background,)) == 1
    assert "process_failed error=KeyError" in caplog.text
    assert "secret" not in caplog.text


async def fails_to_start(scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def never_starts(scope: Any, receive: Receive, send: Send) -> None:
    await trio.sleep_forever()


async def breaks_off(scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await trio.sleep(3)
    raise KeyError("a secret")


async def never_ends(scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await trio.sleep_forever()


@pytest.mark.parametrize("app", [fails_to_start, never_starts, breaks_off, never_ends])
async def test_an_app_that_does_not_live_as_it_should_is_exit_code_one(
    app: Any,
    kind: ServerKind,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        await trio.sleep(100)
        shutdown.request()

    assert await live(kind, app, story) == 1
    assert "error=LifespanError" in caplog.text
    assert "secret" not in caplog.text


async def returns_at_once(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await Toy()(scope, receive, send)


async def knows_only_http(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await Toy()(scope, receive, send)


@pytest.mark.parametrize("app", [returns_at_once, knows_only_http])
async def test_an_app_without_a_lifespan_is_served(
    app: Any, kind: ServerKind, autojump_clock: MockClock
) -> None:
    async def story(listener: MemoryListener, shutdown: Shutdown) -> None:
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        shutdown.request()

    assert await live(kind, app, story) == 0


async def test_serve_is_the_same_without_signals_and_reports_its_addresses(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    shutdown = Shutdown()
    sites = [
        Site(Toy(), [MemoryListener()], server=kind),
        Site(Toy(), [MemoryListener()], server=kind),
    ]
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(partial(serve, sites, shutdown=shutdown))
        assert addresses == (("memory",), ("memory",))
        shutdown.request()


async def test_serve_raises_what_a_lifespan_says(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    with pytest.RaisesGroup(
        pytest.RaisesExc(LifespanError, match="no database"), flatten_subgroups=True
    ):
        await serve([Site(fails_to_start, [])], shutdown=Shutdown())


@pytest.mark.parametrize("bind", ["", "8080", "localhost:", ":80", "h:-1", "h:99999"])
async def test_what_is_no_address_is_a_bind_error_with_a_remedy(bind: str) -> None:
    with pytest.raises(BindError, match="write HOST:PORT"):
        await listen(bind)


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_what_can_be_no_name_of_a_host_is_a_bind_error(host: str) -> None:
    with pytest.raises(BindError, match=f"^cannot listen on {host}:80: no host"):
        await listen(f"{host}:80")
