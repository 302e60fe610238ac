"""Who talks to whom, for ASGI's scope."""

from typing import Any, Protocol

from hypercorn.utils import parse_socket_addr


class _Named(Protocol):
    @property
    def family(self) -> int: ...
    def getpeername(self) -> Any: ...
    def getsockname(self) -> Any: ...


Address = tuple[str, int] | None


def addresses_of(sock: _Named) -> tuple[Address, Address]:
    """Name the client and the server; None where a socket has no such name."""
    try:
        return (
            parse_socket_addr(sock.family, sock.getpeername()),
            parse_socket_addr(sock.family, sock.getsockname()),
        )
    except OSError:  # the client has already left
        return None, None


def addresses(stream: object) -> tuple[Address, Address]:
    """Name both ends of a stream; one in memory has none."""
    sock: _Named | None = getattr(stream, "socket", None)
    return (None, None) if sock is None else addresses_of(sock)
