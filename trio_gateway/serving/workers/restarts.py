"""When a worker that died is started again.

The first death in a while is an accident: its place is filled at once. Each further one
within a minute doubles a short delay. From the fifth on it is a *crash loop*: whatever
kills the workers is still there, and starting them costs the others their CPU, so there
is one try every half a minute. It ends when a worker has lived for a minute.

    death    1      2       3      4      5, 6, ...
    delay    0   0.25 s   0.5 s   1 s       30 s
"""

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0
DEATHS_MAX: Final = 5
FIRST_DELAY_S: Final = 0.25
SLOW_DELAY_S: Final = 30.0


class Restarts:
    """The deaths in one slot, and what follows from them."""

    __slots__ = ("_died_at", "is_looping")

    def __init__(self) -> None:
        self._died_at: deque[float] = deque(maxlen=DEATHS_MAX)
        self.is_looping = False
        """Whether it is a crash loop."""

    def died(self, now: float) -> float:
        """A worker died, or did not become ready; how long to wait with the next."""
        self._died_at.append(now)
        recent = sum(now - at < WINDOW_S for at in self._died_at)
        self.is_looping = self.is_looping or recent == DEATHS_MAX
        if self.is_looping:
            return SLOW_DELAY_S
        return 0.0 if recent == 1 else FIRST_DELAY_S * 2.0 ** (recent - 2)

    def lived(self) -> None:
        """A worker has been ready for `WINDOW_S`."""
        self._died_at.clear()
        self.is_looping = False
