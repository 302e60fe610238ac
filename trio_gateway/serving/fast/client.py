"""The client at the other end of one connection: its bytes, and whether it is there.

Both the loop that awaits requests and the exchange that answers one talk to the client
through this; it knows no HTTP. A client that left, stalled or must not be sent anything
any more stays so: there is no way back.
"""

from collections.abc import Callable

import trio

from trio_gateway.serving.fast.wire import BrokenWireError, Owner, Wire


class Client:
    """One client. `held` is what it sent and nobody has used yet."""

    __slots__ = (
        "has_left",
        "held",
        "is_broken",
        "is_past_request",
        "on_end",
        "scope",
        "wire",
    )

    def __init__(self, wire_to: Callable[[Owner], Wire]) -> None:
        self.wire = wire_to(self)
        self.scope = trio.CancelScope()  # around all that is done for it
        self.held = b""
        self.has_left = False  # or has let us wait for too long
        self.is_past_request = False
        self.is_broken = False  # nothing may be sent any more
        self.on_end: Callable[[], None] | None = None  # called when that becomes true

    def departed(self) -> None:
        """Note that the client is gone, and wake whoever waits for it."""
        if not self.has_left:
            self.has_left = True
            self.wire.interrupt()
            self._break()

    async def read(self) -> bytes:
        """Wait for bytes. None of them: it is gone, or the wire was interrupted.

        What a client that is gone has left behind is not given any more: a wire tells
        of a departure once, and who took bytes with it would wait for others.
        """
        if self.is_broken:
            return b""
        data = await self.wire.receive()
        return b"" if self.is_broken else data

    async def write(self, data: bytes) -> None:
        """Send; where that fails or is cancelled, nothing may ever follow."""
        is_sent = False
        try:
            await self.wire.send(data)
            is_sent = True
        except BrokenWireError:
            self.departed()
        finally:
            if not is_sent:
                self._break()

    def _break(self) -> None:
        self.is_broken = True
        if self.on_end is not None:
            self.on_end()
