"""Whom next? All of a route's targets in the order in which to try them.

List order stands between tiers; inside one the balancer decides. Health then reorders,
and hardly ever excludes:

    1  well, ramping or probing, as listed   one that is degraded or ramping steps back
                                             behind the next, as often as its share says
    2  of a failure domain that is falling   two others have just opened
    3  cooling, but not past the deadline    by when they may be asked
    4  open                                  by when they will be probed: a last resort

Left out are those that were disabled and those that asked to be left alone for longer
than this exchange lasts. Nobody else is ever left out: with two or three targets, to
exclude the ill ones is to have none.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from trio_gateway.failover import balancer
from trio_gateway.failover.balancer import Candidate
from trio_gateway.failover.breaker import Breaker, BreakerState
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route, Target

_PROBE: Final = BreakerState.PROBE  # found more quickly, in Python 3.11


def line_up(
    fleet: Fleet, route: Route, by: float, now: float, dice: Callable[[], Random]
) -> list[Target]:
    """Order a route's targets for one exchange that may last until `by`.

    The dice are fetched only where there is something to roll for.
    """
    listed: Sequence[Target] = route.targets
    if not route.is_listed:
        listed = [
            target
            for tier in route.tiers
            for target in _balanced(fleet, tier, now, dice)
        ]
    if fleet.is_untroubled(route, now):
        return list(listed)
    well: list[tuple[Target, bool]] = []  # with whether it steps back behind the next
    cooling: list[tuple[float, Target]] = []
    open_: list[tuple[float, Target]] = []
    for target in listed:
        health = fleet.health(target, now)
        if health.is_untroubled(now):
            well.append((target, False))
        elif health.is_out_of_use(now):
            continue
        elif health.cooldown.is_active(now):
            if health.cooldown.until <= by:
                cooling.append((health.cooldown.until, target))
        elif health.breaker.is_last_resort(now):
            open_.append((health.breaker.open_until, target))
        else:
            well.append((target, _steps_back(health.breaker, now, dice)))
    first = _with_steps(well)
    domains = fleet.domains
    if domains.opened_at:
        falling = [target for target in first if domains.is_suspect(target, now)]
        if falling:
            first = [target for target in first if target not in falling] + falling
    for later in (cooling, open_):
        if later:
            later.sort(key=lambda pair: pair[0])
            first.extend([target for _, target in later])
    return first


def _balanced(
    fleet: Fleet, tier: tuple[Target, ...], now: float, dice: Callable[[], Random]
) -> list[Target]:
    if len(tier) == 1:
        return list(tier)
    healths = [fleet.health(target, now) for target in tier]
    random = dice()
    order = balancer.order(
        [
            Candidate(health.estimate, health.limiter.in_flight, target.weight)
            for health, target in zip(healths, tier, strict=True)
        ],
        draw=random.random(),
        second_draw=random.random(),
        now=now,
    )
    # Whoever must prove itself is asked now, or it would wait for a lucky draw.
    if not all(now < health.breaker.plain_until for health in healths):
        order.sort(key=lambda index: not healths[index].breaker.is_probe_free(now))
    return [tier[index] for index in order]


def _steps_back(breaker: Breaker, now: float, dice: Callable[[], Random]) -> bool:
    if breaker.state(now) is _PROBE:
        return False
    share = breaker.share(now)
    return share < 1.0 and dice().random() >= share


def _with_steps(well: list[tuple[Target, bool]]) -> list[Target]:
    order: list[Target] = []
    waiting: list[Target] = []  # those who let the next one go first
    for target, steps_back in well:
        if steps_back:
            waiting.append(target)
        else:
            order.append(target)
            order.extend(waiting)
            waiting = []
    return order + waiting
