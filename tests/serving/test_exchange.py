"""What an exchange leaves behind once its connection has ended: nothing."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.serving.toy import Toy, request
from trio_gateway.serving.addresses import Address
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.head import parse_head
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper
from trio_gateway.serving.limits import Limits


class FakeWire:
    """Brings what it is given, then the end; counts interruptions."""

    scheme = "http"
    client: Address = None
    server: Address = None

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.interrupted = 0

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        await conversation()

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.pieces.pop(0) if self.pieces else b""

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    def interrupt(self) -> None:
        self.interrupted += 1

    def set_torn(self, *, is_torn: bool) -> None: ...

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "pieces",
    [(), (b"not a chunk's size\r\n",), (b"fffff\r\n", b"x" * 200_000)],
    ids=["left", "nonsense", "too long"],
)
async def test_a_body_that_could_not_be_skipped_is_not_waited_for_any_more(
    pieces: tuple[bytes, ...], autojump_clock: MockClock
) -> None:
    limits, wire = Limits(), FakeWire(*pieces)
    sweeper = Sweeper()
    bodies = DeadlineQueue(sweeper, limits.body_s, Exchange.give_up)
    shared = Shared(Toy(), limits, FailureLog(), {})
    head = parse_head(
        request("/early", "transfer-encoding: chunked", method="POST"), limits
    )
    exchange = Exchange(head, Client(lambda _: wire), shared, bodies)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await exchange.run()
        assert not await exchange.skip_body()
        interrupted = wire.interrupted
        await trio.sleep(2 * limits.body_s)
        nursery.cancel_scope.cancel()
    assert wire.interrupted == interrupted, "the socket may be another's by then"


async def test_others_have_their_turn_between_very_many_chunks() -> None:
    pieces = [b"1\r\n \r\n" * 10_000, b"0\r\n\r\n"]
    sweeper, limits, turns = Sweeper(), Limits(), 0
    bodies = DeadlineQueue(sweeper, limits.body_s, Exchange.give_up)
    head = parse_head(
        request("/echo", "transfer-encoding: chunked", method="POST"), limits
    )
    client = Client(lambda _: FakeWire(*pieces))
    exchange = Exchange(head, client, Shared(Toy(), limits, FailureLog(), {}), bodies)
    is_over = False

    async def another() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        size = 0
        while True:
            event = await exchange.receive()
            assert event["type"] == "http.request"
            size += len(event["body"])
            if not event["more_body"]:
                break
        is_over = True
    assert size == 10_000
    assert turns >= 10
