"""What is due in virtual time, in its order: the simulator's heap, and its clock."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

Subject = TypeVar("Subject")

# When, in which order, what to do, and with whom: one for all, as a call that spreads
# arguments out takes twice as long.
_Entry = tuple[float, int, Callable[[Any], None], Any]


class Agenda:
    """Things to do, each at its time; of those due at one time, the first noted first.

    Time is 0 at first, and then that of what is done.
    """

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[_Entry] = []
        self._count = 0

    def at(self, when: float, act: Callable[[Subject], None], on: Subject) -> None:
        """Note something to do, and with whom."""
        self._count = count = self._count + 1
        heappush(self._heap, (when, count, act, on))

    def do_next(self) -> bool:
        """Do what is due next; False: there was nothing any more."""
        if not self._heap:
            return False
        self.now, _, act, on = heappop(self._heap)
        act(on)
        return True
