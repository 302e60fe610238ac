"""How bytes get to a client's socket."""

import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from trio_gateway.serving.fast.hangup import HangupWatch
from trio_gateway.serving.fast.socket_wire import SENDS_IN_A_ROW, SocketWire
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper

if TYPE_CHECKING:
    from trio_gateway.serving.fast.wire import Wire

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux's epoll")


class Nobody:
    is_past_request = True

    def departed(self) -> None:
        """Nobody wants to know."""


async def test_nobody_acts_on_bytes_before_their_send_is_over() -> None:
    """Else who closes with the last byte of an answer would count as having left it."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stalls: DeadlineQueue[Wire] = DeadlineQueue(
        Sweeper(), 30.0, lambda wire: wire.interrupt()
    )
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    wire = SocketWire(stream, Nobody(), HangupWatch(), stalls)
    sent = looks = 0

    async def look() -> None:
        nonlocal looks
        got = 0
        while True:
            await trio.lowlevel.checkpoint()
            looks += 1
            with suppress(BlockingIOError):
                got += len(theirs.recv(1000))
            assert got <= sent

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        for _ in range(5 * SENDS_IN_A_ROW):
            await wire.send(b".")
            sent += 1
        assert looks >= 2  # it has stepped back in between
        nursery.cancel_scope.cancel()
    await wire.close()
    theirs.close()
