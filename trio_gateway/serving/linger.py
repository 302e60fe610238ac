"""The polite end of a connection, where a plain close would destroy our last answer.

A client that still sends when we close makes the kernel reset the connection, and a
reset takes with it what the client has not read yet. So we say that nothing more will
come, and read for a moment what still does, without looking at it.
"""

import socket
from contextlib import suppress
from typing import Final

import trio

# Bounds of that moment: what an honest client has in flight, not a whole upload.
LINGER_S: Final = 2.0
LINGER_BYTES_MAX: Final = 1024 * 1024
PIECE_BYTES: Final = 64 * 1024

# All of a polite close: the end of a send, lingering, the goodbye of TLS.
CLOSE_GRACE_S: Final = 3.0


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more will come, and read for a moment what still does.

    Bounded in time and bytes. Does not close, and never raises but `trio.Cancelled`.
    """
    read = 0
    with trio.move_on_after(LINGER_S):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while read < LINGER_BYTES_MAX:
                data = await stream.receive_some(PIECE_BYTES)
                if not data:
                    return
                read += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


async def linger_at(sock: socket.socket) -> None:
    """Do as `linger` does, on a socket that blocks nobody.

    Shut down, one of TLS is a plain one: what comes is not even deciphered.
    """
    read = 0
    with trio.move_on_after(LINGER_S), suppress(OSError, trio.ClosedResourceError):
        sock.shutdown(socket.SHUT_WR)
        while read < LINGER_BYTES_MAX:
            await trio.lowlevel.wait_readable(sock)
            with suppress(BlockingIOError):
                data = sock.recv(PIECE_BYTES)
                if not data:
                    return
                read += len(data)
