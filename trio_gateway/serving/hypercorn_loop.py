"""The connections of one server in Hypercorn's frame, of either version of HTTP."""

import trio
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from trio_gateway.serving.connection import HypercornConnection
from trio_gateway.serving.context import Context
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.protocol import hypercorn_config
from trio_gateway.serving.tls import Tls


class HypercornLoop:
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
        if tls is not None:
            tls.offer_http_2()
        self._app = wrap_app(app, 0, "asgi")
        self._config = hypercorn_config(limits)
        self._context = Context(limits.connections_max)
        self._limits = limits
        self._failures = failures
        self._state = state
        self._all: dict[HypercornConnection, None] = {}
        self._idle: dict[HypercornConnection, None] = {}  # oldest first

    @property
    def extra_exchanges(self) -> int:
        """How many are served beyond one for each connection."""
        return self._context.extra_exchanges

    @property
    def is_draining(self) -> bool:
        """Whether connections end with the request that they are serving."""
        return self._context.is_draining

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection and close it; raises only `trio.Cancelled`."""
        connection = HypercornConnection(
            self._app,
            self._config,
            self._context,
            ConnectionState(self._state.copy()),
            stream if self._tls is None else self._tls.secure(stream),
            limits=self._limits,
            failures=self._failures,
            idle=self._idle,
            handshakes=None if self._tls is None else self._tls.handshakes,
        )
        self._all[connection] = None
        self._context.connections += 1
        try:
            await connection.run()
        finally:
            self._context.connections -= 1
            del self._all[connection]

    def close_oldest_idle(self) -> bool:
        """Close who has been idle for longest; False if nobody is."""
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        oldest.close_if_idle()
        return True

    def part(self) -> None:
        """Close every connection with its next answer; who is idle may still ask."""
        self._context.is_parting = True
        for connection in list(self._all):
            connection.part()

    async def drain(self) -> None:
        """Close idle connections now, and every other with its current answer."""
        self._context.is_parting = self._context.is_draining = True
        for connection in list(self._all):
            connection.drain()
