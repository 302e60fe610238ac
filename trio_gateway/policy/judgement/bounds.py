"""The worst that a policy lets happen to one request, as numbers.

They hold whatever the targets do, whatever the fleet remembers, however the dice fall;
a test drives the production engine through its worst histories and compares.

    attempts     each target once, and again as often as its retries allow, but never
                 more than `attempts.max`
    requests     twice that: any attempt may have met a connection that had just died,
                 and is then sent once more, uncounted
    time         all attempts' hard limits and all waits, one after another, but never
                 more than `precommit` (for whole answers: `total`). Where a limit is
                 not written, the last attempt gets whatever is left: all of it.
    cost         every attempt that was read is paid for. Duplicates for speed stop at
                 `max_cost_multiplier`; failover does not.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import Final

from trio_gateway.failover.cooldown import RESUME_SPREAD
from trio_gateway.failover.lines import LINE_CHECK_S
from trio_gateway.policy.route import CommitMode, OnHint, Patience, Route, Target

# A hint, or what is left of a cooldown, and the jitter on top.
_SPREAD: Final = 1.0 + RESUME_SPREAD


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request to a model can come to. Durations are seconds."""

    attempts: int  # counted ones: what `attempts.max` bounds
    requests: int  # upstream requests, redials included
    cost: int  # prompts paid for
    cost_for_speed: int  # prompts paid for, up to which overlap or hedging adds one
    stream_s: float  # streamed: until the first token, or the error
    answer_s: float  # not streamed: until the whole answer, or the error
    total_s: float  # until the end of a streamed answer


def bounds_of(route: Route) -> Bounds:
    """The bounds of a route."""
    attempts = attempts_max(route)
    timeouts = route.timeouts
    answer_s = _time_max(route, attempts, timeouts.total_s, is_whole=True)
    is_whole = route.commit.mode is CommitMode.COMPLETE
    precommit_s = min(timeouts.precommit_s, timeouts.total_s)
    stream_s = _time_max(route, attempts, precommit_s, is_whole=False)
    return Bounds(
        attempts=attempts,
        requests=2 * attempts,
        cost=attempts,
        cost_for_speed=_cost_for_speed(route, attempts),
        stream_s=answer_s if is_whole else stream_s,
        answer_s=answer_s,
        total_s=timeouts.total_s,
    )


def attempts_max(route: Route) -> int:
    """The most attempts that count."""
    targets, chain = len(route.targets), len(route.context_chain)
    retries = route.attempts.same_target
    is_hint_waited_for = route.retry.on_hint is OnHint.WAIT
    if retries is None and not is_hint_waited_for:
        # `auto`: one retry, where exactly one target can be asked at all.
        possible = max(targets + chain, 2 * (1 + chain))
    else:
        possible = (targets + chain) * (1 + retries_max(route))
    return min(route.attempts.max, possible)


def retries_max(route: Route) -> int:
    """How often one target may be asked again."""
    retries = route.attempts.same_target
    if retries is None:
        return 1
    return max(retries, int(route.retry.on_hint is OnHint.WAIT))


def hard_limits(target: Target, *, is_whole: bool) -> Patience:
    """The limits on one attempt at a target."""
    return target.timeouts.answer if is_whole else target.timeouts.first_token


def _cost_for_speed(route: Route, attempts: int) -> int:
    others = len(route.targets) + len(route.context_chain) - 1
    if not (route.is_overlap_on or route.hedge) or not others:
        return 1
    return min(attempts, floor(route.max_cost_multiplier))


def _time_max(route: Route, attempts: int, bound_s: float, *, is_whole: bool) -> float:
    """All limits and waits in a row, at most `bound_s`."""
    retry, tries = route.retry, 1 + retries_max(route)
    targets = (*route.targets, *route.context_chain)
    limits = [hard_limits(target, is_whole=is_whole) for target in targets]
    each = [limit.hard_s if limit.is_hard_written else inf for limit in limits]
    longest = sorted(each * tries, reverse=True)[:attempts]
    # Before a target: for its throttle to end, or in line.
    wait_s = max(_SPREAD * retry.hint_wait_max_s, route.queue.max_wait_s + LINE_CHECK_S)
    # Before the same target again: also for a throttle that another request met.
    again_s = max(
        retry.backoff_max_s, _SPREAD * max(retry.hint_wait_max_s, retry.hint_cap_s)
    )
    retries = attempts - 1 if tries > 1 else 0
    return min(bound_s, 2 * sum(longest) + len(targets) * wait_s + retries * again_s)
