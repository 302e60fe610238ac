"""One exchange as the engine and its rooms see it: what is asked, of whom, since when.

It decides nothing. The engine owns it; `doubling`, `waiting` and `refusal` read it when
they are needed, so that a request without trouble makes none of them.
"""

from collections.abc import Callable, Hashable
from random import Random
from typing import Final

from trio_gateway.failover.attempts import Attempts
from trio_gateway.failover.candidates import Candidates
from trio_gateway.failover.deadlines import Deadlines, Wish
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import kind_of
from trio_gateway.failover.lineup import line_up
from trio_gateway.policy.route import CommitMode, Route

# Found more quickly than the member of the enumeration, in Python 3.11.
_COMPLETE: Final = CommitMode.COMPLETE


class Case:
    """What is known of one exchange; `Engine` says what its parts are.

    `deadlines` and `candidates` are there once it is admitted.
    """

    __slots__ = (
        "attempts",
        "candidates",
        "deadlines",
        "fleet",
        "kind",
        "random_for",
        "route",
        "ticket",
        "wish",
    )

    def __init__(
        self,
        route: Route,
        fleet: Fleet,
        wish: Wish,
        ticket: Hashable,
        random_for: Callable[[str], Random],
    ) -> None:
        commits_whole = not wish.is_stream or route.commit.mode is _COMPLETE
        self.route = route
        self.fleet = fleet
        self.wish = wish
        self.ticket = ticket
        self.random_for = random_for
        self.kind = kind = kind_of(wish.request_bytes, commits_whole=commits_whole)
        self.attempts = Attempts(fleet, route, kind, ticket)
        self.deadlines: Deadlines
        self.candidates: Candidates

    def admit(self, now: float) -> None:
        """Fix its deadlines, and whom to try in which order."""
        route, fleet, wish = self.route, self.fleet, self.wish
        self.deadlines = deadlines = Deadlines.of(
            route, wish, commits_whole=self.kind.commits_whole, now=now
        )
        fleet.admitted(route, is_client_retry=wish.is_client_retry, now=now)
        targets = line_up(fleet, route, deadlines.precommit_by, now, self._lineup_dice)
        self.candidates = Candidates(
            fleet, route, self.attempts, targets, is_client_retry=wish.is_client_retry
        )

    def _lineup_dice(self) -> Random:
        return self.random_for("lineup")
