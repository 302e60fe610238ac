"""How the bytes of one connection move: over a socket, over TLS, over any stream.

This is the seam of the pool. A `Link` promises just what a connection needs; two kinds
of it ask the kernel directly and wait only when the kernel says so, which spares Trio's
stream objects, their locks and a checkpoint for every call; the third takes whatever a
`Connect` brings, so that the same pool runs in memory and in virtual time. Of HTTP
nothing is known here.

Rules that all three keep: one task sends and one receives at a time; a link that is
closed while somebody waits on it raises `trio.ClosedResourceError` there; a cancelled
wait leaves nothing behind but a link that is to be closed.
"""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from trio_gateway.upstream.network import at_once, is_readable

# What one read brings at most, and so all that a connection holds of a body that its
# reader does not take: as much as the kernel usually has, and four records of TLS.
READ_BYTES: Final = 64 * 1024


class Link(Protocol):
    """A connected stream of bytes, both ways."""

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        """Send all of it, unless the other end speaks first; return what is left.

        So a request that is refused while its body is on the way need not be sent to
        an end that no longer reads. What it said can be had from `receive_nowait`. Who
        does not heed goes on whatever is said.

        Raises:
            trio.BrokenResourceError: If the other end takes no more.
        """

    async def receive(self) -> bytes:
        """Wait for what one read brings; `b""` is the end.

        Raises:
            trio.BrokenResourceError: If the connection was reset.
        """

    def receive_nowait(self) -> bytes | None:
        """Take what is already here, of it at most one read; None if nothing is."""

    def is_readable(self) -> bool:
        """Say whether an idle link has bytes or its end waiting: it is spent then."""

    def abort(self) -> None:
        """Let whoever waits here raise `trio.ClosedResourceError`; `aclose` follows."""

    async def aclose(self) -> None:
        """Close at once, without a farewell; also inside a cancelled scope, and again.

        HTTP's framing says whether an answer was whole; nobody waits for a goodbye.
        """


class SocketLink:
    """A non-blocking socket: tried first, waited for only when it says so."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._is_closed = False

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        """Send all of it; without a checkpoint where the kernel takes it at once."""
        self._check_open()
        sent = self._send_some(data)
        if sent == len(data):
            return b""
        rest = memoryview(data)[sent:]
        while rest:
            if await _room(self._sock, heeds=heeds):
                return rest
            self._check_open()
            rest = rest[self._send_some(rest) :]
        return rest

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def receive(self) -> bytes:
        """Wait, then read: an answer is hardly ever here before it is asked for."""
        self._check_open()
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    def receive_nowait(self) -> bytes | None:
        """Read what the kernel holds."""
        try:
            return self._sock.recv(READ_BYTES)
        except OSError:
            return None

    def is_readable(self) -> bool:
        """Look without taking."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def abort(self) -> None:
        """Close, and wake whoever waits."""
        if not self._is_closed:
            self._is_closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Close, and wake whoever waits."""
        self.abort()

    def _check_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError


@dataclass(slots=True)
class Tls:
    """How to speak TLS with one host, and the session that the next handshake resumes.

    Resuming saves the certificates, and so most of the milliseconds of a handshake. It
    asks nobody anew whether the certificate is good: a session is therefore of one
    host under one trust, and forgotten where a handshake fails.
    """

    trust: ssl.SSLContext
    host: str
    session: ssl.SSLSession | None = None


class TlsLink:
    """TLS on a non-blocking socket, by OpenSSL itself.

    Half the CPU of `trio.SSLStream`, which moves every byte through buffers in memory,
    and the one way to resume a session. OpenSSL may want to read in order to write and
    the other way round; it says so with an exception, and is then asked once more.
    """

    def __init__(self, sock: ssl.SSLSocket, tls: Tls) -> None:
        self._sock = sock
        self._tls = tls
        self._is_session_kept = False
        self._is_closed = False

    async def handshake(self) -> None:
        """Agree on keys, and see who the other end is.

        Raises:
            OSError: If it fails; `ssl.SSLCertVerificationError` if for the certificate.
        """
        try:
            while True:
                try:
                    return self._sock.do_handshake()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wanted:
                    await self._wait(wanted)
        except OSError:
            self._tls.session = None
            raise

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        """Send all of it; what OpenSSL has begun, it gets again until it is done."""
        self._check_open()
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except ssl.SSLWantReadError as wanted:
                await self._wait(wanted)
            except ssl.SSLWantWriteError:
                if await _room(self._sock, heeds=heeds):
                    return rest
                self._check_open()
            except OSError as error:
                raise trio.BrokenResourceError from error
        return rest

    async def receive(self) -> bytes:
        """Wait, unless OpenSSL holds decrypted bytes, then read.

        An end without TLS's farewell counts as an end. Many servers close like this,
        and what it may have cut off shows: HTTP's lengths and chunks, and above them
        JSON and a stream's last words, are all unfinished then.
        """
        self._check_open()
        if not self._sock.pending():
            await trio.lowlevel.wait_readable(self._sock)
        while True:
            try:
                data = self._sock.recv(READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wanted:
                await self._wait(wanted)
            except OSError as error:
                raise trio.BrokenResourceError from error
            else:
                self._keep_session()
                return data

    def receive_nowait(self) -> bytes | None:
        """Read what has come, if it makes a whole record."""
        try:
            return self._sock.recv(READ_BYTES)
        except OSError:
            return None

    def is_readable(self) -> bool:
        """Try to read: tickets and the like are TLS's own, and no sign of an end."""
        try:
            self._sock.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            pass
        return True

    def abort(self) -> None:
        """Close, and wake whoever waits."""
        if not self._is_closed:
            self._is_closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Close, and wake whoever waits."""
        self.abort()

    def _keep_session(self) -> None:
        """Keep what the next handshake may resume; TLS 1.3 tells it after its own."""
        if not self._is_session_kept:
            self._is_session_kept = True
            self._tls.session = self._sock.session

    async def _wait(self, wanted: OSError) -> None:
        if isinstance(wanted, ssl.SSLWantReadError):
            await trio.lowlevel.wait_readable(self._sock)
        else:
            await trio.lowlevel.wait_writable(self._sock)

    def _check_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError


async def _room(sock: socket.socket, *, heeds: bool) -> bool:
    """Wait until a socket can be written to; True if there is news to heed instead."""
    if heeds:
        return await _room_or_news(sock)
    await trio.lowlevel.wait_writable(sock)
    return False


async def _room_or_news(sock: socket.socket) -> bool:
    """Wait until a socket can be written to, can be read, or is closed.

    Returns:
        Whether it can be read. A close shows at the next use.
    """
    news = False

    async def wait_for_news(room: trio.CancelScope) -> None:
        nonlocal news
        with suppress(trio.ClosedResourceError):
            if sock.fileno() >= 0:  # else it was closed before this task began
                await trio.lowlevel.wait_readable(sock)
                news = True
        room.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_news, nursery.cancel_scope)
        with suppress(trio.ClosedResourceError):
            await trio.lowlevel.wait_writable(sock)
        nursery.cancel_scope.cancel()
    return news


async def secure_socket(sock: socket.socket, tls: Tls) -> TlsLink:
    """Put TLS on a connected socket, which is closed if that fails.

    Raises:
        OSError: If it fails; `ssl.SSLCertVerificationError` if for the certificate.
    """
    try:
        wrapped = tls.trust.wrap_socket(
            sock,
            server_hostname=tls.host,
            do_handshake_on_connect=False,
            session=tls.session,
        )
    except BaseException:
        sock.close()
        raise
    link = TlsLink(wrapped, tls)
    try:
        await link.handshake()
    except BaseException:
        await link.aclose()
        raise
    return link


class StreamLink:
    """Any of Trio's byte streams, through its own methods."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._wait = trio.CancelScope()
        self._is_aborted = False

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        """Send all of it: these streams do not tell whether the other end speaks."""
        with self._waiting():
            await self._stream.send_all(data)
            return b""
        raise trio.ClosedResourceError

    async def receive(self) -> bytes:
        """Wait for what one read brings."""
        with self._waiting():
            return bytes(await self._stream.receive_some(READ_BYTES))
        raise trio.ClosedResourceError

    def _waiting(self) -> trio.CancelScope:
        self._wait = trio.CancelScope()
        if self._is_aborted:
            self._wait.cancel()
        return self._wait

    def receive_nowait(self) -> bytes | None:
        """Take nothing: Trio's streams have no such thing as a read without a wait."""
        return None

    def is_readable(self) -> bool:
        """Ask the stream, if it can tell."""
        return is_readable(self._stream)

    def abort(self) -> None:
        """Wake whoever waits; these streams close with an `await` alone."""
        self._is_aborted = True
        self._wait.cancel()

    async def aclose(self) -> None:
        """Close without waiting."""
        with at_once(), suppress(trio.BrokenResourceError):
            await self._stream.aclose()
