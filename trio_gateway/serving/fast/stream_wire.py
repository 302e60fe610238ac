"""A wire over any Trio stream: memory, TLS in memory, or where no socket is watched.

A stream only tells of a departure to who reads it, so one task reads ahead, into a
bounded buffer, as long as the connection lives.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trio_gateway.serving.addresses import addresses
from trio_gateway.serving.fast.sweeper import DeadlineQueue
from trio_gateway.serving.fast.wire import BrokenWireError, Owner, Wire
from trio_gateway.serving.handshakes import Handshakes
from trio_gateway.serving.inbox import ReadAhead
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import (
    CLOSE_GRACE_S,
    arrival,
    linger,
    reset_at_close,
    say_goodbye,
    socket_under,
)
from trio_gateway.serving.tls import shake_hands

RECEIVE_BYTES: Final = 64 * 1024

# Headway of a large send is judged by pieces of this size: with the default limit of
# 30 s, a client slower than 0.5 kB/s counts as stalled.
PIECE_BYTES: Final = 16 * 1024


class StreamWire:
    """A client's stream, which it owns."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        owner: Owner,
        limits: Limits,
        stalls: DeadlineQueue[Wire],
        handshakes: Handshakes | None = None,
    ) -> None:
        self._stream = stream
        self._owner = owner
        self._limits = limits
        self._stalls = stalls
        self._handshakes = handshakes  # there are some with TLS
        self._ahead = ReadAhead(limits.ahead_bytes_max)
        self._sending = trio.CancelScope()
        self._greeting = trio.CancelScope()
        self._is_torn = False
        transport: object = stream
        self.scheme = "http"
        if isinstance(stream, trio.SSLStream):
            self.scheme = "https"
            transport = stream.transport_stream
        self.client, self.server = addresses(transport)

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        """Shake hands, run a conversation, and read ahead meanwhile."""
        try:
            limit_s, noted = self._limits.handshake_s, self._handshakes
            if await shake_hands(self._stream, limit_s, self._greeting, noted):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read_ahead)
                    await conversation()
                    nursery.cancel_scope.cancel()
        finally:
            self._stalls.leave(self)

    async def _read_ahead(self) -> None:
        while data := await self._receive_some():
            self._ahead.put(data)
            if self._ahead.is_full:
                if self._owner.is_past_request:
                    break  # no client of ours sends so much that we did not ask for
                await self._ahead.wait_for_room()
        self._owner.departed()

    async def _receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def receive(self) -> bytes:
        """Wait for bytes; see `Wire`."""
        return await self._ahead.take()

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Wire`."""
        rest = memoryview(data)
        try:
            with trio.CancelScope() as self._sending:
                while rest:
                    self._stalls.enter(self)
                    await self._stream.send_all(rest[:PIECE_BYTES])
                    rest = rest[PIECE_BYTES:]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise BrokenWireError from None
        finally:
            self._stalls.leave(self)
        if rest:
            raise BrokenWireError

    def interrupt(self) -> None:
        """Wake whoever waits in `receive` or `send`; see `Wire`."""
        self._greeting.cancel()
        self._ahead.interrupt()
        self._sending.cancel()

    def set_torn(self, *, is_torn: bool) -> None:
        """Let a close be a reset, or not; see `Wire`. There is none in memory."""
        sock = socket_under(self._stream)
        if is_torn is not self._is_torn and sock is not None:
            self._is_torn = is_torn
            reset_at_close(sock, resets=is_torn)

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        """Send what is given and close politely; see `Wire`."""
        sock = socket_under(self._stream)
        if self._is_torn and sock is not None:
            await arrival(sock)
            return
        try:
            with trio.move_on_after(CLOSE_GRACE_S) as sending:
                if data:
                    await self._stream.send_all(data)
            if sending.cancelled_caught:
                return
            if must_linger or self._ahead:
                await linger(self._stream)
            with trio.move_on_after(CLOSE_GRACE_S):
                await say_goodbye(self._stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client did not wait for it

    async def close(self) -> None:
        """Close at once; see `Wire`."""
        await trio.aclose_forcefully(self._stream)
