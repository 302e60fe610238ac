"""An app's own start and end, around all its requests: Hypercorn's lifespan, watched.

Hypercorn keeps serving when an app's lifespan ends by itself; an app whose background
tasks are dead is not ready, so here that ends the process.
"""

import trio
from hypercorn.trio.lifespan import Lifespan as HypercornLifespan
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
)
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError, wrap_app

from trio_gateway.serving.server import Server


class LifespanError(Exception):
    """An app did not start, did not end, or its lifespan broke off while it served."""


class Lifespan:
    """One app's lifespan; its state goes to the server's requests."""

    def __init__(self, app: ASGIFramework, server: Server) -> None:
        self._server = server
        self._inner = HypercornLifespan(
            wrap_app(self._noted, 0, "asgi"), server.config, server.state
        )
        self._app = app
        self._has_started = False
        self._is_ending = False

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Start the app, report, and watch it until cancelled.

        Raises:
            LifespanError: In a group, if the app failed to start or ended by itself.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._inner.handle_lifespan)
                await self._start()
                self._has_started = True
                task_status.started()
                if self._inner.shutdown.is_set():
                    return  # the app has no lifespan, which is its right
                await self._inner.shutdown.wait()
                if not self._is_ending:
                    raise LifespanError("the app's lifespan ended while it was serving")
        except* (LifespanFailureError, LifespanTimeoutError) as failures:
            raise LifespanError(str(failures.exceptions[0])) from failures

    async def _noted(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        """Run the app, noting a failure that Hypercorn would swallow."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if self._has_started:
                self._server.failures.note("lifespan_failed", error)
            raise

    async def _start(self) -> None:
        try:
            await self._inner.wait_for_startup()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the app has already returned: it has no lifespan

    async def end(self) -> None:
        """Let the app clean up; bounded by Hypercorn's `shutdown_timeout`.

        Raises:
            LifespanError: If it did not, in time.
        """
        self._is_ending = True
        if self._inner.shutdown.is_set():
            return
        try:
            await self._inner.wait_for_shutdown()
        except LifespanTimeoutError as error:
            raise LifespanError("the app did not end in time") from error
