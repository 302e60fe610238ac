"""The connections of one server, and the two tasks that look after all of them.

The sweeper keeps their deadlines, the watch sees their clients leave. Both live while
there is a connection, as system tasks of Trio's, since the connections that they serve
may be tasks of anybody. If one of them breaks, that is our bug, and Trio ends the run.
"""

from contextlib import suppress
from typing import Final

import trio
from hypercorn.typing import ASGIFramework

from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.connection import Connection
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.hangup import HangupWatch
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.socket_wire import SocketWire
from trio_gateway.serving.fast.stream_wire import StreamWire
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper
from trio_gateway.serving.fast.tls_wire import TlsWire
from trio_gateway.serving.fast.wire import Owner, Wire
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.tls import Tls


class FastLoop:
    """Serves one app on any number of streams."""

    def __init__(
        self,
        app: ASGIFramework,
        limits: Limits,
        failures: FailureLog,
        state: dict[str, object],
        tls: Tls | None = None,
    ) -> None:
        self._tls = tls
        self._shared: Final = Shared(app, limits, failures, state)
        self._shift: _Shift | None = None

    @property
    def extra_exchanges(self) -> int:
        """How many are served beyond one for each connection: none, in HTTP/1.1."""
        return 0

    @property
    def is_draining(self) -> bool:
        """Whether connections end with the request that they are serving."""
        return self._shared.is_draining

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection and close it; raises only `trio.Cancelled`."""
        shift = self._shift = self._shift or _Shift(self._shared.limits)
        shift.connections += 1
        try:
            await self._connection(stream, shift).run()
        finally:
            shift.connections -= 1
            if not shift.connections:
                shift.end()
                self._shift = None

    def _connection(self, stream: trio.abc.Stream, shift: "_Shift") -> Connection:
        def wire_to(owner: Owner) -> Wire:
            tls, watch, stalls = self._tls, shift.watch, shift.stalls
            limits = self._shared.limits
            if isinstance(stream, trio.SocketStream) and watch is not None:
                if tls is None:
                    return SocketWire(stream, owner, watch, stalls)
                return TlsWire(stream, tls, owner, limits, watch, stalls)
            if tls is None:
                return StreamWire(stream, owner, limits, stalls)
            secured = tls.secure(stream)
            return StreamWire(secured, owner, limits, stalls, tls.handshakes)

        return Connection(
            Client(wire_to),
            self._shared,
            idle=shift.idle,
            parting=shift.parting,
            heads=shift.heads,
            bodies=shift.bodies,
        )

    def close_oldest_idle(self) -> bool:
        """Close who has been idle for longest; False if nobody is."""
        oldest = None if self._shift is None else self._shift.idle.oldest
        if oldest is None:
            return False
        oldest.close_if_idle()
        return True

    def part(self) -> None:
        """Close every connection with its next answer; who is idle may still ask."""
        self._shared.is_parting = True

    async def drain(self) -> None:
        """Close idle connections now, and every other with its current answer."""
        self._shared.is_parting = self._shared.is_draining = True
        if self._shift is not None:
            for connection in list(self._shift.idle):
                connection.close_if_idle()


class _Shift:
    """What looks after the connections from the first one's begin to the last's end."""

    def __init__(self, limits: Limits) -> None:
        self.connections = 0
        self._sweeper = Sweeper()
        self.idle = DeadlineQueue(self._sweeper, limits.idle_s, Connection.end_idleness)
        self.parting = DeadlineQueue(
            self._sweeper, limits.parting_s, Connection.end_idleness
        )
        self.heads = DeadlineQueue(self._sweeper, limits.head_s, Connection.give_up)
        self.bodies = DeadlineQueue(self._sweeper, limits.body_s, Exchange.give_up)
        self.stalls: DeadlineQueue[Wire] = DeadlineQueue(
            self._sweeper, limits.stall_s, lambda wire: wire.interrupt()
        )
        trio.lowlevel.spawn_system_task(self._sweeper.run)
        self.watch: HangupWatch | None = None
        if HangupWatch.is_supported:
            with suppress(OSError):  # out of files; these connections are read ahead
                self.watch = HangupWatch()
                trio.lowlevel.spawn_system_task(self.watch.run)

    def end(self) -> None:
        self._sweeper.stop()
        if self.watch is not None:
            self.watch.stop()
