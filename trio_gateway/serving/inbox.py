"""What waits between a client's bytes and the code that takes them.

Both classes are bounded queues with one difference from a memory channel: they count
bytes or let the news of a departure overtake what is queued. They know nothing of HTTP.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from hypercorn.typing import ASGIReceiveEvent

# The body's next piece may wait here; more would only be memory held for a slow app.
MESSAGES_MAX: Final = 2


class Inbox:
    """What one request's app will receive; the client's departure goes first."""

    def __init__(self, ask_for_body: Callable[[], Awaitable[None]]) -> None:
        self._ask_for_body = ask_for_body
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._is_over = False
        self._receivers = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Queue a message, waiting for room; a disconnect waits for nothing at all."""
        if message["type"] == "http.disconnect":
            self._is_over = True
            self._receivers.unpark_all()
            self._senders.unpark_all()
            return
        while len(self._messages) >= MESSAGES_MAX and not self._is_over:
            await self._senders.park()
        self._messages.append(message)
        self._receivers.unpark()

    async def receive(self) -> ASGIReceiveEvent:
        """ASGI's `receive`: the next message, or for ever `http.disconnect`."""
        await trio.lowlevel.checkpoint()
        if not self._messages and not self._is_over:
            await self._ask_for_body()
        while not self._messages and not self._is_over:
            await self._receivers.park()
        if self._is_over:
            return {"type": "http.disconnect"}
        self._senders.unpark()
        return self._messages.popleft()


class ReadAhead:
    """Bytes read and not yet parsed, so that a departure behind them is seen."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._is_interrupted = False
        self._takers = trio.lowlevel.ParkingLot()
        self._putters = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether the reader should stop for now."""
        return len(self._held) >= self._bytes_max

    def put(self, data: bytes) -> None:
        """Add bytes; may pass the bound by what one read brings."""
        self._held += data
        self._takers.unpark()

    async def wait_for_room(self) -> None:
        """Wait until it is full no longer."""
        while self.is_full:
            await self._putters.park()

    async def take(self) -> bytes:
        """Take all that is held, waiting for the first byte; none if interrupted."""
        while not self._held and not self._is_interrupted:
            await self._takers.park()
        self._is_interrupted = False
        data = bytes(self._held)
        self._held.clear()
        self._putters.unpark_all()
        return data

    def interrupt(self) -> None:
        """Let `take` return with what is held, if only this once."""
        self._is_interrupted = True
        self._takers.unpark()
