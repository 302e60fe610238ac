"""A wire that is TLS on a socket, by OpenSSL itself.

Trio's TLS moves every byte through buffers in memory, and takes locks around that; here
OpenSSL has the socket, a send is tried first and waits only where the kernel is full,
and no task reads ahead: the watch calls when bytes have come. A departure shows in one
of two ways: the connection is closed or half-closed, or TLS's farewell has come, which
some clients send long before they close.

Beside a plain socket, a whole answer of `serve` takes 9 % more CPU, and a stream of 50
chunks 3 % (by Trio's TLS 27 % and 64 %). A new connection costs a millisecond more, the
half of which is OpenSSL's own work on a handshake.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import trio

from trio_gateway.serving.addresses import addresses_of
from trio_gateway.serving.fast.hangup import HangupWatch
from trio_gateway.serving.fast.socket_wire import Turns, take_over
from trio_gateway.serving.fast.sweeper import DeadlineQueue
from trio_gateway.serving.fast.wire import BrokenWireError, Owner, Wire
from trio_gateway.serving.handshakes import Reason
from trio_gateway.serving.inbox import ReadAhead
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import (
    CLOSE_GRACE_S,
    arrival,
    linger_at,
    reset_at_close,
)
from trio_gateway.serving.tls import PLAIN_GRACE_S, Tls, plain_refusal

# One record of TLS, which is what OpenSSL gives and takes at once. Headway of a large
# send is judged by this much: with the default limit of 30 s, a client slower than
# 0.5 kB/s counts as stalled.
RECORD_BYTES: Final = 16 * 1024


class TlsWire:
    """A client's socket, which it owns."""

    scheme = "https"

    def __init__(
        self,
        stream: trio.SocketStream,
        tls: Tls,
        owner: Owner,
        limits: Limits,
        watch: HangupWatch,
        stalls: DeadlineQueue[Wire],
    ) -> None:
        self._sock = take_over(stream.socket)
        self._fd = self._sock.fileno()
        self._context = tls.context
        self._handshakes = tls.handshakes
        self._owner = owner
        self._handshake_s = limits.handshake_s
        self._watch = watch
        self._stalls = stalls
        self._ahead = ReadAhead(limits.ahead_bytes_max)
        self._is_agreed = False  # on keys
        self._is_torn = False
        self._is_stopped = False  # there is more to be read, and no room for it
        self._turns = Turns()
        self._greeting = trio.CancelScope()
        self.client, self.server = addresses_of(self._sock)

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        """Shake hands, run a conversation, and read ahead meanwhile."""
        if not await self._shake_hands():
            return
        self._watch.add(self._fd, self._owner.departed, on_bytes=self._read)
        try:
            await conversation()
        finally:
            self._watch.forget(self._fd)
            self._stalls.leave(self)

    async def _shake_hands(self) -> bool:
        if self.client is None:  # it has already left
            return False
        self._greeting.deadline = trio.current_time() + self._handshake_s
        with self._greeting:
            try:
                self._tls = self._sock = self._context.wrap_socket(
                    self._sock, server_side=True, do_handshake_on_connect=False
                )
                return await self._agree()
            except OSError as error:
                reason = self._handshakes.failed(error, self.client)
                if reason is Reason.PLAIN_HTTP:
                    await self._tell_plain()
                return False
        if self._greeting.deadline <= trio.current_time():
            self._handshakes.failed(None, self.client)
        return False

    async def _agree(self) -> bool:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._fd)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._fd)
            else:
                self._is_agreed = True
                return True

    async def _tell_plain(self) -> None:
        with trio.move_on_after(PLAIN_GRACE_S), suppress(OSError):
            _bare(self._tls).send(plain_refusal())
            await linger_at(self._sock)

    # Receiving.

    def _read(self) -> None:
        """Take what has come; there is no other word of it."""
        ahead = self._ahead
        while not ahead.is_full:
            try:
                data = self._tls.recv(RECORD_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self._owner.departed()
                return
            ahead.put(data)
        self._is_stopped = True
        if self._owner.is_past_request:
            self._owner.departed()  # no client of ours sends so much unasked

    async def receive(self) -> bytes:
        """Wait for bytes; see `Wire`."""
        data = await self._ahead.take()
        if self._is_stopped:
            self._is_stopped = False
            self._read()
        return data

    # Sending.

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Wire`."""
        await self._turns.take()
        sent = self._write(data) if len(data) <= RECORD_BYTES else 0
        if sent < len(data):
            await self._send_records(memoryview(data)[sent:])

    async def _send_records(self, rest: memoryview) -> None:
        """Send record by record; what OpenSSL has begun, it gets again until done."""
        try:
            self._stalls.enter(self)
            while rest:
                sent = self._write(rest[:RECORD_BYTES])
                if sent:
                    rest = rest[sent:]
                    self._stalls.enter(self)
                else:
                    await self._wait_for_room()
        finally:
            self._stalls.leave(self)

    def _write(self, record: bytes | memoryview) -> int:
        """Send at most one record, and say how much; nothing where there is no room.

        A client that asked for short records gets less at once.
        """
        try:
            return self._tls.send(record)
        except ssl.SSLWantWriteError:
            return 0
        except OSError:
            raise BrokenWireError from None

    async def _wait_for_room(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._fd)
        except trio.ClosedResourceError:
            raise BrokenWireError from None

    def interrupt(self) -> None:
        """Wake whoever waits in `receive` or `send`; see `Wire`."""
        self._greeting.cancel()
        self._ahead.interrupt()
        trio.lowlevel.notify_closing(self._fd)

    # The end.

    def set_torn(self, *, is_torn: bool) -> None:
        """Let a close be a reset, or not; see `Wire`."""
        if is_torn is not self._is_torn:
            self._is_torn = is_torn
            reset_at_close(self._sock, resets=is_torn)

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        """Send what is given and close politely; see `Wire`."""
        if self._is_torn:  # TLS's farewell would say that all is said
            await arrival(self._sock)
            return
        if not self._is_agreed:
            return
        with suppress(OSError, BrokenWireError):
            with trio.move_on_after(CLOSE_GRACE_S) as sending:
                if data:
                    await self._send_records(memoryview(data))
            if sending.cancelled_caught:
                return
            with suppress(OSError):  # of which one says that there is no answer yet
                self._tls.unwrap()  # TLS's farewell
            if must_linger or self._ahead or self._has_unread():
                await linger_at(self._sock)

    def _has_unread(self) -> bool:
        try:
            return bool(_bare(self._tls).recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    async def close(self) -> None:
        """Close at once; see `Wire`."""
        if self._sock.fileno() == self._fd:
            trio.lowlevel.notify_closing(self._fd)
            self._sock.close()


class _Bare(Protocol):
    def send(self, data: bytes, /) -> int: ...
    def recv(self, size: int, flags: int = 0, /) -> bytes: ...


def _bare(sock: ssl.SSLSocket) -> _Bare:
    """The same socket without TLS, for what is outside of it."""
    bare: _Bare = super(ssl.SSLSocket, sock)  # type: ignore[assignment] # as it is
    return bare
