"""The slots of a provider on sockets, and the line of its requests, on Trio's clock.

`line` decides who is next; this waits. A provider that does not notice departures goes
on working for those who have left: their slots come back when the answer would have
been whole.
"""

import heapq
from itertools import count
from math import inf

import trio

from trio_gateway.chaos.worlds.line import Line, Place
from trio_gateway.chaos.worlds.world import Capacity, Spell


class Slots:
    """First come, first served; `run` must run while anybody is in line."""

    def __init__(
        self, capacity: Capacity, shrinks: tuple[Spell, ...] = (), *, speed: float = 1.0
    ) -> None:
        self._line = Line(capacity, shrinks)
        self._edges = sorted({at for s in shrinks for at in (s.from_s, s.until_s)})
        self._speed = speed
        self._begun_at = trio.current_time()
        # Answers that are worked on for nobody: when each is whole, and its place.
        self._ghosts: list[tuple[float, int, Place]] = []
        self._numbers = count()
        self._changed = trio.Event()

    @property
    def busy(self) -> int:
        """How many slots are taken, also by those who have left."""
        return self._line.busy

    @property
    def waiting(self) -> int:
        """How many stand in line, also those who have left without being noticed."""
        return self._line.waiting

    def join(self, takes_s: float) -> "LineTurn | None":
        """Stand in line with an answer that takes so long; None if it is full."""
        turn = LineTurn(self, takes_s)
        if not self._line.join(turn.place):
            return None
        self.call_next()
        return turn

    def call_next(self) -> None:
        """Give free slots to those who are next."""
        while place := self._line.next(self._now()):
            place.begin()

    def leave(self, turn: "LineTurn") -> None:
        """Take note that a request is over, or that its client has gone."""
        place, begun_at = turn.place, turn.begun_at
        if begun_at is None:
            self._line.left(place)
        elif trio.current_time() >= begun_at + place.takes_s:
            self._line.served(place)
        else:
            self._line.left(place)
            if place.is_served:  # nobody has noticed
                self.work_for_nobody(place, begun_at)
        self.call_next()
        self._changed.set()

    def work_for_nobody(self, place: Place, begun_at: float) -> None:
        """Keep a slot until the answer would have been whole."""
        ends_at = begun_at + place.takes_s
        heapq.heappush(self._ghosts, (ends_at, next(self._numbers), place))
        self._changed.set()

    async def run(self) -> None:
        """Free slots and open new ones when their time has come."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._next_at()):
                await self._changed.wait()
            while self._ghosts and self._ghosts[0][0] <= trio.current_time():
                _, _, place = heapq.heappop(self._ghosts)
                self._line.served(place)
            self.call_next()

    def _next_at(self) -> float:
        """When something happens by itself: a ghost ends, or the slots change."""
        now = self._now()
        edges = (edge for edge in self._edges if edge > now and edge < inf)
        edge_at = self._begun_at + next(edges, inf) / self._speed
        return min(edge_at, self._ghosts[0][0] if self._ghosts else inf)

    def _now(self) -> float:
        return (trio.current_time() - self._begun_at) * self._speed


class LineTurn:
    """One request's place, and its waiting."""

    def __init__(self, slots: Slots, takes_s: float) -> None:
        self.place = Place(begin=self._begin, takes_s=takes_s)
        self.begun_at: float | None = None
        self._slots = slots
        self._has_come = trio.Event()

    def _begin(self) -> None:
        self.begun_at = trio.current_time()
        self._has_come.set()
        if self.place.is_left:
            self._slots.work_for_nobody(self.place, self.begun_at)

    async def come(self) -> None:
        """Wait for a slot."""
        await self._has_come.wait()

    def leave(self) -> None:
        """Give the slot, or the place in line, back."""
        self._slots.leave(self)
