"""The instant at which every wait of every exchange ends, because the process must.

Until a drain's deadline is known it is never. Who keeps limits is entered in `waits`
meanwhile, so that open streams end visibly when the deadline comes, rather than be cut
off, and who has no answer yet is refused.
"""

from math import inf
from typing import Protocol

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

    @property
    def has_come(self) -> bool:
        """Whether nothing may be waited for any more."""
        return trio.current_time() >= self.by

    def set(self, by: float) -> None:
        """Let every wait, those under way included, end at this instant."""
        self.by = by
        for waits in self.waits:
            waits.heed(by)
