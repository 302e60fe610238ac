"""A simulated target's slots, and the line of requests before them.

What makes an overload last is work that nobody waits for any more: a deep line whose
requests were given up long ago and are served all the same. So a target either notices
departures, and forgets the request at once, or serves it to the end.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trio_gateway.chaos.worlds.world import Capacity, Shrinks, Spell


@dataclass(slots=True, eq=False)
class Place:
    """One request at a target with slots, from its arrival until it is served or gone.

    It goes through the line once, holds a slot at most once, and may be left in both.
    """

    begin: Callable[[], None]  # called when it gets its slot
    takes_s: float  # from then to the end of its answer
    is_waiting: bool = False
    is_served: bool = False  # it holds a slot
    is_left: bool = False


class Line:
    """First come, first served."""

    __slots__ = ("_capacity", "_shrinking", "_waiting", "busy", "waiting")

    def __init__(self, capacity: Capacity, shrinking: Sequence[Spell]) -> None:
        self._capacity = capacity
        self._shrinking = shrinking
        self._waiting: deque[Place] = deque()
        self.busy = 0
        self.waiting = 0  # those who left and were noticed to are not counted

    def slots(self, now: float) -> int:
        """How many slots there are at this instant."""
        slots = float(self._capacity.slots)
        for spell in self._shrinking:
            if isinstance(spell.effect, Shrinks) and spell.is_on(now):
                slots *= spell.effect.share
        return int(slots)

    def join(self, place: Place) -> bool:
        """Stand in line, if it is not too long. Ask `next` afterwards."""
        line_max = self._capacity.line_max
        if line_max is not None and self.waiting >= line_max:
            return False
        place.is_waiting = True
        self._waiting.append(place)
        self.waiting += 1
        return True

    def next(self, now: float) -> Place | None:
        """Give a free slot to the first in line; None where either is missing."""
        while self._waiting and self.busy < self.slots(now):
            place = self._waiting.popleft()
            if place.is_waiting:
                place.is_waiting, place.is_served = False, True
                self.waiting -= 1
                self.busy += 1
                return place
        return None

    def left(self, place: Place) -> None:
        """Nobody wants this answer any more, whether or not the target notices."""
        place.is_left = True
        if not self._capacity.notices_departures:
            return
        if place.is_waiting:
            place.is_waiting = False
            self.waiting -= 1
        self.served(place)

    def served(self, place: Place) -> None:
        """Give a slot back, if it is still held."""
        if place.is_served:
            place.is_served = False
            self.busy -= 1
