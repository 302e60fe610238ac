"""How long a client of HTTP/2 may take for anything, in virtual time."""

from contextlib import suppress

import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import PingFrame
from trio.testing import MockClock

from tests.serving.http2.client import GET, Client
from tests.serving.http2.visits import visit
from tests.serving.toy import Receive, Send, Toy, begin, part

BIG = 1_000_000


async def test_a_client_that_opens_no_window_is_cut_at_the_stall_limit(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/flood")
        other = await client.ask("/wait")
        got = await client.answer(number)
        assert got.reset == ErrorCodes.INTERNAL_ERROR
        assert len(got.body) == 65535
        assert trio.current_time() == pytest.approx(30)
        assert not client.answers[other].is_over

    await visit(app, story, reads=False)


async def test_a_window_that_opens_by_drops_is_no_headway(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/flood")
        await client.part_of(number)

        async def drip() -> None:
            while True:
                await trio.sleep(1)
                await client.open(number, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await client.answer(number)).reset == ErrorCodes.INTERNAL_ERROR
            nursery.cancel_scope.cancel()
        assert trio.current_time() == pytest.approx(30, abs=1)

    await visit(app, story, reads=False)


async def test_a_slow_client_with_headway_is_not_stalled(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/flood")
        await client.part_of(number)
        for _ in range(20):
            await trio.sleep(20)
            await client.open(number, 16 * 1024)
            await client.receive()
        assert not app.ended.is_set()

    await visit(app, story, reads=False)


async def test_a_socket_that_takes_nothing_is_cut_at_the_stall_limit(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        client.h2.initiate_connection()
        client.h2.send_headers(1, [*GET[:3], (":path", "/wait")], end_stream=True)
        await client.flush()
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < 100:
                await trio.sleep(1)
                await client.send(PingFrame(0, b"12345678"))

    await visit(app, story, lockstep=True)
    assert app.seen == ["GET /wait", "disconnect"]
    assert trio.current_time() == pytest.approx(30, abs=1)


async def test_the_apps_own_deadline_ends_a_blocked_send_at_once(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/deadline")
        got = await client.answer(number)
        assert got.reset == ErrorCodes.INTERNAL_ERROR
        assert trio.current_time() == pytest.approx(0.5)

    await visit(app, story, reads=False)
    assert "deadline" in app.seen


async def test_after_a_cancelled_send_nothing_more_is_sent(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def at_resume(receive: Receive, send: Send) -> None:
        await begin(send)
        with trio.move_on_after(1):
            await part(send, b"a" * BIG)
        await part(send, b"resumed", more=False)

    app.ways["resume"] = at_resume

    async def story(client: Client) -> None:
        got = await client.get("/resume")
        assert got.reset == ErrorCodes.INTERNAL_ERROR
        assert b"resumed" not in got.body

    await visit(app, story, reads=False)


async def test_a_slow_head_ends_the_connection_after_its_limit(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        await client.get("/hi")
        await trio.sleep(50)
        client.h2.send_headers(3, GET, end_stream=True)
        for byte in client.h2.data_to_send()[:-1]:
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(0.1)
        await client.to_the_end()
        assert client.goaways

    app = Toy()
    await visit(app, story)
    assert app.seen == ["GET /hi"]
    assert trio.current_time() == pytest.approx(60)


async def test_a_head_that_goes_on_and_on_has_the_same_limit(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        await client.get("/hi")
        client.h2.send_headers(3, GET, end_stream=True)
        frame = client.h2.data_to_send()
        await client.stream.send_all(frame[:4] + b"\x01" + frame[5:])  # to be continued
        await client.to_the_end()

    await visit(Toy(), story)
    assert trio.current_time() == pytest.approx(10)


async def test_an_idle_connection_is_closed_after_its_limit_whatever_it_pings(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        await client.get("/hi")

        async def ping() -> None:
            while True:
                await trio.sleep(20)
                client.h2.ping(b"12345678")
                await client.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            await client.to_the_end()
            nursery.cancel_scope.cancel()
        assert client.goaways == [(ErrorCodes.NO_ERROR, 1)]

    await visit(Toy(), story)
    assert trio.current_time() == pytest.approx(75)


async def test_a_long_answer_is_no_idleness(autojump_clock: MockClock) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        await client.ask("/wait")
        await trio.sleep(1000)
        assert app.seen == ["GET /wait"]

    await visit(app, story)
