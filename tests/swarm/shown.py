"""An engine as the watch sees it: its public face, and what it was made of."""

from collections.abc import Callable, Hashable
from random import Random

from trio_gateway.chaos.history import WatchedEngine
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.waiting import Wait
from trio_gateway.policy.route import CommitMode, Patience, Route, Target


class ShownEngine(WatchedEngine):
    """A watched engine that can be asked what it was made of."""

    def __init__(
        self,
        route: Route,
        fleet: Fleet,
        wish: Wish,
        *,
        ticket: Hashable,
        random_for: Callable[[str], Random],
    ) -> None:
        super().__init__(route, fleet, wish, ticket=ticket, random_for=random_for)
        self.route = route
        self.fleet = fleet
        self.wish = wish

    def limits(self, target: Target) -> Patience:
        """What the policy lets this exchange wait for at a target."""
        timeouts, commit = target.timeouts, self.route.commit
        is_whole = not self.wish.is_stream or commit.mode is CommitMode.COMPLETE
        return timeouts.answer if is_whole else timeouts.first_token

    @property
    def wait(self) -> Wait | None:
        """What it waits for."""
        return self._waiting
