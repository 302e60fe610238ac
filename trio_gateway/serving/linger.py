"""The end of a connection, where a plain close would destroy our last answer, or lie.

A client that still sends when we close makes the kernel reset the connection, and a
reset takes with it what the client has not read yet. Most clients read nothing before
they have sent all they have, however early the answer. So we say that nothing more will
come, and read for a while what still does, without looking at it.

An answer in HTTP/1.0 that is streamed ends with the connection, so a connection that is
closed in its middle says that it is whole. There a reset is what we want, whoever
closes: we, or the kernel after a process was killed.
"""

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final, Protocol

import trio

# Bounds of that while, as other servers have them: a pause, and all of it.
PAUSE_S: Final = 2.0
LINGER_S: Final = 30.0
# Thrice the largest body that a gateway takes unless it is told otherwise: what is
# refused for its size is seldom larger, and reading it costs next to nothing.
LINGER_BYTES_MAX: Final = 64 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024

# What we have sent has so long to arrive before a reset would overtake it.
ARRIVAL_S: Final = 1.0
_LOOK_AGAIN_S: Final = (0.001, 0.05)  # at first, and at last

# What a polite close takes before and after that: the end of a send, TLS's goodbye.
CLOSE_GRACE_S: Final = 3.0


class Lingering:
    """Keeps the bounds of one such while, which begins when this is made.

    Wait for more within `pause`, which ends when they are reached.
    """

    def __init__(self) -> None:
        now = trio.current_time()
        self._by = now + LINGER_S
        self._left = LINGER_BYTES_MAX
        self.pause = trio.CancelScope(deadline=now + PAUSE_S)

    def go_on(self, size: int) -> bool:
        """Count what came; False where that is enough."""
        self._left -= size
        self.pause.deadline = min(self._by, trio.current_time() + PAUSE_S)
        return self._left > 0


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more will come, and read for a while what still does.

    Bounded in time and bytes. Does not close, and never raises but `trio.Cancelled`.
    """
    lingering = Lingering()
    with lingering.pause:
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while data := await stream.receive_some(PIECE_BYTES):
                if not lingering.go_on(len(data)):
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def say_goodbye(stream: trio.abc.Stream) -> None:
    """Close a stream; one of TLS with its farewell, and when the other side has heard.

    Without that, a client must take the end for a cut. To be bounded in time; never
    raises but `trio.Cancelled`.
    """
    transport = (
        stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    )
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        try:
            if isinstance(stream, trio.SSLStream):
                await stream.unwrap()
        finally:
            await transport.aclose()


async def linger_at(sock: socket.socket) -> None:
    """Do as `linger` does, on a socket that blocks nobody.

    Shut down, one of TLS is a plain one: what comes is not even deciphered.
    """
    lingering = Lingering()
    with lingering.pause, suppress(OSError, trio.ClosedResourceError):
        sock.shutdown(socket.SHUT_WR)
        while True:
            await trio.lowlevel.wait_readable(sock)
            with suppress(BlockingIOError):
                data = sock.recv(PIECE_BYTES)
                if not data or not lingering.go_on(len(data)):
                    return


class AnySocket(Protocol):
    """The library's, or Trio's."""

    def fileno(self) -> int: ...  # noqa: D102
    def setsockopt(self, level: int, name: int, value: bytes, /) -> None: ...  # noqa: D102


def socket_under(stream: object) -> AnySocket | None:
    """Find the socket that a stream goes over; one in memory has none."""
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


def reset_at_close(sock: AnySocket, *, resets: bool) -> None:
    """Say whether a close of this socket, by whomever, resets the connection."""
    with suppress(OSError):
        how = struct.pack("ii", resets, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)


async def arrival(sock: AnySocket) -> None:
    """Wait until the other side has what was sent, but not for long."""
    pause_s, longest_s = _LOOK_AGAIN_S
    with trio.move_on_after(ARRIVAL_S), suppress(OSError):
        while _is_on_its_way(sock):  # the kernel does not tell
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)


def _is_on_its_way(sock: AnySocket) -> bool:
    return any(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
