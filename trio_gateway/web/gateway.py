"""What the door needs to know of the house behind it, and how many are inside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from trio_gateway.access.keys import Keyring
from trio_gateway.failover.limiter import LagShedder
from trio_gateway.failover.view import FleetView, describe
from trio_gateway.policy.route import Policy
from trio_gateway.relay.exchange import Relay
from trio_gateway.telemetry.metrics import Metrics


def _nowhere(_: str) -> None:
    """Nobody reads the log."""


def _on_time() -> LagShedder:
    """A shedder of a loop that nobody watches."""
    return LagShedder(0.0)


@dataclass(slots=True)
class Gateway:
    """One process's gateway, as both apps share it.

    `policy` and `keyring` may be replaced, together and without an await between: each
    request takes both once, when it comes.

    Args:
        policy: what the operator asked for.
        keyring: the policy's access keys.
        relay: what all exchanges share.
        metrics: what is counted; `/metrics` shows it.
        new_id: makes a UUID.
        shedder: told how late the event loop is, says whom to turn away.
        write: takes a line of the log, and does not block.
        is_ready: what `/readyz` says; no longer so once we drain.
    """

    policy: Policy
    keyring: Keyring
    relay: Relay
    metrics: Metrics
    new_id: Callable[[], str]
    shedder: LagShedder = field(default_factory=_on_time)
    write: Callable[[str], None] = _nowhere
    is_ready: bool = True
    in_flight: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no more exchanges may come in now."""
        return self.in_flight >= self.policy.gateway.max_in_flight

    def view(self) -> FleetView:
        """How the targets and models of the policy are now."""
        routes = self.policy.routes.values()
        return describe(self.relay.fleet, routes, trio.current_time())

    @contextmanager
    def one_more_in_flight(self) -> Iterator[None]:
        """Count an exchange for as long as it lasts."""
        self.in_flight += 1
        self.metrics.exchange_admitted()
        try:
            yield
        finally:
            self.in_flight -= 1
            self.metrics.exchange_ended()
