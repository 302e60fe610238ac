"""A clock for runs that nothing outside of them can reach: time passes only in waits.

As soon as no task can go on, it is the next instant for which anybody waits. Trio's own
clock for tests comes to that as well, but for each instant it first spends an idle turn
of the loop on finding out, and whoever asks for the time has it look at the real one.

It keeps alarms, too. A deadline must be a cancel scope's, and what that costs, with the
exception that ends it, is worth seven turns of the loop; an alarm only calls back. Who
waits for nothing but an instant is cheaper to wake by one: `sleep_until` does so.

A thread or a socket would not be waited for: neither has a place in such a run.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf

import trio

SetAlarm = Callable[[float, Callable[[], object]], object]
"""Calls back at an instant of Trio's clock, or soon where that is past."""


class LeapingClock(trio.abc.Clock):
    """Begins at 0 and leaps from one instant to the next; for one run."""

    def __init__(self) -> None:
        self._now = 0.0
        # The number keeps alarms of one instant in order, and makes tuples comparable.
        self._alarms: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0

    def start_clock(self) -> None:
        """Do nothing: the first instant will come."""

    def current_time(self) -> float:
        """Say which instant it is."""
        return self._now

    def set_alarm(self, at: float, ring: Callable[[], object]) -> None:
        """Call back at an instant, outside of any task; `ring` must not raise or wait.

        It may wake parked tasks. There is no way to take it back.
        """
        self._number += 1
        heappush(self._alarms, (at, self._number, ring))

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Leap, and ring; Trio asks this only when no task can go on.

        Where nobody waits for an instant, only an interrupt can end the run.
        """
        alarms = self._alarms
        next_at = min(deadline, alarms[0][0]) if alarms else deadline
        if next_at == inf:
            return inf
        self._now = now = max(self._now, next_at)
        while alarms and alarms[0][0] <= now:
            heappop(alarms)[2]()
        return 0.0


async def sleep_until(at: float) -> None:
    """Sleep as `trio.sleep_until` does, by an alarm where the clock keeps them."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, LeapingClock):
        await trio.sleep_until(at)
    elif at <= clock.current_time():
        await trio.lowlevel.checkpoint()
    else:
        bed = trio.lowlevel.ParkingLot()
        clock.set_alarm(at, bed.unpark_all)
        await bed.park()


async def sleep(seconds: float) -> None:
    """Sleep likewise, as `trio.sleep` does."""
    await sleep_until(trio.current_time() + seconds)
