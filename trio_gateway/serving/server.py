"""One app, served on listeners or on any byte stream, to a bounded number of clients.

The accept loop never dies of one bad accept, never spins when files run out, and
answers whom it cannot take. Streams and listeners are Trio's abstract ones, so that the
same code runs over memory in virtual time.
"""

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, Literal, Protocol

import trio
from hypercorn.typing import ASGIFramework

from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.loop import FastLoop
from trio_gateway.serving.http2.frames import TURNED_AWAY
from trio_gateway.serving.hypercorn_loop import HypercornLoop
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import linger
from trio_gateway.serving.protocol import hypercorn_config
from trio_gateway.serving.refusals import refusal
from trio_gateway.serving.tls import HTTP_2, Tls

Listener = trio.abc.Listener[trio.abc.Stream]

# Of this process or of the machine: both may end at any moment, without our doing.
NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# Between two attempts to accept after a failed one: short for a client, long for a CPU.
BACKOFF_S: Final = 0.1

# How long the accept loop itself may be busy with one client that it turns away.
SHED_S: Final = 0.05

# How many are being told "not now" at the same time; more are closed without a word.
REFUSALS_MAX: Final = 64
REFUSE_S: Final = 1.0

_COME_AGAIN: Final = (b"retry-after: 1\r\n", b"x-should-retry: true\r\n")

ServerKind = Literal["fast", "hypercorn"]
"""Which loop serves: our own, or Hypercorn's protocol with its wounds dressed."""


class _Loop(Protocol):
    """What turns streams into conversations; see either implementation."""

    @property
    def extra_exchanges(self) -> int: ...
    @property
    def is_draining(self) -> bool: ...
    async def serve(self, stream: trio.abc.Stream) -> None: ...
    def close_oldest_idle(self) -> bool: ...
    def part(self) -> None: ...
    async def drain(self) -> None: ...


class Turn(Protocol):
    """Asked before a connection is accepted, where several processes could."""

    async def come(self, listener: object) -> None:
        """Wait until there is a connection that is ours."""

    def note(self, connections: int) -> None:
        """Take note of how many connections are open."""

    def leave(self) -> None:
        """No more are accepted."""


class Server:
    """Serves one ASGI app; counts its connections and knows how to end them."""

    def __init__(
        self,
        app: ASGIFramework,
        limits: Limits | None = None,
        *,
        failures: FailureLog | None = None,
        kind: ServerKind = "fast",
        turn: Turn | None = None,
        tls: Tls | None = None,
    ) -> None:
        self._turn = turn
        self._tls = tls
        self.limits = limits or Limits()
        self.failures = failures or FailureLog()
        self.config = hypercorn_config(self.limits)
        self.state: dict[str, object] = {}  # what the app's lifespan hands to requests
        loop = FastLoop if kind == "fast" else HypercornLoop
        self._loop: _Loop = loop(app, self.limits, self.failures, self.state, tls)
        self._open = 0
        self._refusing = 0
        self._emptied = trio.Event()

    @property
    def connections(self) -> int:
        """How many connections are being served."""
        return self._open

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection and close it; raises only `trio.Cancelled`."""
        self._count(1)
        try:
            await self._loop.serve(stream)
        finally:
            self._count(-1)
            if not self._open:
                self._emptied.set()  # for those who wait now: others may come
                self._emptied = trio.Event()

    async def serve_listeners(
        self, listeners: Iterable[Listener], connections: trio.Nursery
    ) -> None:
        """Accept until cancelled; each connection becomes a task of `connections`.

        Does not close the listeners.
        """
        with SpareFile() as spare:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._accept, listener, connections, spare)
                if self._turn is not None:
                    nursery.start_soon(self._take_turns, self._turn)

    async def stop_listening(
        self, listener: Listener, connections: trio.Nursery
    ) -> None:
        """Close a listener; who has connected by now is still served.

        The kernel would reset those that nobody has accepted, with their requests.
        """
        if isinstance(listener, trio.SocketListener):
            for stream in _waiting_at(listener):
                self._admit(stream, connections)
        await listener.aclose()
        await trio.lowlevel.checkpoint()  # so that they count from here on

    # Draining.

    @property
    def is_draining(self) -> bool:
        """Whether connections end with the request that they are serving."""
        return self._loop.is_draining

    def part(self) -> None:
        """Close every connection with its next answer; who is idle may still ask.

        So a client that keeps connections alive loses no request to the end of one.
        """
        self._loop.part()

    async def drain(self) -> None:
        """Close idle connections now, and every other with its current answer."""
        await self._loop.drain()

    async def wait_until_empty(self) -> None:
        """Wait for the last connection's end, once no more of them are accepted."""
        while self._open:
            await self._emptied.wait()

    # Accepting.

    def _count(self, more: int) -> None:
        self._open += more
        if self._turn is not None:
            self._turn.note(self._open)

    async def _take_turns(self, turn: Turn) -> None:
        """Have turns for as long as connections are accepted."""
        turn.note(self._open)
        try:
            await trio.sleep_forever()
        finally:
            turn.leave()

    async def _accept(
        self, listener: Listener, connections: trio.Nursery, spare: "SpareFile"
    ) -> None:
        while True:
            try:
                if self._turn is not None:
                    await self._turn.come(listener)
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return
            except OSError as error:
                self.failures.note("accept_failed", error)
                if error.errno in NO_ROOM:
                    await self._shed(listener, spare)
                await trio.sleep(BACKOFF_S)
                continue
            self._admit(stream, connections)

    def _admit(self, stream: trio.abc.Stream, connections: trio.Nursery) -> None:
        # A client at work is worth more than one that may never ask again.
        taken = self._open + self._loop.extra_exchanges
        limit = self.limits.connections_max
        if taken < limit or self._loop.close_oldest_idle():
            connections.start_soon(self.serve_stream, stream)
            return
        self.failures.warn(
            "client_turned_away", f"{limit} are busy, as many as open files allow"
        )
        if self._refusing < REFUSALS_MAX:
            self._refusing += 1
            connections.start_soon(self._refuse, self._secured(stream))
        else:
            connections.start_soon(trio.aclose_forcefully, stream)

    async def _refuse(self, stream: trio.abc.Stream) -> None:
        try:
            with trio.move_on_after(REFUSE_S), suppress(trio.BrokenResourceError):
                await _turn_away(stream)
                await linger(stream)
        finally:
            self._refusing -= 1
            await trio.aclose_forcefully(stream)

    def _secured(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        return stream if self._tls is None else self._tls.secure(stream)

    async def _shed(self, listener: Listener, spare: "SpareFile") -> None:
        """Out of files: give up the spare one to turn a client away with an answer."""
        if not spare.give_up():
            return
        with trio.move_on_after(SHED_S), suppress(OSError, trio.ClosedResourceError):
            stream = self._secured(await listener.accept())
            try:
                with suppress(trio.BrokenResourceError):
                    await _turn_away(stream)
            finally:
                await trio.aclose_forcefully(stream)
        spare.take()


def _waiting_at(listener: trio.SocketListener) -> Iterator[trio.SocketStream]:
    """Accept without waiting, until nobody is left."""
    with (
        suppress(OSError),
        socket.socket(fileno=os.dup(listener.socket.fileno())) as at,
    ):
        while True:
            client, _ = at.accept()
            yield trio.SocketStream(trio.socket.from_stdlib_socket(client))


async def _turn_away(stream: trio.abc.Stream) -> None:
    """Say that there is no room, in the version of HTTP that a handshake chose."""
    is_http_2 = False
    if isinstance(stream, trio.SSLStream):
        await stream.do_handshake()
        is_http_2 = stream.selected_alpn_protocol() == HTTP_2
    await stream.send_all(TURNED_AWAY if is_http_2 else refusal(503, *_COME_AGAIN))


class SpareFile:
    """A file descriptor kept in reserve, so that there is one when there is none."""

    def __init__(self) -> None:
        self._fd: int | None = None

    def __enter__(self) -> "SpareFile":
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()

    def take(self) -> None:
        """Reserve one, if one can be had."""
        with suppress(OSError):
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def give_up(self) -> bool:
        """Free it; say whether there was one. Without one, try to reserve again."""
        if self._fd is None:
            self.take()
        if self._fd is None:
            return False
        os.close(self._fd)
        self._fd = None
        return True


async def serve_stream(
    app: ASGIFramework,
    stream: trio.abc.Stream,
    limits: Limits | None = None,
    *,
    kind: ServerKind = "fast",
) -> None:
    """Serve one connection over any byte stream, without sockets or lifespan."""
    await Server(app, limits, kind=kind).serve_stream(stream)
