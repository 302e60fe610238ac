"""Deadlines of many connections, kept by one task.

A cancel scope around every wait costs more than the wait. But all who wait for the same
thing wait equally long, so they fall due in the order in which they began: a queue in
the order of entering is sorted already. Entering and leaving it are two operations on a
dictionary. The sweeper sleeps until the earliest deadline it knew when it fell asleep,
looks at the head of each queue, and sleeps again; most of the time that deadline has
long been left, and there is nothing to do.
"""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import trio

T = TypeVar("T")


class DeadlineQueue(Generic[T]):
    """Those who wait for one thing, for at most `limit_s`; the oldest first."""

    def __init__(
        self, sweeper: "Sweeper", limit_s: float, on_due: Callable[[T], None]
    ) -> None:
        self._sweeper = sweeper
        self._limit_s = limit_s
        self._on_due = on_due
        self._due_by: dict[T, float] = {}
        sweeper.queues.append(self)

    def __contains__(self, who: T) -> bool:
        return who in self._due_by

    def __iter__(self) -> Iterator[T]:
        return iter(self._due_by)

    @property
    def oldest(self) -> T | None:
        """Who entered first."""
        return next(iter(self._due_by), None)

    def enter(self, who: T) -> None:
        """Begin to wait, or begin anew."""
        self._due_by.pop(who, None)
        self._due_by[who] = due_by = trio.current_time() + self._limit_s
        if due_by < self._sweeper.wakes_at:
            self._sweeper.wake_by(due_by)

    def leave(self, who: T) -> None:
        """Wait no longer, if ever."""
        self._due_by.pop(who, None)

    @property
    def earliest(self) -> float:
        """When the next one falls due."""
        return next(iter(self._due_by.values()), float("inf"))

    def sweep(self, now: float) -> None:
        """Call back for all who are due; they have left the queue by then."""
        while self.earliest <= now:
            who = next(iter(self._due_by))
            del self._due_by[who]
            self._on_due(who)


class Sweeper:
    """Wakes up when somebody is due."""

    def __init__(self) -> None:
        self.queues: list[DeadlineQueue[Any]] = []
        self._life = trio.CancelScope()
        self._nap = trio.CancelScope()
        self.wakes_at = float("-inf")  # it will look at all queues as it starts

    def wake_by(self, due_by: float) -> None:
        """Sleep no longer than this, which is before it `wakes_at`."""
        self.wakes_at = self._nap.deadline = due_by

    async def run(self) -> None:
        """Sweep until `stop`."""
        with self._life:
            while True:
                self.wakes_at = min(queue.earliest for queue in self.queues)
                with trio.CancelScope(deadline=self.wakes_at) as self._nap:
                    await trio.sleep_forever()
                now = trio.current_time()
                for queue in self.queues:
                    queue.sweep(now)

    def stop(self) -> None:
        """End `run`."""
        self._life.cancel()
