"""The line between supervisor and worker, over streams in memory."""

import pickle
import struct
import threading

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.factories import a_policy, a_route
from trio_gateway.serving.workers.line import (
    LARGE_BYTES,
    MESSAGE_BYTES_MAX,
    REST_S,
    Line,
    LineError,
)
from trio_gateway.serving.workers.messages import Ready, Tell


def a_line() -> tuple[Line, Line]:
    ours, theirs = trio.testing.lockstep_stream_pair()
    return Line(ours), Line(theirs)


class Narrow(trio.abc.SendStream):
    """Takes a byte at a time, and each takes its while."""

    def __init__(self, wide: trio.abc.SendStream, byte_s: float) -> None:
        self._wide = wide
        self._byte_s = byte_s

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for byte in bytes(data):
            await trio.sleep(self._byte_s)
            await self._wide.send_all(bytes([byte]))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._wide.aclose()


def a_narrow_line(byte_s: float) -> tuple[Line, Line]:
    ours, theirs = trio.testing.memory_stream_pair()
    narrow = Narrow(ours.send_stream, byte_s)
    return Line(trio.StapledStream(narrow, ours.receive_stream)), Line(theirs)


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


def thread_of(_: str) -> int:
    """Where a value is made of its bytes."""
    return threading.get_ident()


class Elsewhere:
    """A value that becomes another one at the other end."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __reduce__(self) -> tuple[object, ...]:
        return thread_of, ("x" * self._size,)


async def test_a_large_value_holds_up_nobody_while_it_is_made() -> None:
    ours, theirs = a_line()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send, Elsewhere(1))
        assert await theirs.receive() == threading.get_ident()
        nursery.start_soon(ours.send, Elsewhere(LARGE_BYTES))
        assert await theirs.receive() != threading.get_ident()


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


WORDS = "x" * 1000


async def test_of_a_message_that_has_begun_the_rest_follows_its_senders_cancellation(
    autojump_clock: MockClock,
) -> None:
    here, there = a_narrow_line(byte_s=REST_S / 2000)
    with trio.move_on_after(REST_S / 10) as sending:
        await here.send(WORDS)
    assert sending.cancelled_caught
    await here.send("farewell")
    await here.aclose()
    assert [await there.receive() for _ in range(3)] == [WORDS, "farewell", None]


async def test_a_message_whose_rest_cannot_follow_in_time_is_the_last_one(
    autojump_clock: MockClock,
) -> None:
    here, there = a_narrow_line(byte_s=REST_S / 500)
    with trio.move_on_after(REST_S / 10):
        await here.send(WORDS)
    assert trio.current_time() == pytest.approx(REST_S / 10 + REST_S)
    await here.send("farewell")
    assert await there.receive() is None
    assert await here.receive() is None


async def test_who_is_not_cancelled_may_send_for_long(
    autojump_clock: MockClock,
) -> None:
    here, there = a_narrow_line(byte_s=REST_S / 10)
    await here.send(WORDS)
    assert await there.receive() == WORDS


async def test_who_is_cancelled_while_another_sends_has_sent_nothing(
    autojump_clock: MockClock,
) -> None:
    here, there = a_narrow_line(byte_s=REST_S / 2000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.send, WORDS)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(REST_S / 10):
            await here.send("never")
    await here.aclose()
    assert [await there.receive() for _ in range(2)] == [WORDS, None]
