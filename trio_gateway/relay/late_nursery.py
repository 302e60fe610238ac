"""A nursery that costs nothing until something is started in it.

A nursery must be opened before it is known whether it will be needed, by a task that
has nothing else to do; and an exchange knows only in the middle of its first attempt
that it wants a second one beside it. One exchange in a hundred does. So the tasks that
are started here are Trio's system tasks, and this class gives the promises of a
nursery: none outlives `aclose`, and what one of them raises is not lost.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

# Tasks here are cancelled attempts, which close sockets without waiting.
_END_S: Final = 5.0


class LateNursery:
    """Tasks beside the one that owns this, and that closes it on every path.

    Args:
        on_crash: told what a task has raised, once it has; the owner's to raise again.
    """

    __slots__ = ("_is_empty", "_on_crash", "_scopes")

    def __init__(self, on_crash: Callable[[Exception], None]) -> None:
        self._on_crash = on_crash
        self._scopes: set[trio.CancelScope] = set()
        self._is_empty: trio.Event | None = None  # if somebody waits for it

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the owner; while this is being closed, not for long."""
        scope = trio.CancelScope()
        if self._is_empty is not None:
            scope.cancel()
        self._scopes.add(scope)
        trio.lowlevel.spawn_system_task(self._run, work, scope)

    async def _run(
        self, work: Callable[[], Awaitable[None]], scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await work()
        except Exception as error:  # noqa: BLE001 - it is the owner's to raise
            self._on_crash(error)
        finally:
            self._scopes.discard(scope)
            if self._is_empty is not None and not self._scopes:
                self._is_empty.set()

    async def aclose(self) -> None:
        """Cancel all of them and see them end, even while being cancelled."""
        if not self._scopes:
            return
        self._is_empty = trio.Event()
        for scope in self._scopes:
            scope.cancel()
        with trio.move_on_after(_END_S, shield=True):
            await self._is_empty.wait()
