"""News of a client in an awkward moment: with its bytes, or after its last words."""

import pytest
import trio
from trio.testing import MockClock

from tests.serving.test_exchange import FakeWire
from tests.serving.toy import Toy, request
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.connection import Connection
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper
from trio_gateway.serving.limits import Limits


def nothing() -> None:
    """Nobody is told anything."""


class Busy(FakeWire):
    """Something happens as the last bytes are read; then none come, for ever."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.news = nothing
        self.said = b""

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.pieces:
            await trio.sleep_forever()
        if len(self.pieces) == 1:
            self.news()
        return self.pieces.pop(0)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.said += data

    def set_torn(self, *, is_torn: bool) -> None: ...

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        await self.send(data)


def connection_over(wire: Busy, sweeper: Sweeper) -> Connection:
    limits = Limits()
    return Connection(
        Client(lambda _: wire),
        Shared(Toy(), limits, FailureLog(), {}),
        idle=DeadlineQueue(sweeper, limits.idle_s, Connection.end_idleness),
        parting=DeadlineQueue(sweeper, limits.parting_s, Connection.end_idleness),
        heads=DeadlineQueue(sweeper, limits.head_s, Connection.give_up),
        bodies=DeadlineQueue(sweeper, limits.body_s, Exchange.give_up),
    )


async def test_who_leaves_with_its_bytes_is_never_waited_for(
    autojump_clock: MockClock,
) -> None:
    wire = Busy(b"left behind")
    client = Client(lambda _: wire)
    wire.news = client.departed
    with trio.fail_after(1):
        assert await client.read() == b""
        assert await client.read() == b""


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ((b"GET /hi HT", b"TP/1.1\r\n"), b"HTTP/1.1 408 "),
        ((request("/hi", "content-length: 3", method="POST"), b"abc"), b"hi"),
    ],
    ids=["its head", "a body that nobody wants"],
)
async def test_who_sends_more_in_the_moment_of_its_limit_gets_no_second_one(
    pieces: tuple[bytes, ...], said: bytes, autojump_clock: MockClock
) -> None:
    wire = Busy(*pieces)
    connection = connection_over(wire, Sweeper())
    wire.news = connection.give_up
    with trio.fail_after(1):
        await connection.run()
    assert said in wire.said


class Slow(Busy):
    """Its client takes long to hear the last words."""

    def set_torn(self, *, is_torn: bool) -> None: ...

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        await trio.sleep(100)
        await self.send(data)


@pytest.mark.parametrize(
    "pieces", [(b"nonsense\n",), (b"GET /hi HT", b"nonsense\n")], ids=["idle", "head"]
)
async def test_last_words_are_not_interrupted_by_a_limit_that_was_met(
    pieces: tuple[bytes, ...], autojump_clock: MockClock
) -> None:
    wire, sweeper = Slow(*pieces), Sweeper()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await connection_over(wire, sweeper).run()
        nursery.cancel_scope.cancel()
    assert wire.said.startswith(b"HTTP/1.1 400 ")
    assert not wire.interrupted
