"""Values as bytes between two of our own processes.

They are pickled: both ends are the same program, and nobody else has the socket pair,
which was never given a name. What one end holds is therefore what the other gets: a
policy reaches all workers as the very value that the supervisor has checked.

A message arrives whole or is the last one: half of one would be read as the beginning
of the next. So who is cancelled while it sends still sends the rest.
"""

import pickle
import struct
from typing import Final

import trio

_HEAD: Final = struct.Struct("!I")

# A policy of a thousand models has a few megabytes.
MESSAGE_BYTES_MAX: Final = 256 * 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024

# To make a value of so many takes milliseconds, in which a worker serves nobody: larger
# ones are made in a thread. That of a thousand models took a tenth of a second.
LARGE_BYTES: Final = 16 * 1024

# The other end reads all day: one that does not take the rest in this time hangs.
REST_S: Final = 1.0


class LineError(Exception):
    """What came is no message: the other end is another version, or broken."""


class Line:
    """One end. One task may send while another receives."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._held = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: object) -> None:
        """Send one value; nothing happens if the other end is gone.

        Who is cancelled meanwhile has `REST_S` to send the rest. If that is too short,
        the line ends here, for both ends.
        """
        data = pickle.dumps(message)
        async with self._sending, trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True) as sending:
                nursery.start_soon(_hurry_if_cancelled, sending)
                await self._send_all(_HEAD.pack(len(data)) + data)
            if sending.cancelled_caught:
                await self.aclose()
            nursery.cancel_scope.cancel()

    async def _send_all(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def receive(self) -> object | None:
        """Take the next value; None when the other end is gone.

        Raises:
            LineError: If the bytes are no value.
        """
        head = await self._take(_HEAD.size)
        if head is None:
            return None
        (length,) = _HEAD.unpack(head)
        if length > MESSAGE_BYTES_MAX:
            raise LineError("too long to be a message")
        data = await self._take(length)
        if data is None:
            return None
        try:
            if length > LARGE_BYTES:
                return await trio.to_thread.run_sync(_value_of, data)
            return _value_of(data)
        except Exception as error:
            raise LineError(f"cannot be read: {error!r}") from error

    async def aclose(self) -> None:
        """Close this end, which is the end of the other, too."""
        await trio.aclose_forcefully(self._stream)

    async def _take(self, count: int) -> bytes | None:
        while len(self._held) < count:
            try:
                data = await self._stream.receive_some(_PIECE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._held += data
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


def _value_of(data: bytes) -> object:
    value: object = pickle.loads(data)  # noqa: S301 # our own process's
    return value


async def _hurry_if_cancelled(sending: trio.CancelScope) -> None:
    """Give what is shielded from our cancellation a bound when that comes."""
    try:
        await trio.sleep_forever()
    finally:
        sending.deadline = trio.current_time() + REST_S
