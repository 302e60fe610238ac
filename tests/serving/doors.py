"""The same app behind our servers and behind the stock one, on real sockets.

A hardening is only worth its code while the stock server lacks it, so the tests ask
each, and say what it does.
"""

import gc
import socket
import struct
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Literal, get_args

import hypercorn.trio
import pytest
import trio
import trio.testing
from hypercorn.config import Config

from tests.serving.http2.client import request as http_2_request
from tests.serving.toy import request
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.process import Drain, Shutdown, Site, serve
from trio_gateway.serving.server import ServerKind

# The fast loop sees departures by its watch, or by reading ahead where there is none.
# "HTTP/2" is Hypercorn's, hardened, asked in that version.
Kind = Literal["fast", "fast, read ahead", "hypercorn", "HTTP/2", "stock"]

OURS: Final = ("fast", "fast, read ahead", "hypercorn")
KINDS: Final = (*OURS, "stock")
OURS_IN_ALL_VERSIONS: Final = (*OURS, "HTTP/2")

# Real seconds after which a test is stuck, not slow.
STUCK_S = 60.0


async def visit_server(
    kind: Kind,
    app: Any,
    visit: Callable[[int], Awaitable[None]],
    *,
    limits: Limits | None = None,
    drain_s: float = 0.2,
    stuck_s: float = STUCK_S,
) -> set[str]:
    """Serve while `visit(port)` runs; return the exceptions that ended the server."""
    shutdown = Shutdown()
    if kind != "stock":
        door = await Door.open(is_plain=kind == "fast, read ahead")
        server = get_args(ServerKind)[kind in {"hypercorn", "HTTP/2"}]
        sites = [Site(app, [door], limits, server=server)]
        drain = Drain(limit_s=drain_s)
        start = partial(serve, sites, shutdown=shutdown, drain=drain)
        return await _visit(start, shutdown, lambda _: visit(door.port), stuck_s)

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = drain_s
    config.keep_alive_timeout = 75
    trigger = shutdown.draining.wait
    start = partial(hypercorn.trio.serve, app, config, shutdown_trigger=trigger)
    with warnings.catch_warnings():
        # It also forgets to close what it is interrupted in.
        warnings.simplefilter("ignore", ResourceWarning)
        deaths = await _visit(
            start,
            shutdown,
            lambda address: visit(int(address.rsplit(":", 1)[1])),
            stuck_s,
        )
        gc.collect()
    return deaths


def ask(kind: Kind, path: str, *, method: str = "GET", body: bytes = b"") -> bytes:
    """The bytes of one request, in the version that a server is asked in."""
    make = http_2_request if kind == "HTTP/2" else request
    return make(path, method=method, body=body)


def each(
    name: str, *, ours: object, stock: object, kinds: tuple[str, ...] = OURS
) -> pytest.MarkDecorator:
    """Run a test over all servers, with what is to be expected of each."""
    expected = [(kind, ours) for kind in kinds]
    return pytest.mark.parametrize(("kind", name), [*expected, ("stock", stock)])


class Door(trio.abc.Listener[trio.abc.Stream]):
    """A listening socket, whose connections can be made plain streams of bytes."""

    def __init__(self, listener: trio.SocketListener, *, is_plain: bool) -> None:
        self._listener = listener
        self._is_plain = is_plain
        self.port: int = listener.socket.getsockname()[1]

    @classmethod
    async def open(cls, *, is_plain: bool) -> "Door":
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        return cls(listener, is_plain=is_plain)

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        return trio.StapledStream(stream, stream) if self._is_plain else stream

    async def aclose(self) -> None:
        await self._listener.aclose()


async def _visit(
    start: Callable[..., Awaitable[None]],
    shutdown: Shutdown,
    visit: Callable[[str], Awaitable[None]],
    stuck_s: float,
) -> set[str]:
    try:
        with trio.fail_after(stuck_s):
            async with trio.open_nursery() as nursery:
                addresses = await nursery.start(start)
                await trio.testing.wait_all_tasks_blocked()
                await visit(str(addresses[0]))
                shutdown.request()
    except ExceptionGroup as group:
        if group.subgroup((AssertionError, trio.TooSlowError)):
            raise
        return _names(group)
    return set()


def _names(error: BaseException) -> set[str]:
    if isinstance(error, BaseExceptionGroup):
        return {name for member in error.exceptions for name in _names(member)}
    return {type(error).__name__}


async def dial(port: int, *, receive_buffer: int | None = None) -> trio.SocketStream:
    """Connect; a small receive buffer makes a client that stalls its server soon."""
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


async def reset(stream: trio.SocketStream) -> None:
    """Leave with RST instead of FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def read(stream: trio.SocketStream, *, within_s: float) -> tuple[bytes, str]:
    """Read for so long; say how it ended: `open`, `end` or `reset`."""
    got = b""
    with trio.move_on_after(within_s):
        try:
            while data := await stream.receive_some():
                got += data
        except trio.BrokenResourceError:
            return got, "reset"
        return got, "end"
    return got, "open"


async def happens(event: trio.Event, *, within_s: float) -> bool:
    """Wait for an event, but not for ever."""
    with trio.move_on_after(within_s):
        await event.wait()
    return event.is_set()


async def tasks_fall_to(count: int, *, within_s: float) -> bool:
    """Wait until no more tasks live than before, but not for ever."""
    with trio.move_on_after(within_s):
        while tasks_living() > count:  # noqa: ASYNC110 # Trio has no event for this
            await trio.sleep(0.01)
    return tasks_living() <= count


def tasks_living() -> int:
    return trio.lowlevel.current_statistics().tasks_living
