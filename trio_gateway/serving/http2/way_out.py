"""What one connection has to send: frames in their order, and whose turn it is.

One task writes. So whoever reads the client's frames never waits for the socket, and
sees a departure also while the client takes nothing. An app that sends waits, for three
things: that the client has opened its stream's window and the connection's, that there
is room here, and that its piece is out. Each then sends one frame, so all streams have
their turns, and none can fill the memory.

A client that takes nothing is given up at the same limit as in HTTP/1.1: a piece of an
answer that is not out in time ends its stream, a socket that takes nothing all of them.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trio_gateway.serving.http2.calm import EARNED_BY_FRAME
from trio_gateway.serving.http2.frames import Frames
from trio_gateway.serving.limits import Limits

# As in HTTP/1.1, headway is judged by pieces of this size; also h2's smallest frame.
PIECE_BYTES: Final = 16 * 1024

# Apps wait while so much is held, of which the rest are answers to the client's frames.
HELD_BYTES_MAX: Final = 64 * 1024


class WayOut:
    """The bytes of one connection that are not sent yet, and who waits for them."""

    def __init__(self, frames: Frames, limits: Limits) -> None:
        self.frames: Final = frames
        self._limits = limits
        self._held = bytearray()
        self._queued = 0  # bytes, ever
        self._written = 0
        self._is_closed = False
        self._writer = trio.lowlevel.ParkingLot()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def is_flooded(self) -> bool:
        """Whether the client asks for more words than it takes."""
        return len(self._held) > self._limits.ahead_bytes_max

    # The writer.

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Write until closed; what `send` cannot send is lost."""
        while not self._is_closed:
            if not self._held:
                await self._writer.park()
                continue
            data, self._held = bytes(self._held), bytearray()
            await send(data)
            self._written += len(data)
            self.notice()

    def flush(self) -> None:
        """Have everything written that h2 has to say."""
        data = self.frames.data_to_send()
        if data and not self._is_closed:
            self._held += data
            self._queued += len(data)
            self._writer.unpark()

    def notice(self) -> None:
        """Let all who wait look again: windows have changed, or streams ended."""
        self._waiting.unpark_all()

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._writer.unpark()
        self.notice()

    async def written(self) -> None:
        """Wait until all that is held now is written."""
        mark = self._queued
        while self._written < mark and not self._is_closed:
            await self._waiting.park()

    # What streams send.

    async def send_fields(
        self, stream_id: int, fields: list[tuple[bytes, bytes]]
    ) -> bool:
        """Send a head; False if its stream has ended, or it was not out in time."""
        with trio.move_on_after(self._limits.stall_s) as patience:
            while self.frames.is_open(stream_id) and self._is_full:
                await self._waiting.park()
            if self.frames.is_open(stream_id):
                self.frames.send_headers(stream_id, fields)
                await self._out(stream_id)
        return not patience.cancelled_caught and self.frames.is_open(stream_id)

    async def send_data(self, stream_id: int, data: bytes) -> bool:
        """Send some of a body; False if its stream has ended, or it was not in time."""
        rest = memoryview(data)
        while rest:
            with trio.move_on_after(self._limits.stall_s) as patience:
                await self._send_piece(stream_id, rest[:PIECE_BYTES])
            if patience.cancelled_caught or not self.frames.is_open(stream_id):
                return False
            rest = rest[PIECE_BYTES:]
        return True

    async def _send_piece(self, stream_id: int, rest: memoryview) -> None:
        while rest and (size := await self._room(stream_id)):
            self.frames.send_data(stream_id, bytes(rest[:size]))
            self.frames.calm.earn(EARNED_BY_FRAME)
            await self._out(stream_id)
            rest = rest[size:]

    async def _room(self, stream_id: int) -> int:
        """Wait until some of a body may be sent; 0 if its stream has ended."""
        while self.frames.is_open(stream_id):
            window = self.frames.local_flow_control_window(stream_id)
            if window > 0 and not self._is_full:
                return window
            await self._waiting.park()
        return 0

    @property
    def _is_full(self) -> bool:
        return len(self._held) >= HELD_BYTES_MAX

    async def _out(self, stream_id: int) -> None:
        """Wait until what was framed is written, or nobody is there to hear it."""
        self.flush()
        mark = self._queued
        while self._written < mark and self.frames.is_open(stream_id):
            if self._is_closed:
                return
            await self._waiting.park()
