"""What an operator sees: the health of every target and the budgets of every model.

Pictures, frozen; each target's is of one instant. Instants are on the engine's clock
and durations are seconds; who shows them turns them into dates. Of several facts about
a target the one that decides most is its state:

    disabled   it, or its account, is out of use until something outside changes
    cooldown   it said when to come back
    open, probe, ramp, degraded, closed    what its breaker says
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from trio_gateway.failover.breaker import RAMP_S, Breaker, BreakerState
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.fleet import Denied, Fleet
from trio_gateway.failover.health import Health, Kind, Speed, written_limits
from trio_gateway.failover.quantile import PROMPT_BUCKETS
from trio_gateway.policy.route import Patience, Route, Target

# Fewer than one request in twenty moved is not worth an operator's attention.
DEGRADED_FROM: Final = 0.05


class TargetState(StrEnum):
    """How a target is, in one word."""

    CLOSED = "closed"
    DEGRADED = "degraded"
    RAMP = "ramp"
    PROBE = "probe"
    OPEN = "open"
    COOLDOWN = "cooldown"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Standing:
    """A target's state: why, since when, until when."""

    state: TargetState
    why: str | None
    since: float | None  # None: from the beginning
    until: float | None  # None: nobody knows, or until an operator enables it


@dataclass(frozen=True, slots=True)
class BreakerView:
    """What an operator sees of a breaker; instants are on the engine's clock."""

    state: str  # a `BreakerState`, or "degraded"
    since: float | None  # None: from the beginning
    until: float | None  # when time alone will change the state
    cause: str  # why it last opened; empty if it never did
    trips: int
    share: float
    skip_share: float


@dataclass(frozen=True, slots=True)
class Load:
    """How much is under way at a target or an account, and how much may be."""

    in_flight: int
    limit: float | None  # None: unlimited


@dataclass(frozen=True, slots=True)
class LimitsView:
    """The limits on waiting that are in force now, for the models that share them."""

    models: tuple[str, ...]
    soft_s: float
    hard_s: float


@dataclass(frozen=True, slots=True)
class SpeedView:
    """What is measured of one kind of request; quantiles are None while unknown."""

    is_whole: bool  # until the answer is whole, else until the first token
    prompt: str  # its size in tokens: one of `PROMPT_BUCKETS`
    samples: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    limits: tuple[LimitsView, ...]


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target."""

    id: str
    models: tuple[str, ...]  # the slugs that may use it
    standing: Standing
    breaker: BreakerView
    cooldown_until: float | None
    cooldown_waiters: int
    load: Load
    waiting: int  # in line for a slot
    account: str
    account_load: Load
    tokens: float  # of its destination budget
    passed_over: tuple[tuple[Denied, int], ...]  # how often it was not dialled, and why
    speeds: tuple[SpeedView, ...]  # none, where nobody wants to know


@dataclass(frozen=True, slots=True)
class RouteView:
    """One model: its exchanges, and how many more attempts it could have now."""

    slug: str
    in_flight: int
    retries_left: float
    retries_denied: int
    extras_left: float
    extras_denied: int
    panic_live: int
    panic_limit: int


@dataclass(frozen=True, slots=True)
class FleetView:
    """All targets and all models of a policy, in its order."""

    targets: tuple[TargetView, ...]
    routes: tuple[RouteView, ...]


def describe(fleet: Fleet, routes: Iterable[Route], now: float) -> FleetView:
    """Draw all targets of some routes, and the routes.

    Where there may be thousands, and others wait meanwhile, draw one after the other.
    """
    routes = tuple(routes)
    return FleetView(
        targets=tuple(
            describe_users(fleet, users, now) for users in users_of(routes).values()
        ),
        routes=tuple(describe_route(fleet, route, now) for route in routes),
    )


def describe_target(
    fleet: Fleet, routes: Iterable[Route], target_id: str, now: float
) -> TargetView | None:
    """Draw one target; None if no route has it."""
    users = users_of(routes).get(target_id)
    return None if users is None else describe_users(fleet, users, now)


def describe_breaker(breaker: Breaker, now: float) -> BreakerView:
    """Draw one breaker."""
    state = breaker.state(now)
    skip_share = breaker.skip_share(now)
    is_closed = state is BreakerState.CLOSED
    until = {
        BreakerState.OPEN: breaker.open_until,
        BreakerState.RAMP: breaker.since + RAMP_S,
    }
    return BreakerView(
        state="degraded" if is_closed and skip_share > DEGRADED_FROM else state,
        since=None if breaker.since == -inf else breaker.since,
        until=until.get(state),
        cause=breaker.cause,
        trips=breaker.trips(now),
        share=breaker.share(now),
        skip_share=skip_share,
    )


def targets_of(routes: Iterable[Route]) -> dict[str, Target]:
    """Every target by its id, in the order of the routes."""
    return {
        target_id: next(iter(users.values()))
        for target_id, users in users_of(routes).items()
    }


Users = dict[str, Target]
"""One target as each route, by its slug, sees it: only its limits may differ."""


def users_of(routes: Iterable[Route]) -> dict[str, Users]:
    """Each target's users, by its id, in the order of the routes."""
    users: dict[str, Users] = {}
    for route in routes:
        for target in (*route.targets, *route.context_chain):
            users.setdefault(target.id, {}).setdefault(route.slug, target)
    return users


def describe_users(
    fleet: Fleet, users: Users, now: float, *, with_speeds: bool = True
) -> TargetView:
    """Draw the target of some users; its speeds take two thirds of the time."""
    target = next(iter(users.values()))
    health, account = fleet.health(target, now), fleet.account(target.account)
    breaker = describe_breaker(health.breaker, now)
    cooldown = health.cooldown
    return TargetView(
        id=target.id,
        models=tuple(users),
        standing=_standing(fleet, health, breaker, now),
        breaker=breaker,
        cooldown_until=cooldown.until if cooldown.is_active(now) else None,
        cooldown_waiters=cooldown.waiters,
        load=Load(health.limiter.in_flight, health.limiter.limit(now)),
        waiting=fleet.lines.length(target.id),
        account=target.account.name,
        account_load=Load(account.limiter.in_flight, account.limiter.limit(now)),
        tokens=health.budget.tokens,
        passed_over=tuple(
            (denied, count)
            for denied in Denied
            if (count := fleet.passed_over[target.id, denied])
        ),
        speeds=tuple(
            _speed_view(users, kind, speed, now)
            for kind, speed in sorted(health.speeds.items(), key=_by_kind)
            if with_speeds
        ),
    )


def _standing(
    fleet: Fleet, health: Health, breaker: BreakerView, now: float
) -> Standing:
    account = fleet.account(health.target.account)
    for owner, whose in ((health, ""), (account, "provider: ")):
        out = owner.disablement
        if out is not None and owner.is_disabled(now):
            why = f"{whose}{_WHY_DISABLED[out.reason]}"
            return Standing(TargetState.DISABLED, why, out.since, out.until)
    cooldown = health.cooldown
    if cooldown.is_active(now):
        since, why = cooldown.since(now), "it said when to come back"
        return Standing(TargetState.COOLDOWN, why, since, cooldown.until)
    state = TargetState(breaker.state)
    return Standing(state, _why(state, breaker), breaker.since, breaker.until)


def _why(state: TargetState, breaker: BreakerView) -> str | None:
    match state:
        case TargetState.CLOSED:
            return None
        case TargetState.DEGRADED:
            return f"{breaker.skip_share:.0%} of first attempts go elsewhere"
        case _:
            return breaker.cause


_WHY_DISABLED = {
    Disabled.AUTH: "the credential was refused",
    Disabled.QUOTA: "no money or allowance left",
    Disabled.MISCONFIGURED: "there is no such model or deployment",
    Disabled.OPERATOR: "disabled by an operator",
    Disabled.DRAINED: "drained by an operator",
}


def _by_kind(item: tuple[Kind, Speed]) -> tuple[bool, int]:
    kind, _ = item
    return kind.commits_whole, kind.prompt_bucket


def _speed_view(users: Users, kind: Kind, speed: Speed, now: float) -> SpeedView:
    quantiles = speed.quantiles
    return SpeedView(
        is_whole=kind.commits_whole,
        prompt=PROMPT_BUCKETS[kind.prompt_bucket],
        samples=quantiles.samples(now),
        p50_s=quantiles.p50_s(now),
        p95_s=quantiles.p95_s(now),
        p99_s=quantiles.p99_s(now),
        limits=tuple(_limits(users, kind, speed, now)),
    )


def _limits(users: Users, kind: Kind, speed: Speed, now: float) -> Iterator[LimitsView]:
    models: dict[Patience, list[str]] = {}
    for slug, target in users.items():
        models.setdefault(written_limits(target, kind), []).append(slug)
    for written, slugs in models.items():
        patience = speed.patience(written, now)
        yield LimitsView(tuple(slugs), patience.soft_s(now), patience.hard_s(now))


def describe_route(fleet: Fleet, route: Route, now: float) -> RouteView:
    """Draw one model."""
    budgets = fleet.budgets(route)
    return RouteView(
        slug=route.slug,
        in_flight=budgets.in_flight,
        retries_left=budgets.retries.left(now),
        retries_denied=budgets.retries.denied,
        extras_left=budgets.extras.left(now),
        extras_denied=budgets.extras.denied,
        panic_live=budgets.panic.live,
        panic_limit=budgets.panic.limit(now),
    )
