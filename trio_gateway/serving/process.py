"""The life of a serving process: bind, start, serve, drain, and an exit code.

`run` is a whole process, with signals; `serve` is the same without them, so that a test
or a composition drives it by a `Shutdown`. Several apps share one life: they start
together, before any listener accepts, and drain together.
"""

import errno
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from hypercorn.typing import ASGIFramework

from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.lifespan import Lifespan
from trio_gateway.serving.limits import Limits, connections_for, raise_file_limit
from trio_gateway.serving.server import Listener, Server, ServerKind, Turn
from trio_gateway.serving.tls import Tls

logger = logging.getLogger("trio_gateway.serving")

# After `Drain.on_deadline`, for open streams to say that they are cut.
LAST_WORDS_S: Final = 2.0

# Closing a listener waits for nothing; the bound is for listeners that are not sockets.
CLOSE_GRACE_S: Final = 1.0

Addresses = tuple[tuple[str, ...], ...]
"""Where each site is reached, in the order of the sites."""


# What an operator can do about an address that cannot be had.
_HINTS: Final = {
    errno.EADDRINUSE: "; choose another port, or 0 for a free one",
    errno.EADDRNOTAVAIL: "; choose an address of this machine, or 0.0.0.0 for all",
    errno.EACCES: "; a port below 1024 needs CAP_NET_BIND_SERVICE: choose a higher one",
}


class BindError(Exception):
    """An address cannot be listened on; the text is a sentence for the operator.

    `bind` is the address as it was given.
    """

    def __init__(self, bind: str, why: str) -> None:
        super().__init__(why)
        self.bind = bind


@dataclass(frozen=True, slots=True)
class Site:
    """One app and where it is reached: `host:port` (port 0 picks one) or a listener.

    Without limits, `run` derives them from the limit of open files. `server` is which
    of our two serving loops it is behind, `turn` is for listeners that are shared with
    other processes, and with `tls`, clients speak that to all of the binds.
    """

    app: ASGIFramework
    binds: Sequence[str | Listener]
    limits: Limits | None = None
    server: ServerKind = "fast"
    turn: Turn | None = None
    tls: Tls | None = None


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Drain:
    """How to end: durations in seconds, and who is told.

    `limit_s` may be set anew until the drain begins, when a policy is reloaded.

    `on_start` runs at once (say "not ready" there), `on_deadline` when `limit_s` is
    over and streams are still open: they have `LAST_WORDS_S` to end visibly.
    """

    limit_s: float = 30.0
    # Between "not ready" and refusing connections, for balancers to look elsewhere.
    notice_s: float = 0.0
    # After it, for clients with idle connections to ask once more, and be told to ask
    # elsewhere from then on. Without it, a request that is on its way is lost.
    parting_s: float = 0.0
    on_start: Callable[[], None] = _nothing
    on_deadline: Callable[[], None] = _nothing


class Shutdown:
    """The wish to end, in two steps: first drain, then at once."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.ending = trio.Event()

    def request(self) -> None:
        """Ask to drain; asked again, to end at once."""
        (self.ending if self.draining.is_set() else self.draining).set()


# SIGUSR2 among them, for by default it kills.
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


async def run(
    sites: Sequence[Site],
    *,
    drain: Drain | None = None,
    background: Sequence[Callable[[], Awaitable[object]]] = (),
    on_listening: Callable[[Addresses], None] = lambda _: None,
    on_hangup: Callable[[], None] | None = None,
    shutdown: Shutdown | None = None,
    signals: Sequence[signal.Signals] = SIGNALS,
) -> int:
    """Serve until SIGTERM or SIGINT, and return the process's exit code.

    `on_hangup` is called on each SIGHUP and must not block; without it, SIGHUP is
    logged and ends nothing, as SIGUSR2 is, which rolls workers where there are any.

    `background` tasks live as long as the sites and are cancelled after the drain; one
    that raises ends the process. 0: drained, even if the deadline cut streams. 1: a
    crash, an app that did not start or end, or a second signal.

    Raises:
        BindError: Before anything was started.
    """
    shutdown = shutdown or Shutdown()
    failures = FailureLog()
    code = 0
    limits = Limits(connections_max=connections_for(raise_file_limit()))
    places = await _open(sites, limits, failures)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(_watch_signals, signals, shutdown, on_hangup)
            for task in background:
                nursery.start_soon(task)
            await _live(places, shutdown, drain or Drain(), on_listening)
            nursery.cancel_scope.cancel()
    except* Exception as group:  # noqa: BLE001 # the exit code tells
        failures.note("process_failed", group)
        code = 1
    finally:
        await _close(places)
    return 1 if shutdown.ending.is_set() else code


async def serve(
    sites: Sequence[Site],
    *,
    shutdown: Shutdown,
    drain: Drain | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is requested and the drain is over.

    Raises:
        BindError: Before anything was started.
        LifespanError: In a group.
    """
    places = await _open(sites, Limits(), FailureLog())
    try:
        await _live(places, shutdown, drain or Drain(), task_status.started)
    finally:
        await _close(places)


@dataclass(frozen=True, slots=True)
class _Place:
    """A site whose listeners are open."""

    server: Server
    lifespan: Lifespan
    listeners: tuple[Listener, ...]


async def _live(
    places: Sequence[_Place],
    shutdown: Shutdown,
    drain: Drain,
    on_listening: Callable[[Addresses], None],
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, shutdown.ending, nursery.cancel_scope)
        for place in places:
            await nursery.start(place.lifespan.run)
        async with trio.open_nursery() as connections:
            accepting = trio.CancelScope()
            connections.start_soon(_accept, places, connections, accepting)
            on_listening(tuple(_addresses(place.listeners) for place in places))
            await shutdown.draining.wait()
            await _drain(places, drain, accepting, connections)
            connections.cancel_scope.cancel()
        for place in places:
            await place.lifespan.end()
        nursery.cancel_scope.cancel()


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _accept(
    places: Sequence[_Place], connections: trio.Nursery, accepting: trio.CancelScope
) -> None:
    with accepting:
        async with trio.open_nursery() as nursery:
            for place in places:
                nursery.start_soon(
                    place.server.serve_listeners, place.listeners, connections
                )


async def _drain(
    places: Sequence[_Place],
    drain: Drain,
    accepting: trio.CancelScope,
    connections: trio.Nursery,
) -> None:
    logger.info("draining limit_s=%g", drain.limit_s)
    drain.on_start()
    for place in places:
        place.server.part()
    await trio.sleep(drain.notice_s)
    accepting.cancel()
    for place in places:
        for listener in place.listeners:
            await place.server.stop_listening(listener, connections)
    if drain.parting_s:
        await _are_empty(places, within_s=drain.parting_s)
    for place in places:
        await place.server.drain()
    if await _are_empty(places, within_s=drain.limit_s):
        return
    logger.warning(
        "drain_deadline connections=%d",
        sum(place.server.connections for place in places),
    )
    drain.on_deadline()
    await _are_empty(places, within_s=LAST_WORDS_S)


async def _are_empty(places: Sequence[_Place], *, within_s: float) -> bool:
    with trio.move_on_after(within_s):
        for place in places:
            await place.server.wait_until_empty()
        return True
    return False


async def _watch_signals(
    watched: Sequence[signal.Signals],
    shutdown: Shutdown,
    on_hangup: Callable[[], None] | None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*watched) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGUSR2:
                logger.warning("roll_refused reason=%r", "one process has no workers")
            elif number != signal.SIGHUP:
                shutdown.request()
            elif on_hangup is not None:
                on_hangup()
            else:
                logger.warning("reload_refused reason=%r", "nothing to reload")


async def _open(
    sites: Sequence[Site], default: Limits, failures: FailureLog
) -> list[_Place]:
    places: list[_Place] = []
    try:
        for site in sites:
            limits = site.limits or default
            server = Server(
                site.app,
                limits,
                failures=failures,
                kind=site.server,
                turn=site.turn,
                tls=site.tls,
            )
            listeners: list[Listener] = []
            places.append(_Place(server, Lifespan(site.app, server), ()))
            for bind in site.binds:
                opened = await listen(bind) if isinstance(bind, str) else [bind]
                listeners.extend(opened)
                places[-1] = _Place(server, places[-1].lifespan, tuple(listeners))
    except BindError:
        await _close(places)
        raise
    return places


async def listen(bind: str) -> list[Listener]:
    """Listen on `host:port`, `[v6]:port` or a name; port 0 picks a free one.

    Raises:
        BindError: If the address is not one, or cannot be had.
    """
    host, port = place_of(bind)
    try:
        opened = await trio.open_tcp_listeners(port, host=host)
    except UnicodeError as error:  # of the codec for names
        why = f"cannot listen on {bind}: no host can have this name"
        raise BindError(bind, why) from error
    except OSError as error:
        reason = error.strerror or str(error)
        hint = _HINTS.get(error.errno or 0, "")
        why = f"cannot listen on {bind}: {reason}{hint}"
        raise BindError(bind, why) from error
    return list(opened)


def place_of(bind: str) -> tuple[str, int]:
    """The host, without brackets, and the port of an address.

    Raises:
        BindError: If it is not one.
    """
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        why = f"{bind!r} is not an address: write HOST:PORT, like 0.0.0.0:80"
        raise BindError(bind, why)
    return host.strip("[]"), int(port)


async def _close(places: Sequence[_Place]) -> None:
    with trio.move_on_after(CLOSE_GRACE_S, shield=True):
        for place in places:
            for listener in place.listeners:
                await listener.aclose()


def _addresses(listeners: Sequence[Listener]) -> tuple[str, ...]:
    return tuple(address_of(listener) for listener in listeners)


def address_of(listener: Listener) -> str:
    """Where a listener is reached."""
    if isinstance(listener, trio.SSLListener):
        return address_of(listener.transport_listener)
    if not isinstance(listener, trio.SocketListener):
        return "memory"
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
