"""How many streams there may be, and how their connections end."""

import trio
from h2.errors import ErrorCodes
from trio.testing import MockClock, memory_stream_pair

from tests.serving.http2.client import GET, Answer, Client
from tests.serving.http2.visits import visit
from tests.serving.toy import Receive, Send, Toy, begin, part, until_disconnect
from trio_gateway.serving.http2.frames import STREAMS_MAX
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server


async def test_one_stream_too_many_is_refused_and_may_be_asked_again(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        numbers = [await client.ask("/wait") for _ in range(105)]
        await client.until(lambda: client.answers[numbers[-1]].is_over)
        ends = [client.answers[number].reset for number in numbers]
        assert ends[:100] == [None] * 100
        assert ends[100:] == [ErrorCodes.REFUSED_STREAM] * 5
        await client.leave(numbers[0])
        assert (await client.get("/hi")).is_whole

    await visit(Toy(), story)


async def test_who_leaves_one_may_ask_for_another_in_the_same_packet(
    autojump_clock: MockClock,
) -> None:
    async def story(client: Client) -> None:
        numbers = [await client.ask("/wait") for _ in range(STREAMS_MAX)]
        for number in numbers[:60]:
            client.h2.reset_stream(number, ErrorCodes.CANCEL)
            client.answers[number + 1000] = Answer()
            client.h2.send_headers(number + 1000, GET, end_stream=True)
        await client.flush()
        for number in numbers[:60]:
            assert (await client.answer(number + 1000)).is_whole

    await visit(Toy(), story)


async def test_apps_that_are_slow_to_end_hold_their_places(
    autojump_clock: MockClock,
) -> None:
    running = [0]

    class Slow(Toy):
        async def at_slow(self, receive: Receive, send: Send) -> None:
            running.append(running[-1] + 1)
            await begin(send)
            await part(send, b"x")
            await until_disconnect(receive)
            await trio.sleep(100)
            running.append(running[-1] - 1)

    async def story(client: Client) -> None:
        for _ in range(5):
            numbers = [await client.ask("/slow") for _ in range(60)]
            await client.receive_what_is_there()
            for number in numbers:
                if not client.answers[number].is_over:
                    await client.leave(number)

    await visit(Slow(), story)
    assert max(running) == 2 * STREAMS_MAX
    assert running[-1] == 0


async def test_streams_take_the_places_of_connections(
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    server = Server(app, Limits(connections_max=4), kind="hypercorn")
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        client = await Client(ours).begin()
        numbers = [await client.ask("/wait") for _ in range(5)]
        await client.until(lambda: client.answers[numbers[-1]].is_over)
        assert [client.answers[number].reset for number in numbers] == [
            *([None] * 4),
            ErrorCodes.REFUSED_STREAM,
        ]
        await client.leave(numbers[0])
        assert (await client.get("/hi")).is_whole
        await ours.aclose()


# Draining.


async def test_a_drain_lets_streams_finish_and_begins_none(
    autojump_clock: MockClock,
) -> None:
    app = Toy()
    server = Server(app, kind="hypercorn")
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        client = await Client(ours).begin()
        number = await client.ask("/three")
        await client.part_of(number)
        await server.drain()
        late = await client.ask("/hi")
        assert (await client.answer(late)).reset == ErrorCodes.REFUSED_STREAM
        assert (await client.answer(number)).body == b"xxx"
        await client.to_the_end()
        assert client.goaways[0] == (ErrorCodes.NO_ERROR, number)
        await ours.aclose()
        await server.wait_until_empty()
    assert trio.current_time() < 2
    assert app.seen == ["GET /three"]


async def test_a_drain_closes_the_idle_at_once_with_a_word(
    autojump_clock: MockClock,
) -> None:
    server = Server(Toy(), kind="hypercorn")
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        client = await Client(ours).begin()
        await client.get("/hi")
        await server.drain()
        await client.to_the_end()
        assert {code for code, _ in client.goaways} == {ErrorCodes.NO_ERROR}
        await server.wait_until_empty()
    assert trio.current_time() == 0


async def test_who_is_asked_to_part_may_still_ask(autojump_clock: MockClock) -> None:
    server = Server(Toy(), kind="hypercorn")
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(server.serve_stream, theirs)
        client = await Client(ours).begin()
        await client.get("/hi")
        server.part()
        assert (await client.get("/hi")).is_whole
        await client.until(lambda: bool(client.goaways))
        assert client.goaways[0] == (ErrorCodes.NO_ERROR, 2**31 - 1)
        await ours.aclose()
        await server.wait_until_empty()


async def test_a_client_that_says_goodbye_gets_what_it_has_asked_for(
    autojump_clock: MockClock,
) -> None:
    app = Toy()

    async def story(client: Client) -> None:
        number = await client.ask("/three")
        await client.part_of(number)
        await client.say_goodbye()
        assert (await client.answer(number)).body == b"xxx"
        await client.to_the_end()

    await visit(app, story)
    assert trio.current_time() < 5
