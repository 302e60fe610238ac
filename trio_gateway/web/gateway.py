"""What the door needs to know of the house behind it, and how many are inside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trio_gateway.access.keys import Keyring
from trio_gateway.policy.route import Policy
from trio_gateway.relay.exchange import Relay
from trio_gateway.telemetry.metrics import Metrics


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
        is_ready: what `/readyz` says; no longer so once we drain.
    """

    policy: Policy
    keyring: Keyring
    relay: Relay
    metrics: Metrics
    new_id: Callable[[], str]
    is_ready: bool = True
    in_flight: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no more exchanges may come in now."""
        return self.in_flight >= self.policy.gateway.max_in_flight

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
