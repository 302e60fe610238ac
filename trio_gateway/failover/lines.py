"""In line for a slot: who waits at which target, and for whom one is kept.

    join --> waiting --> a slot comes free: it is kept for one, who is called
                |                              |-- takes it with its next attempt
                '-- leaves, or waits too long  '-- leaves, and the next is called

A slot that is kept counts as in flight, so that nobody who comes later gets it. How
long anybody waits, and who is served first, says `limiter.WaitingLine`.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Final

from trio_gateway.failover.health import Health
from trio_gateway.failover.limiter import WaitingLine
from trio_gateway.policy.route import Queue

# A line that never empties sheds those who wait longer than this.
LINE_CHECK_S: Final = 0.25


class Lines:
    """The lines before all targets.

    Args:
        healths: of the targets, by id; the fleet's own.
        calls: takes the tickets of those whose turn it is.
    """

    def __init__(self, healths: Mapping[str, Health], calls: deque[Hashable]) -> None:
        self._healths = healths
        self._calls = calls
        self._kept: dict[Hashable, str] = {}  # for whom, at which target
        self.by_target: dict[str, WaitingLine[Hashable]] = {}
        """Where somebody waits, or did a moment ago."""

    # Who waits

    def join(
        self, rules: Queue, target_id: str, ticket: Hashable, *, by: float, now: float
    ) -> float | None:
        """Stand in line; when to look again, or None if the line is full."""
        line = self.by_target.get(target_id)
        if line is None:
            line = self.by_target[target_id] = WaitingLine(rules)
        if not line.join(ticket, now, by, rules=rules):
            return None
        return min(by, now + LINE_CHECK_S)

    def holds(self, target_id: str, ticket: Hashable, now: float) -> bool:
        """Whether a place in line is still held; a long line is cut short."""
        line = self.by_target.get(target_id)
        return line is not None and line.holds(ticket, now)

    def leave(self, target_id: str, ticket: Hashable, now: float) -> None:
        """Give up a place in line, or the slot that was kept for it."""
        line = self.by_target.get(target_id)
        if line is not None:
            line.give_up(ticket)
        if self.take(target_id, ticket):
            health = self._healths[target_id]
            health.ended()
            self.call_next(health, now)

    def length(self, target_id: str) -> int:
        """How many wait there."""
        line = self.by_target.get(target_id)
        return 0 if line is None else len(line)

    def dissolve(self, target_id: str) -> None:
        """Nobody waits there any more, as they see when they look."""
        self.by_target.pop(target_id, None)

    # For whom a slot is kept

    def keeps(self, target_id: str, ticket: Hashable) -> bool:
        """Whether a slot there is kept for a ticket."""
        return self._kept.get(ticket) == target_id

    def take(self, target_id: str, ticket: Hashable) -> bool:
        """Use the slot that is kept, if one is; it counts as in flight already."""
        if self._kept.get(ticket) != target_id:
            return False
        del self._kept[ticket]
        return True

    @property
    def kept(self) -> Mapping[Hashable, str]:
        """At which target, for each ticket for which a slot is kept."""
        return self._kept

    def call_next(self, health: Health, now: float) -> None:
        """Keep a free slot for whoever waits longest for it."""
        for target_id in self._users_of(health):
            line = self.by_target.get(target_id)
            if line is None:
                continue
            there = self._healths[target_id]
            while len(line) and there.has_room(now):
                ticket = line.next(now)
                if ticket is None:
                    break
                there.began()
                self._kept[ticket] = target_id
                self._calls.append(ticket)
            if not len(line):
                del self.by_target[target_id]

    def call_all(self, now: float) -> None:
        """Look everywhere: limits may have been raised."""
        for target_id in tuple(self.by_target):
            self.call_next(self._healths[target_id], now)

    def _users_of(self, health: Health) -> Iterable[str]:
        """Those who may use a slot that this target's attempt gave back."""
        if not self.by_target:
            return ()
        account = health.target.account
        if account.max_concurrency is None:
            return (health.target.id,)
        return [
            target_id
            for target_id in self.by_target
            if self._healths[target_id].target.account.name == account.name
        ]
