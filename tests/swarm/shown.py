"""An engine as the watch sees it: its public face, and what it was made of."""

from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.waiting import Wait
from trio_gateway.policy.route import CommitMode, Patience, Route, Target


class ShownEngine(WatchedEngine):
    """A watched engine that can be asked what it was made of."""

    @property
    def route(self) -> Route:
        """What the policy says about the model that was asked for."""
        return self._case.route

    @property
    def fleet(self) -> Fleet:
        """The health of all targets."""
        return self._case.fleet

    @property
    def wish(self) -> Wish:
        """What the client asked for."""
        return self._case.wish

    def limits(self, target: Target) -> Patience:
        """What the policy lets this exchange wait for at a target."""
        timeouts, commit = target.timeouts, self.route.commit
        is_whole = not self.wish.is_stream or commit.mode is CommitMode.COMPLETE
        return timeouts.answer if is_whole else timeouts.first_token

    @property
    def wait(self) -> Wait | None:
        """What it waits for."""
        return self._waiting
