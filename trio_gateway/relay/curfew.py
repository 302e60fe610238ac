"""The instant at which every wait of every exchange ends, because the process must.

Until a drain's deadline is known it is never. Each leaf asks for its scope here, so
that open streams can end visibly when the deadline comes, rather than be cut off. What
waits again and again is entered in `waits` instead.
"""

from math import inf
from typing import Protocol
from weakref import WeakSet

import trio


class Waits(Protocol):
    """Who keeps limits of its own, and wants to be told."""

    def heed(self, curfew_by: float) -> None:
        """Let no wait, one under way included, outlast this instant."""


class Curfew:
    """One process's end, shared by all its exchanges."""

    def __init__(self) -> None:
        self.by = inf
        self.waits: set[Waits] = set()
        self._scopes: WeakSet[trio.CancelScope] = WeakSet()

    @property
    def has_come(self) -> bool:
        """Whether nothing may be waited for any more."""
        return trio.current_time() >= self.by

    def set(self, by: float) -> None:
        """Let every wait, those under way included, end at this instant."""
        self.by = by
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, by)
        for waits in self.waits:
            waits.heed(by)

    def until(self, by: float) -> trio.CancelScope:
        """Give a scope for one wait; where it caught, ask `has_come` for the reason."""
        scope = trio.CancelScope(deadline=min(by, self.by))
        self._scopes.add(scope)
        return scope
