"""A wire that is a plain socket: the way that most bytes go.

Trio's stream waits politely around each call; here a send is tried first and waits only
where the kernel is full, and what cannot block is not asked. The price is that a send
may return without having let others run, so every few sends do that on purpose.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from trio_gateway.serving.addresses import addresses_of
from trio_gateway.serving.fast.hangup import HangupWatch
from trio_gateway.serving.fast.sweeper import DeadlineQueue
from trio_gateway.serving.fast.wire import BrokenWireError, Owner, Wire
from trio_gateway.serving.linger import (
    CLOSE_GRACE_S,
    arrival,
    linger_at,
    reset_at_close,
)

RECEIVE_BYTES: Final = 64 * 1024

# Headway of a large send is judged by this much: with the default limit of 30 s, a
# client slower than 0.5 kB/s counts as stalled.
HEADWAY_BYTES: Final = 16 * 1024

SENDS_IN_A_ROW: Final = 16


class Turns:
    """Turns at sending, of which one in `SENDS_IN_A_ROW` waits until others had theirs.

    An app that streams from memory to a quick reader never waits by itself. This is
    rare enough to cost nothing, and often enough for a loop of milliseconds. It is
    taken before a send, not behind it: a client that leaves with the last byte would
    count as one that left before it, were its departure told before the send is over.
    """

    __slots__ = ("_in_a_row",)

    def __init__(self) -> None:
        self._in_a_row = 0

    async def take(self) -> None:
        """Go on, unless cancelled; now and then let others run first."""
        if self._in_a_row < SENDS_IN_A_ROW:
            self._in_a_row += 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._in_a_row = 0
            await trio.lowlevel.checkpoint()


class SocketWire:
    """A client's socket, which it owns."""

    scheme = "http"

    def __init__(
        self,
        stream: trio.SocketStream,
        owner: Owner,
        watch: HangupWatch,
        stalls: DeadlineQueue[Wire],
    ) -> None:
        self._sock = take_over(stream.socket)
        self._fd = self._sock.fileno()
        self._owner = owner
        self._watch = watch
        self._stalls = stalls
        self._turns = Turns()
        self._is_interrupted = False
        self._is_torn = False
        self.client, self.server = addresses_of(self._sock)

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        """Run a conversation and watch for the client's departure meanwhile."""
        self._watch.add(self._fd, self._owner.departed)
        try:
            await conversation()
        finally:
            self._watch.forget(self._fd)
            self._stalls.leave(self)

    async def receive(self) -> bytes:
        """Wait for bytes; see `Wire`."""
        while True:
            try:
                if not self._is_interrupted:
                    await trio.lowlevel.wait_readable(self._fd)
            except trio.ClosedResourceError:
                pass  # interrupted: what has come meanwhile is not lost
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                if not self._is_interrupted:
                    continue
                data = b""
            except OSError:
                data = b""
            self._is_interrupted = False
            return data

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Wire`."""
        await self._turns.take()
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            raise BrokenWireError from None
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:])

    async def _send_rest(self, rest: memoryview) -> None:
        """Send what the kernel had no room for, as the client makes room."""
        headway = HEADWAY_BYTES
        try:
            while rest:
                if headway >= HEADWAY_BYTES:
                    headway = 0
                    self._stalls.enter(self)
                sent = await self._send_some(rest)
                headway += sent
                rest = rest[sent:]
        finally:
            self._stalls.leave(self)

    async def _send_some(self, data: memoryview) -> int:
        if self._is_interrupted:
            raise BrokenWireError
        try:
            await trio.lowlevel.wait_writable(self._fd)
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except (OSError, trio.ClosedResourceError):
            raise BrokenWireError from None

    def interrupt(self) -> None:
        """Wake whoever waits in `receive` or `send`; see `Wire`."""
        self._is_interrupted = True
        trio.lowlevel.notify_closing(self._fd)

    def set_torn(self, *, is_torn: bool) -> None:
        """Let a close be a reset, or not; see `Wire`."""
        if is_torn is not self._is_torn:
            self._is_torn = is_torn
            reset_at_close(self._sock, resets=is_torn)

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        """Send what is given and close politely; see `Wire`."""
        if self._is_torn:
            await arrival(self._sock)
            return
        self._is_interrupted = False
        with suppress(BrokenWireError, OSError):  # the client did not wait for it
            with trio.move_on_after(CLOSE_GRACE_S) as sending:
                if data:
                    await self._send_rest(memoryview(data))
            if sending.cancelled_caught:
                return
            if must_linger or self._has_unread():
                await linger_at(self._sock)

    def _has_unread(self) -> bool:
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    async def close(self) -> None:
        """Close at once; see `Wire`."""
        trio.lowlevel.notify_closing(self._fd)
        self._sock.close()


def take_over(theirs: trio.socket.SocketType) -> socket.socket:
    """Take a socket from Trio, for one who does not block it, and closes it."""
    family, kind, proto = theirs.family, theirs.type, theirs.proto
    sock = socket.socket(family, kind, proto, fileno=theirs.detach())
    sock.setblocking(False)  # noqa: FBT003 # as the library has it
    return sock
