"""What one stream's app will receive: a body that never waits to be taken.

The client's window bounds what it holds, so whoever reads the connection's frames puts
things here without waiting, and no app can hold back another one's frames. The window
is opened again by what the app takes.
"""

from collections.abc import Awaitable, Callable

import trio
from hypercorn.typing import ASGIReceiveEvent


class StreamInbox:
    """The rest of one request; the client's departure goes first."""

    def __init__(
        self,
        ask_for_body: Callable[[], Awaitable[None]],
        on_taken: Callable[[int], None],
    ) -> None:
        self._ask_for_body = ask_for_body
        self._on_taken = on_taken
        self._held = bytearray()
        self._is_complete = False
        self._is_told = False  # the app knows that it is complete
        self._is_over = False
        self._receivers = trio.lowlevel.ParkingLot()

    def put(self, data: bytes) -> None:
        """Add some of the body."""
        if not self._is_over:
            self._held += data
            self._receivers.unpark_all()

    def complete(self) -> None:
        """Note that this was all of it."""
        self._is_complete = True
        self._receivers.unpark_all()

    def end(self) -> None:
        """Tell the app that the client has left, or its answer is out."""
        self._is_over = True
        self._give_out()
        self._receivers.unpark_all()

    async def receive(self) -> ASGIReceiveEvent:
        """ASGI's `receive`: the body as it comes, then for ever `http.disconnect`."""
        await trio.lowlevel.checkpoint()
        if not (self._has_news or self._is_over):
            await self._ask_for_body()
        while not (self._has_news or self._is_over):
            await self._receivers.park()
        if self._is_over:
            return {"type": "http.disconnect"}
        self._is_told = self._is_complete
        return {
            "type": "http.request",
            "body": self._give_out(),
            "more_body": not self._is_complete,
        }

    def _give_out(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        self._on_taken(len(data))
        return data

    @property
    def _has_news(self) -> bool:
        return bool(self._held) or (self._is_complete and not self._is_told)
