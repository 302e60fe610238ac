"""What is due in virtual time, in its order: the simulator's heap, and its clock."""

from collections.abc import Callable
from heapq import heappop, heappush

_Entry = tuple[float, int, Callable[..., None], tuple[object, ...]]


class Agenda:
    """Things to do, each at its time; of those due at one time, the first noted first.

    Time is 0 at first, and then that of what is done.
    """

    __slots__ = ("_count", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[_Entry] = []
        self._count = 0

    def at(self, when: float, act: Callable[..., None], *args: object) -> None:
        """Note something to do."""
        self._count += 1
        heappush(self._heap, (when, self._count, act, args))

    def do_next(self) -> bool:
        """Do what is due next; False if there is nothing."""
        if not self._heap:
            return False
        self.now, _, act, args = heappop(self._heap)
        act(*args)
        return True
