"""When files are to be read again: changed and come to rest, or on a SIGHUP.

a file changed --> still for half a second? --> read
SIGHUP -------------------------------------> read
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import trio

from trio_gateway.cli.watch import Look

# An operator who has saved a file looks at the log about so long afterwards.
POLL_S: Final = 1.0
# Editors and `kubectl` write in several steps, milliseconds apart.
SETTLE_S: Final = 0.5
# Files that never come to rest are read all the same: reading finds out what is wrong.
SETTLE_MAX_S: Final = 5.0


class Vigil:
    """Watches files by looking at them.

    Args:
        look: What `stat` says of them; runs in a thread.
        seen: How they looked before they were last read. Whoever reads them sets it to
            how they looked before that, lest a change in between be missed.
    """

    def __init__(self, look: Callable[[], Look], seen: Look) -> None:
        self.seen = seen
        self._look = look
        self._is_asked = False
        self._wake = trio.Event()

    def hangup(self) -> None:
        """Have the files read now, changed or not."""
        self._is_asked = True
        self._wake.set()

    async def wait(self) -> bool:
        """Wait until they are to be read; say whether somebody asked for it."""
        while True:
            with trio.move_on_after(POLL_S):
                await self._wake.wait()
            self._wake = trio.Event()
            is_asked, self._is_asked = self._is_asked, False
            seen = await self._look_now()
            if seen != self.seen:
                await self._settle(seen)
            elif not is_asked:
                continue
            return is_asked

    async def _look_now(self) -> Look:
        # A file system that hangs must not stop the loop, nor the process's end.
        return await trio.to_thread.run_sync(self._look, abandon_on_cancel=True)

    async def _settle(self, seen: Look) -> None:
        with trio.move_on_after(SETTLE_MAX_S):
            while True:
                await trio.sleep(SETTLE_S)
                now = await self._look_now()
                if now == seen:
                    return
                seen = now


class Keeper(Protocol):
    """Keeps something as its files say."""

    def hangup(self) -> None:
        """Read the files now, changed or not."""

    async def run(self) -> None:
        """Watch the files; never returns."""


def hang_up(keepers: Iterable[Keeper]) -> None:
    """Have all files read now."""
    for keeper in keepers:
        keeper.hangup()
