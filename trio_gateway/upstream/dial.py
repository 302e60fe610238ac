"""TCP to whichever address of a host answers first, and TLS on top: a new `Link`.

"Happy eyeballs" (RFC 8305): the addresses are tried in turn, the next one as soon as
one has failed or has said nothing for a quarter of a second, and the first that
connects wins. A broken network path, often IPv6, then costs that and not a timeout. How
long all of it may last is the caller's scope to say.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from trio_gateway.relay.port import Connect
from trio_gateway.upstream.dns import Address, Resolver
from trio_gateway.upstream.links import (
    Link,
    SocketLink,
    StreamLink,
    Tls,
    secure_socket,
)
from trio_gateway.upstream.network import secure

# RFC 8305's "connection attempt delay": beyond the round trip to nearly anywhere, so
# that a healthy address is not raced.
HEAD_START_S: Final = 0.25

Dialer = Callable[[str, int, Tls | None], Awaitable[Link]]
"""Makes a connection to a host and port, with TLS where there is one.

Raises `OSError` or `trio.BrokenResourceError`.
"""


def over_sockets(resolver: Resolver) -> Dialer:
    """Dial over the kernel's own network."""

    async def dial(host: str, port: int, tls: Tls | None) -> Link:
        addresses = await resolver.addresses(host, port)
        try:
            sock = await connect_any(addresses)
        except OSError:
            resolver.doubt(host, port)
            raise
        return SocketLink(sock) if tls is None else await secure_socket(sock, tls)

    return dial


def over_streams(connect: Connect) -> Dialer:
    """Dial over a network of somebody's own, which has its own way with names."""

    async def dial(host: str, port: int, tls: Tls | None) -> Link:
        stream = await connect(host, port)
        if tls is not None:
            stream = await secure(stream, tls.trust, tls.host)
        return StreamLink(stream)

    return dial


async def connect_any(addresses: Sequence[Address]) -> socket.socket:
    """Connect to the first of some addresses that answers.

    Raises:
        OSError: What the first of them failed with, if all did.
    """
    won: list[socket.socket] = []
    errors: list[OSError] = []
    try:
        async with trio.open_nursery() as attempts:
            for address in addresses:
                is_over = trio.Event()
                attempts.start_soon(_attempt, address, attempts, won, errors, is_over)
                with trio.move_on_after(HEAD_START_S):
                    await is_over.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    if won:
        return won[0]
    raise errors[0]


async def _attempt(
    address: Address,
    attempts: trio.Nursery,
    won: list[socket.socket],
    errors: list[OSError],
    is_over: trio.Event,
) -> None:
    """Try one address; the first that has a connection ends all other attempts."""
    try:
        sock = await _connect(address)
    except OSError as error:
        errors.append(error)
    else:
        if won:
            sock.close()  # two in the same instant
        else:
            won.append(sock)
            attempts.cancel_scope.cancel()
    is_over.set()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)  # never block
        # Requests go out in one write: there is nothing to wait for.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address.where)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        sock.close()
        raise
    return sock
