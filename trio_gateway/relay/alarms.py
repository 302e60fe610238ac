"""Alarms of many exchanges, kept by one task.

Nearly every attempt has an alarm that never rings: the instant from which it would
count as slow. A cancel scope and a task that waits in it cost more than the rest of the
engine's work. Here an alarm is an entry in a heap. Switching it off leaves the entry
there, until it is the next one or until there may be many like it.

The task lives while there is an alarm to ring, and a second longer, as a system task of
Trio's, since the exchanges that it wakes may be tasks of anybody.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

import trio

# Below this many entries it is not worth looking for those that are off.
_FEW: Final = 256
# So often the task looks whether anybody needs it. Telling it so, each time that there
# is nobody, would cost more; beginning it anew each time, too.
_LOOK_S: Final = 1.0


class Alarm:
    """One call to come; `off` takes it back."""

    __slots__ = ("at", "ring")

    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring: Callable[[], None] | None = ring

    def off(self) -> None:
        """Do not ring, if it has not yet."""
        self.ring = None


class Alarms:
    """Calls back at given instants on Trio's clock."""

    def __init__(self) -> None:
        # The number keeps alarms of one instant in order, and makes tuples comparable.
        self._heap: list[tuple[float, int, Alarm]] = []
        self._number = 0
        self._entries_max = _FEW  # before those that are off are looked for
        self._nap: trio.CancelScope | None = None

    def __len__(self) -> int:
        """How many entries are held, those that are off included."""
        return len(self._heap)

    def set(self, at: float, ring: Callable[[], None]) -> Alarm:
        """Call back at an instant, from another task; `ring` must not raise or wait."""
        if len(self._heap) >= self._entries_max:
            self._let_go()
        alarm = Alarm(at, ring)
        self._number += 1
        heappush(self._heap, (at, self._number, alarm))
        if self._nap is None:
            self._nap = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run)
        elif self._heap[0][2] is alarm and at < self._nap.deadline:
            self._nap.deadline = at
        return alarm

    def _let_go(self) -> None:
        """Let go of all that are off; look again when there are twice as many."""
        self._heap = [entry for entry in self._heap if entry[2].ring is not None]
        heapify(self._heap)
        self._entries_max = max(_FEW, 2 * len(self._heap))

    async def _run(self) -> None:
        try:
            while self._heap:
                looks_at = min(self._heap[0][0], trio.current_time() + _LOOK_S)
                with trio.CancelScope(deadline=looks_at) as self._nap:
                    await trio.sleep_forever()
                self._ring_due()
        finally:
            self._nap = None

    def _ring_due(self) -> None:
        """Ring what is due; let go of what is off, up to the next that will ring."""
        now = trio.current_time()
        while self._heap:
            at, _, alarm = self._heap[0]
            ring = alarm.ring
            if ring is not None and at > now:
                return
            heappop(self._heap)
            if ring is not None:
                alarm.ring = None
                ring()
