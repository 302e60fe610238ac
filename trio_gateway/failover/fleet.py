"""The health of all targets: one value that every engine asks and informs.

It owns what outlives an exchange: each target's health, each account's credential and
slots, each route's budgets, and who waits for what. It decides nothing about one
exchange; it says what may be tried and remembers how it went.

    engine -- line_up -----> in which order, by health     (failover/lineup)
           -- is_free -----> whether nothing at all speaks against a target
           -- why_not -----> what does, where something may
           -- dial --------> a lease
           -- slow, opened, ended: each lease ends once
           <- calls -------- whose turn it is, whose target has just failed

Nearly always everybody is well. So each question begins with what is known at a glance
(a target is untroubled, it has room), and looks into troubles only where there are any.

One fleet serves one process: what a target is like is an observation of this process,
its own network included. State is lost with it, and begins closed and trusting.
"""

from collections import Counter, deque
from collections.abc import Hashable
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from trio_gateway.failover import succession
from trio_gateway.failover.balancer import seed_s
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.budget import RouteBudgets
from trio_gateway.failover.classify import Blame, meaning_of
from trio_gateway.failover.cooldown import (
    Disabled,
    Disablement,
)
from trio_gateway.failover.domains import Domains
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.health import (
    LATE_IN_A_ROW,
    AccountHealth,
    Health,
    Kind,
    Lease,
    written_limits,
)
from trio_gateway.failover.lines import Lines
from trio_gateway.failover.quantile import AdaptivePatience
from trio_gateway.policy.route import Account, Policy, Route, Target

_CLOSED: Final = BreakerState.CLOSED  # found more quickly, in Python 3.11


class Denied(Enum):
    """Why a target may not be dialled now."""

    DISABLED = "disabled"  # by an operator, or its credential, money or name is bad
    COOLING = "cooling"  # it said when to come back
    FULL = "full"  # it, or its account, has as many attempts as it may have
    BUDGET = "budget"  # too many attempts after the first have failed there
    UNWELL = "unwell"  # it is open, and enough are trying it as a last resort


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an exchange that nobody could serve may tell its client."""

    is_throttled: bool  # every target said when to come back
    soonest_s: float | None  # until one of them may be tried; None: nobody knows
    is_full: bool  # one of them would be asked, had it or its account room


class Fleet:
    """All targets, whichever routes use them.

    Args:
        random: dice for what belongs to no exchange: how long a breaker stays open.
        workers: how many processes like this one share the work.
    """

    def __init__(self, random: Random | None = None, *, workers: int = 1) -> None:
        self._workers = workers
        self._random = random or Random("fleet")
        self._healths: dict[str, Health] = {}
        self._accounts: dict[str, AccountHealth] = {}
        self._routes: dict[str, RouteBudgets] = {}
        self.calls: deque[Hashable] = deque()
        """Tickets of exchanges that should look again; drivers deliver and empty it."""
        self.lines = Lines(self._healths, self.calls)
        """Who waits for a slot, and for whom one is kept."""
        self.domains = Domains(self._healths)
        """Who falls together."""
        self.passed_over: Counter[tuple[str, Denied]] = Counter()
        """How often a target was not dialled when it was its turn, and why."""

    # What there is

    def health(self, target: Target, now: float) -> Health:
        """A target's health; begun when it is first asked for."""
        health = self._healths.get(target.id)
        if health is None:
            others = (other.estimate for other in self._healths.values())
            health = self._healths[target.id] = Health(
                target,
                self.account(target.account),
                self._random,
                seed_s=seed_s(others),
                now=now,
            )
        return health

    def account(self, account: Account) -> AccountHealth:
        """An account's health."""
        known = self._accounts.get(account.name)
        if known is None:
            known = self._accounts[account.name] = AccountHealth(
                account.max_concurrency
            )
        return known

    def budgets(self, route: Route) -> RouteBudgets:
        """A route's budgets."""
        known = self._routes.get(route.slug)
        if known is None:
            known = self._routes[route.slug] = RouteBudgets.of(route, self._workers)
        return known

    def patience(self, target: Target, kind: Kind, now: float) -> AdaptivePatience:
        """How long one kind of request may wait at a target."""
        speed = self.health(target, now).speed(kind, now)
        return speed.patience(written_limits(target, kind), now)

    def is_untroubled(self, route: Route, now: float) -> bool:
        """Whether nothing at all has been heard against a route's targets."""
        for target in route.targets:
            if not self.health(target, now).is_untroubled(now):
                return False
            if self.domains.opened_at and self.domains.is_suspect(target, now):
                return False
        return True

    def are_well(self, route: Route, now: float) -> bool:
        """Whether nothing speaks against any of a route's targets."""
        return all(self.health(target, now).is_well(now) for target in route.targets)

    def outlook(self, route: Route, now: float) -> Outlook:
        """What is to be expected of a route that could not serve a request."""
        throttled: list[float] = []
        others: list[float] = []
        out: list[float] = []
        for target in route.targets:
            health = self.health(target, now)
            account = health.account
            is_penniless = account.is_out_of_quota(now)
            is_refused = account.is_disabled(now) and not is_penniless
            if health.is_disabled(now) or is_refused:
                # Whatever it said when to come back.
                if (left_s := health.out_of_use_s(now)) is not None:
                    out.append(left_s)
                continue
            rest_s = health.cooldown.left_s(now)
            if is_penniless:
                rest_s = max(rest_s, account.left_s(now))
            if rest_s > 0.0:
                throttled.append(rest_s)
            else:
                others.append(max(0.0, health.breaker.open_until - now))
        known = throttled + others or out
        return Outlook(
            is_throttled=bool(throttled) and not others,
            soonest_s=min(known) if known else None,
            is_full=any(
                self.why_not(route, target, is_first=True, now=now) is Denied.FULL
                for target in route.targets
            ),
        )

    def shadow(self, route: Route, now: float) -> "Fleet":
        """A copy to rehearse on, as far as one route goes; nobody waits in it."""
        twin = Fleet(Random("shadow"), workers=self._workers)
        twin._routes[route.slug] = deepcopy(self.budgets(route))
        for target in (*route.targets, *route.context_chain):
            health = self.health(target, now).shadow()
            account = target.account
            if account.name not in twin._accounts:
                twin._accounts[account.name] = deepcopy(health.account)
            health.account = twin._accounts[account.name]
            twin._healths[target.id] = health
        twin.domains.opened_at = deepcopy(self.domains.opened_at)
        twin.domains.watches = deepcopy(self.domains.watches)
        return twin

    # Another policy

    def adopt(self, policy: Policy, now: float) -> None:
        """Go on under another policy: what it did not change keeps its health.

        A target that leads elsewhere now, or by another credential, begins anew; one
        with other breaker rules gets another breaker. What an operator has disabled
        stays so. What is gone is forgotten once nothing uses it: now, or at the next
        change. Must run without an await, as everything here.
        """
        moved = succession.moved(self._healths, policy)
        succession.adopt_targets(
            self._healths,
            policy,
            moved,
            waited_for=self.lines.by_target,
            random=self._random,
            now=now,
        )
        in_use = {health.target.account.name for health in self._healths.values()}
        succession.adopt_accounts(self._accounts, policy, moved, in_use=in_use)
        succession.adopt_routes(self._routes, policy)
        succession.adopt_domains(self.domains.watches, policy, moved)
        succession.forget_openings(self.domains.opened_at, self._healths)
        for target_id, denied in tuple(self.passed_over):
            if target_id not in self._healths:
                del self.passed_over[target_id, denied]
        self.lines.call_all(now)

    # Exchanges

    def admitted(self, route: Route, *, is_client_retry: bool, now: float) -> None:
        """An exchange begins; what a client itself tries again earns nothing."""
        budgets = self.budgets(route)
        budgets.in_flight = in_flight = budgets.in_flight + 1
        budgets.panic.note_in_flight(in_flight, now)
        if not is_client_retry:
            budgets.retries.deposit(now)
            budgets.extras.deposit(now)

    def left(self, route: Route) -> None:
        """An exchange is over."""
        self.budgets(route).in_flight -= 1

    # Attempts

    def why_not(
        self, route: Route, target: Target, *, is_first: bool, now: float
    ) -> Denied | None:
        """What speaks against dialling a target now; None if nothing does."""
        if self.is_free(target, now):
            return None
        return self.hindrance(route, target, is_first=is_first, now=now)

    def is_free(self, target: Target, now: float) -> bool:
        """Whether it has room and nothing at all was heard against it: as a rule."""
        health = self.health(target, now)
        return health.is_untroubled(now) and self._has_room(health, now)

    def hindrance(
        self, route: Route, target: Target, *, is_first: bool, now: float
    ) -> Denied | None:
        """As `why_not`, of one that is known not to be free."""
        health = self.health(target, now)
        denied = self._what_troubles(route, health, is_first=is_first, now=now)
        if denied is None and not self._has_room(health, now):
            return Denied.FULL
        return denied

    def _has_room(self, health: Health, now: float) -> bool:
        if self.lines.by_target.get(health.target.id):
            return False  # others were here before
        return health.has_room(now)

    def _what_troubles(
        self, route: Route, health: Health, *, is_first: bool, now: float
    ) -> Denied | None:
        if health.is_out_of_use(now):
            return Denied.DISABLED
        if health.cooldown.is_active(now):
            return Denied.COOLING
        is_spent = not is_first and not health.budget.is_open
        # A probe is one at a time as it is; and who is only asked after others would
        # else never be seen to have healed.
        is_probe = is_spent and health.breaker.is_probe_free(now)
        if is_spent and not is_probe and not health.is_well(now):
            return Denied.BUDGET
        if health.breaker.is_last_resort(now):
            panic = self.budgets(route).panic
            if not panic.has_room(now):
                return Denied.UNWELL
        return None

    def dial(
        self,
        route: Route,
        target: Target,
        kind: Kind,
        *,
        ticket: Hashable,
        now: float,
    ) -> Lease:
        """Take a lease; only where `why_not` had nothing to say, or a slot is kept."""
        health = self.health(target, now)
        breaker = health.breaker
        is_panic = False
        if now < breaker.plain_until or breaker.state(now) is _CLOSED:
            sent = breaker.sent()
        elif breaker.is_probe_free(now):
            sent = breaker.take_probe(now)
        else:
            is_panic = breaker.is_last_resort(now)
            sent = breaker.sent()
        if is_panic:
            self.budgets(route).panic.enter()
        if not self.lines.take(target.id, ticket):
            health.began()
        speed = health.speed(kind, now)
        patience = speed.patience(written_limits(target, kind), now)
        there = health.limiter.in_flight
        lease = Lease(health, speed, patience, sent, ticket, now, there, is_panic)
        health.waiting.add(lease)
        return lease

    def slow(self, lease: Lease, now: float) -> None:
        """An attempt passed its soft limit."""
        before = lease.health.breaker.opened_at
        lease.health.slow(lease, now)
        self._notice_opening(lease.health, before, now)

    def opened(self, lease: Lease, now: float) -> None:
        """An attempt reached its commit point."""
        lease.health.opened(lease, now)
        self.domains.accepted(lease.health.target.account)

    def ended(
        self, route: Route, lease: Lease, failure: Failure | None, now: float
    ) -> None:
        """An attempt ended: well (None), or with a failure, cancellation included."""
        if failure is not None:
            self._failed(route, lease, failure, now)
        if lease.is_panic:
            self.budgets(route).panic.leave()
        lease.health.ended()
        if self.lines.by_target:
            self.lines.call_next(lease.health, now)

    def _failed(self, route: Route, lease: Lease, failure: Failure, now: float) -> None:
        health = lease.health
        before = health.breaker.opened_at
        cap_s = route.retry.hint_cap_s
        health.failed(lease, failure, cap_s=cap_s, now=now)
        if meaning_of(failure).blame is Blame.CREDENTIAL:
            self.domains.refused(lease, failure, cap_s=cap_s, now=now)
        self._notice_opening(health, before, now)

    def is_given_up(self, target: Target, now: float) -> bool:
        """Whether nothing is expected of the attempts that wait there."""
        health = self.health(target, now)
        is_open = health.breaker.state(now) is BreakerState.OPEN
        is_late = health.late_in_a_row >= LATE_IN_A_ROW
        return is_open or is_late or health.is_switched_off

    def is_last_resort(self, target: Target, now: float) -> bool:
        """Whether a target is known not to work, and may only be tried in despair."""
        breaker = self.health(target, now).breaker
        return now >= breaker.plain_until and breaker.is_last_resort(now)

    def _notice_opening(self, health: Health, before: float, now: float) -> None:
        """Call everyone who waits at a target that has just opened."""
        if health.breaker.opened_at == before:
            return
        self.domains.opened(health.target, now)
        self.calls.extend(lease.ticket for lease in health.waiting)

    # Operators

    def disable(self, target: Target, reason: Disabled, now: float) -> None:
        """Take a target out of use, as an operator says, until `enable`.

        Nothing new is sent there, and who stands in line leaves it at its next look.
        Drained, what was sent goes on to its end; disabled, who has no first token yet
        is called away.
        """
        health = self.health(target, now)
        health.disable(Disablement.begin(reason, now))
        self.lines.dissolve(target.id)
        if health.is_switched_off:
            self.calls.extend(lease.ticket for lease in health.waiting)

    def enable(self, target: Target, now: float) -> None:
        """End a disablement, an operator's or our own, of a target and its account.

        Not a cooldown: the provider has not changed its mind.
        """
        health = self.health(target, now)
        health.disablement = health.account.disablement = None
