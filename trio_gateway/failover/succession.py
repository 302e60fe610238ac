"""When another policy takes over: what is still remembered, of whom.

    unchanged, or other limits alone   everything: state, quantiles, who is in line
    other breaker rules                everything but the breaker, which begins closed
    another place or credential        a new health; attempts under way are still
                                       counted, and an operator's word still holds
    gone                               nothing, once nothing uses it any more

An exchange lives on the policy that it began with, so what is gone may be asked for
again for some minutes; it is then forgotten with the next change. So memory is bounded
by the names of two policies.
"""

from collections.abc import Container, Mapping, MutableMapping
from dataclasses import replace
from random import Random

from trio_gateway.failover.balancer import seed_s
from trio_gateway.failover.breaker import Breaker
from trio_gateway.failover.budget import RouteBudgets
from trio_gateway.failover.cooldown import AuthWatch
from trio_gateway.failover.health import AccountHealth, Health, by_operator
from trio_gateway.policy.route import Account, Policy


def moved(healths: Mapping[str, Health], policy: Policy) -> frozenset[str]:
    """The accounts that lead elsewhere than before, or by another credential."""
    before = {h.target.account.name: h.target.account for h in healths.values()}
    return frozenset(
        name
        for name, account in policy.accounts.items()
        if name in before and not _leads_to_the_same(before[name], account)
    )


def _leads_to_the_same(one: Account, other: Account) -> bool:
    alike = replace(
        other, max_concurrency=one.max_concurrency, failure_domain=one.failure_domain
    )
    return one == alike


def adopt_targets(
    healths: MutableMapping[str, Health],
    policy: Policy,
    moved: Container[str],
    *,
    waited_for: Container[str],
    random: Random,
    now: float,
) -> None:
    """Carry the healths over; `waited_for` are targets that have a line before them."""
    targets = [
        target
        for route in policy.routes.values()
        for target in (*route.targets, *route.context_chain)
    ]
    by_id = {target.id: target for target in targets}
    limits = {target.timeouts.first_token for target in targets}
    limits |= {target.timeouts.answer for target in targets}
    for target_id, health in tuple(healths.items()):
        target = by_id.get(target_id)
        if target is None:
            if not (health.is_in_use or target_id in waited_for):
                del healths[target_id]
            continue
        if target.account.name in moved:
            others = (other.estimate for other in healths.values())
            heir = Health(
                target, health.account, random, seed_s=seed_s(others), now=now
            )
            heir.inherit(health)
            healths[target_id] = health = heir
        elif target.breaker != health.target.breaker:
            health.breaker = Breaker(target.breaker, random)
        health.target = target
        health.limiter.most = target.max_concurrency
        health.keep_limits(limits)


def adopt_accounts(
    accounts: MutableMapping[str, AccountHealth],
    policy: Policy,
    moved: Container[str],
    *,
    in_use: Container[str],
) -> None:
    """Carry over who uses an account, and whether it may be used.

    `in_use` are the accounts of targets that are still remembered.
    """
    for name, health in tuple(accounts.items()):
        account = policy.accounts.get(name)
        if account is not None:
            health.limiter.most = account.max_concurrency
            if name in moved:
                health.disablement = by_operator(health.disablement)
        elif not health.limiter.in_flight and name not in in_use:
            del accounts[name]


def adopt_routes(routes: MutableMapping[str, RouteBudgets], policy: Policy) -> None:
    """Carry over what each slug may spend."""
    for slug, budgets in tuple(routes.items()):
        route = policy.routes.get(slug)
        if route is not None:
            budgets.adopt(route)
        elif not budgets.in_flight:
            del routes[slug]


def adopt_domains(
    domains: MutableMapping[str, AuthWatch], policy: Policy, moved: Container[str]
) -> None:
    """Carry over which credentials of a domain have worked, and which were refused."""
    kept: dict[str, set[str]] = {}
    for name, account in policy.accounts.items():
        if name not in moved:
            kept.setdefault(account.failure_domain, set()).add(name)
    for domain, watch in tuple(domains.items()):
        watch.keep(kept.get(domain, set()))
        if not watch.keys:
            del domains[domain]


def forget_openings(
    opened_at: MutableMapping[str, dict[str, float]], healths: Container[str]
) -> None:
    """Drop the openings of targets that are gone."""
    for domain, opened in tuple(opened_at.items()):
        for target_id in tuple(opened):
            if target_id not in healths:
                del opened[target_id]
        if not opened:
            del opened_at[domain]
