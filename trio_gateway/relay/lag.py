"""How late the event loop is: a task that sleeps, and says how much it overslept.

Everything here shares one thread. If this task wakes up late, so does every token that
is to be passed on and every deadline; no upstream is to blame for it.
"""

from collections.abc import Callable
from typing import Final, Never

import trio

# Twenty looks in a second, so that one late one in a hundred can be told within five;
# they cost less than one token of one stream.
_EVERY_S: Final = 0.05


async def watch_lag(note: Callable[[float, float], None]) -> Never:
    """Say again and again how late a wake-up was, in seconds, and when; for ever.

    `note` must not block.
    """
    while True:
        due_at = trio.current_time() + _EVERY_S
        await trio.sleep_until(due_at)
        now = trio.current_time()
        note(now - due_at, now)
