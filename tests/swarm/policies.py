"""Policies at the edge of what is allowed, and what they ask of healthy targets.

Most is `tests.policy.random_routes`; here come what that leaves out, and whether
anybody could serve such a policy at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.policy.random_routes import random_route
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS, Spread
from trio_gateway.policy.route import (
    FAILURES_THAT_MOVE,
    Account,
    Hedge,
    OnHint,
    Route,
    Target,
)

# So long is the longest answer; a healthy target has said it within its limits.
ANSWER_TOKENS_MAX: Final = 60


def routes_of(seed: int, dice: Random, *, is_small: bool) -> tuple[Route, ...]:
    count = 2 if dice.random() < 0.25 else 1
    routes: list[Route] = []
    known: dict[str, Target] = {}
    tries = 0
    while len(routes) < count:
        tries += 1
        route = random_route(f"swarm/{seed}/{tries}")
        if not _is_servable(route, is_small=is_small):
            continue
        route = _dressed(route, f"model-{len(routes)}", dice, seed)
        for target in (*route.targets, *route.context_chain):
            known.setdefault(target.id, target)
        routes.append(_as_known(route, known))
    return tuple(routes)


def _is_servable(route: Route, *, is_small: bool) -> bool:
    limit_s = limit_s_of(route)
    if not is_small:
        return limit_s >= 0.01
    # In bytes even a quick answer takes its way through a network, and every second of
    # rest after a hint costs.
    return (
        limit_s >= 0.1
        and route.timeouts.total_s <= 60.0
        and route.retry.hint_cap_s <= 60.0
    )


def _dressed(route: Route, slug: str, dice: Random, seed: int) -> Route:
    """With what `random_routes` leaves out: tiers, weights, shared accounts."""
    domain = "shared" if dice.random() < 0.2 else None
    twins = dice.random() < 0.2
    most = dice.choice((None, None, None, 2, 20))
    weights = [dice.choice((1.0, 1.0, 3.0)) for _ in route.targets]

    def dressed(target: Target, weight: float) -> Target:
        account: Account = target.account
        model = target.model
        if twins and account.name == "t1":  # two models of one account
            account, model = (
                replace(account, name="t0", base_url="http://t0.test/v1"),
                "n",
            )
        if domain is not None:
            account = replace(account, failure_domain=domain)
        account = replace(account, max_concurrency=most)
        name = f"{account.name}/{model}"
        return replace(target, id=name, account=account, model=model, weight=weight)

    targets = [
        dressed(target, weight)
        for target, weight in zip(route.targets, weights, strict=True)
    ]
    is_tiered = dice.random() < 0.35
    tiers = (tuple(targets),) if is_tiered else tuple((target,) for target in targets)
    route = replace(
        route,
        slug=slug,
        name=slug,
        tiers=tiers,
        context_chain=tuple(dressed(target, 1.0) for target in route.context_chain),
    )
    if seed % 2 == 0:
        hedge = route.hedge or Hedge(dice.choice((0.5, 0.9)), 0.01, 0.05)
        route = replace(route, is_overlap_on=True, hedge=hedge)
    return route


def _as_known(route: Route, known: dict[str, Target]) -> Route:
    """Health has one set of rules for a target, whichever routes use it."""

    def settled(target: Target) -> Target:
        first = known[target.id]
        return replace(
            target,
            account=first.account,
            breaker=first.breaker,
            max_concurrency=first.max_concurrency,
        )

    return replace(
        route,
        tiers=tuple(tuple(map(settled, tier)) for tier in route.tiers),
        context_chain=tuple(map(settled, route.context_chain)),
    )


def targets_of(routes: Sequence[Route]) -> tuple[Target, ...]:
    found = {
        target.id: target
        for route in routes
        for target in (*route.targets, *route.context_chain)
    }
    return tuple(found.values())


def limit_s_of(route: Route) -> float:
    """What the strictest limit leaves one attempt."""
    share_s = route.timeouts.precommit_s / (len(route.targets) + 1)
    limits = [share_s]
    for target in (*route.targets, *route.context_chain):
        for patience in (target.timeouts.first_token, target.timeouts.answer):
            limits += [patience.soft_s, patience.hard_s]
    return min(limits)


def longest_s(route: Route) -> float:
    """How long an attempt of phase one may hold its slot in phase two."""
    return min(
        route.timeouts.total_s,
        max(target.timeouts.answer.hard_s for target in route.targets) * 2,
    )


def is_narrow(routes: Sequence[Route]) -> bool:
    """Whether a target, or an account, serves but few at once."""
    return any(
        most is not None and most < 20
        for target in targets_of(routes)
        for most in (target.max_concurrency, target.account.max_concurrency)
    )


def goes_on(route: Route) -> bool:
    return (
        route.fallback_on.classes >= FAILURES_THAT_MOVE
        and route.attempts.max >= len(route.targets)
        and not route.attempts.same_target
        and route.retry.on_hint is OnHint.FALLBACK
        and route.timeouts.precommit_s >= 5.0
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """How quick healthy targets are: real models, or what strict limits ask for."""

    whole_s: float | None
    gap_s: float

    @classmethod
    def of(cls, routes: Sequence[Route], dice: Random) -> "Pace":
        limit_s = min(map(limit_s_of, routes))
        if limit_s >= 8.0 and not is_narrow(routes):
            return cls(None, 0.01)
        whole_s = min(1.0, limit_s) * dice.uniform(0.1, 0.4)
        return cls(whole_s, 0.4 * whole_s / ANSWER_TOKENS_MAX)

    def first_token(self, dice: Random) -> Spread:
        """How long one target takes to its first token."""
        if self.whole_s is None:
            return FIRST_TOKENS[dice.choice(_MODELS)]
        most_s = 0.6 * self.whole_s
        p50_s = most_s * dice.uniform(0.1, 0.5)
        return Spread.of(p50=p50_s, p95=p50_s * 1.3, p99=p50_s * 1.6, most=most_s)


# Those that never take 5 s, the least that a limit adapts to.
_MODELS: Final = ("gpt-4.1", "gemini-2.5-flash", "gemini-2.5-flash-lite", "deepseek-v3")
