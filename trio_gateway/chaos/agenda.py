"""What is due in virtual time, in its order: the simulator's heap, and its clock."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

# What to do, and with what.
Deed = tuple[Callable[..., None], tuple[object, ...]]

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

    def due(self) -> Iterator[Deed]:
        """What is to be done, one deed after the other, until there is nothing."""
        heap = self._heap
        while heap:
            self.now, _, act, args = heappop(heap)
            yield act, args
