"""The line between supervisor and worker, over streams in memory."""

import pickle
import struct

import pytest
import trio
import trio.testing

from tests.factories import a_policy, a_route
from trio_gateway.serving.workers.line import MESSAGE_BYTES_MAX, Line, LineError
from trio_gateway.serving.workers.messages import Ready, Tell


def a_line() -> tuple[Line, Line]:
    ours, theirs = trio.testing.lockstep_stream_pair()
    return Line(ours), Line(theirs)


async def test_a_policy_arrives_as_the_value_that_was_sent() -> None:
    here, there = a_line()
    policy = a_policy(a_route("ab"), a_route("bc", slug="other"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.send, Tell(policy))
        got = await there.receive()
    assert isinstance(got, Tell)
    assert got.order == policy


async def test_values_arrive_in_order_until_the_other_end_is_gone() -> None:
    here, there = a_line()

    async def talk() -> None:
        for number in range(100):
            await here.send(number)
        await here.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)
        assert [await there.receive() for _ in range(100)] == list(range(100))
        assert await there.receive() is None


async def test_half_a_value_is_the_end_and_no_value() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    data = pickle.dumps(Ready())
    await ours.send_all(struct.pack("!I", len(data)) + data[:-1])
    await ours.aclose()
    assert await Line(theirs).receive() is None


async def test_nobody_is_there_to_be_told_and_that_is_no_error() -> None:
    here, there = a_line()
    await there.aclose()
    await here.send(Ready())
    assert await here.receive() is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!I", 3) + b"abc",
        struct.pack("!I", MESSAGE_BYTES_MAX + 1),
    ],
)
async def test_what_is_no_message_is_an_error(data: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(data)
    with pytest.raises(LineError):
        await Line(theirs).receive()
