"""What has happened to one exchange and is still to be told to its engine, in order."""

from collections import deque

import trio

from trio_gateway.failover.events import Event


class Inbox:
    """Events from attempts and from the fleet; one reader, who never misses one.

    It holds at most two events for each attempt and one for each call of the fleet.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._reader = trio.lowlevel.ParkingLot()

    def put(self, event: Event) -> None:
        """Add an event, without waiting."""
        self._events.append(event)
        self._reader.unpark()

    def forget(self, attempt: int) -> None:
        """Take out what an attempt has reported."""
        kept = [e for e in self._events if getattr(e, "attempt", None) != attempt]
        self._events = deque(kept)

    async def get(self) -> Event:
        """Wait for the next event; a cancelled wait takes none."""
        while not self._events:
            await self._reader.park()
        return self._events.popleft()
