"""What the door needs to know of the house behind it, and how many are inside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from trio_gateway.access.keys import Keyring
from trio_gateway.failover.shedding import LagShedder
from trio_gateway.failover.view import (
    FleetView,
    TargetView,
    describe_route,
    describe_users,
    users_of,
)
from trio_gateway.policy.route import Policy
from trio_gateway.relay.relay import Relay
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.recent import RecentExchanges

# So many targets take a millisecond or two.
_DRAWN_AT_ONCE: Final = 20


def _nowhere(_: str) -> None:
    """Nobody reads the log."""


def _on_time() -> LagShedder:
    """A shedder of a loop that nobody watches."""
    return LagShedder(0.0)


@dataclass(frozen=True, slots=True)
class PolicyRefusal:
    """Policy files that were refused: when (wall time), and the report's lines."""

    at: float
    report: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyNews:
    """Where the policy came from, and what became of its files since.

    Args:
        source: the file or the folder.
        number: how many policies this process has had.
        loaded_at: since when this one holds; wall time.
        changes: what it changed, in an operator's words.
        last_refusal: the last files that were refused.
        are_files_refused: whether the files are so as they are now.
    """

    source: str = ""
    number: int = 1
    loaded_at: float = 0.0
    changes: tuple[str, ...] = ()
    last_refusal: PolicyRefusal | None = None
    are_files_refused: bool = False


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
        recent: the last exchanges.
        news: where the policy came from.
        is_ready: what `/readyz` says; no longer so once we drain.
    """

    policy: Policy
    keyring: Keyring
    relay: Relay
    metrics: Metrics
    new_id: Callable[[], str]
    shedder: LagShedder = field(default_factory=_on_time)
    write: Callable[[str], None] = _nowhere
    recent: RecentExchanges = field(default_factory=RecentExchanges)
    news: PolicyNews = PolicyNews()
    is_ready: bool = True
    in_flight: int = 0

    @property
    def is_full(self) -> bool:
        """Whether no more exchanges may come in now."""
        return self.in_flight >= self.policy.gateway.max_in_flight

    def adopt(self, policy: Policy) -> None:
        """Go on under another policy, from the next request on.

        Whoever is inside lives on the policy that it came with. There is no await in
        here, so that nobody comes in between.
        """
        self.policy = policy
        self.keyring = Keyring(policy.access_keys)
        self.metrics.adopt(policy)
        self.relay.letterheads.forget()
        self.relay.fleet.adopt(policy, trio.current_time())
        self.relay.deliver_calls()

    async def view(self, *, with_speeds: bool = True) -> FleetView:
        """How the targets and models of the policy are, each when it is looked at.

        Of a thousand models it takes a fifth of a second, so requests go on meanwhile.
        """
        fleet, routes = self.relay.fleet, self.policy.routes.values()
        targets: list[TargetView] = []
        for number, users in enumerate(users_of(routes).values()):
            if number % _DRAWN_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            now = trio.current_time()
            targets.append(describe_users(fleet, users, now, with_speeds=with_speeds))
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        models = tuple(describe_route(fleet, route, now) for route in routes)
        return FleetView(tuple(targets), models)

    def come_in(self) -> None:
        """Count an exchange that begins; `go_out` follows on every path."""
        self.in_flight += 1
        self.metrics.exchange_admitted()

    def go_out(self) -> None:
        """Count an exchange that has ended."""
        self.in_flight -= 1
        self.metrics.exchange_ended()
