"""What a valid policy may be doing that nobody meant: one function for each look.

Each takes the policy and where it was written, and yields what it finds. None of them
judges taste; each knows a reason why what was written cannot do what it says, or will
hurt on the day when something fails.
"""

from collections.abc import Iterator
from typing import Final

from trio_gateway.failover.run import LENGTH
from trio_gateway.policy.format import defaults
from trio_gateway.policy.judgement.contexts import (
    context_fallback_too_small,
    fallback_holds_less,
)
from trio_gateway.policy.judgement.findings import Finding, Lint
from trio_gateway.policy.judgement.judged import Judged, Look
from trio_gateway.policy.route import AccessKey, Jitter, OnHint, Route

# What stands between a client and here gives up on a silent connection after about so
# long: nginx and AWS's load balancers after 60 s, Heroku's router after 55 s.
BALANCERS_S: Final = 60.0
# Official clients wait ten minutes, unless they are told otherwise.
CLIENTS_S: Final = 600.0


def one_failure_domain(judged: Judged, route: Route) -> Iterator[Finding]:
    """Targets that one outage takes all at once."""
    domains = {target.account.failure_domain for target in route.targets}
    if len(route.targets) > 1 and len(domains) == 1:
        yield Finding(
            Lint.ONE_FAILURE_DOMAIN,
            ("models", route.slug, "targets"),
            f"all {len(route.targets)} targets are in one failure domain, "
            f"{domains.pop()}: one outage takes them all",
            "Add a target of another provider; or, where these do fail apart, write "
            "`failure_domain` on their providers.",
        )


def single_target(_: Judged, route: Route) -> Iterator[Finding]:
    """Nothing to fall back on."""
    if len(route.targets) == 1:
        yield Finding(
            Lint.SINGLE_TARGET,
            ("models", route.slug, "targets"),
            "there is one target, and nothing to fall back on when it fails",
            "Add a second one, best of another provider.",
        )


def unreachable_target(judged: Judged, route: Route) -> Iterator[Finding]:
    """Targets for which no attempt is left."""
    most = route.attempts.max
    before = {
        id(target): sum(map(len, route.tiers[:index]))
        for index, tier in enumerate(route.tiers)
        for target in tier
    }
    for path, target in judged.targets(route):
        if before[id(target)] >= most:
            yield Finding(
                Lint.UNREACHABLE_TARGET,
                path,
                f"attempts.max is {most}, and as many targets stand before it: it is "
                "asked only while one of those is known to be ill",
                "Raise `attempts.max`, move it up, or delete it.",
            )
    for index, (path, _target) in enumerate(judged.chain(route)):
        if 1 + index >= most:
            yield Finding(
                Lint.UNREACHABLE_TARGET,
                path,
                f"attempts.max is {most}: none is left once a prompt was found too "
                "long",
                "Raise `attempts.max`, or delete it.",
            )


def patience_exceeded(judged: Judged, route: Route) -> Iterator[Finding]:
    """Waits that outlast the one who waits."""
    timeouts = route.timeouts
    limit_s = defaults.REASONING_PRECOMMIT_S if route.is_reasoning else BALANCERS_S
    if timeouts.precommit_s > limit_s:
        yield Finding(
            Lint.PATIENCE_EXCEEDED,
            judged.setting(route.slug, "timeouts", "precommit"),
            f"a client may hear nothing for {timeouts.precommit_s:g}s; load balancers "
            f"on its way commonly give up after {limit_s:g}s",
            f"Lower `precommit` to {limit_s:g}s, or raise the idle limits of all "
            "proxies between the clients and here.",
        )
    if timeouts.total_s > CLIENTS_S:
        yield Finding(
            Lint.PATIENCE_EXCEEDED,
            judged.setting(route.slug, "timeouts", "total"),
            f"official clients give up after {CLIENTS_S:g}s, before this",
            f"Lower `total` to {CLIENTS_S:g}s, or raise the clients' own timeout.",
        )


def connect_never_rings(judged: Judged, route: Route) -> Iterator[Finding]:
    """A limit on connecting that another limit always precedes."""
    for path, target in (*judged.targets(route), *judged.chain(route)):
        timeouts = target.timeouts
        if timeouts.connect_s < timeouts.first_token.hard_s:
            continue
        own = (*path, "timeouts", "connect")
        is_own = own in judged.document.places
        yield Finding(
            Lint.CONNECT_NEVER_RINGS,
            own if is_own else judged.setting(route.slug, "timeouts", "connect"),
            f"{target.id} may take {timeouts.connect_s:g}s to connect, but is given "
            f"up after {timeouts.first_token.hard_s:g}s without a token",
            "Lower `connect`: a healthy handshake takes less than 1s.",
        )


def soft_equals_hard(judged: Judged, route: Route) -> Iterator[Finding]:
    """A soft limit that rings when it is over anyway."""
    if not route.is_overlap_on or len(route.targets) < 2:
        return
    for name, limit in (
        ("first_token", route.timeouts.first_token),
        ("answer", route.timeouts.answer),
    ):
        if limit.is_soft_written and limit.soft_s >= limit.hard_s:
            yield Finding(
                Lint.SOFT_EQUALS_HARD,
                judged.setting(route.slug, "timeouts", name, "soft"),
                f"the soft limit is the hard one, {limit.hard_s:g}s: the next target "
                "never starts beside a late one",
                "Lower `soft` to what 99 of 100 answers need.",
            )


def retry_never_runs(judged: Judged, route: Route) -> Iterator[Finding]:
    """A second try at the same target that cannot come."""
    slug, retry = route.slug, route.retry
    same_target = route.attempts.same_target
    is_waiting = retry.on_hint is OnHint.WAIT
    if route.attempts.max == 1 and (same_target or is_waiting):
        keys = ("attempts", "same_target") if same_target else _PREFER
        yield Finding(
            Lint.RETRY_NEVER_RUNS,
            judged.setting(slug, *keys),
            "attempts.max is 1, so nothing is ever tried again",
            "Raise `attempts.max`, or delete this.",
        )
        return
    backoff = ("models", slug, "retry", "backoff")
    if same_target == 0 and not is_waiting and backoff in judged.document.places:
        yield Finding(
            Lint.RETRY_NEVER_RUNS,
            backoff,
            "same_target is 0, so no target is tried again, and nothing backs off",
            "Delete it, or raise `attempts.same_target`.",
        )
    share = {Jitter.NONE: 1.0, Jitter.EQUAL: 0.5, Jitter.FULL: 0.0}[retry.jitter]
    if share * retry.backoff_initial_s >= route.timeouts.precommit_s and (
        same_target != 0 or is_waiting
    ):
        yield Finding(
            Lint.RETRY_NEVER_RUNS,
            judged.setting(slug, "retry", "backoff"),
            f"the shortest backoff outlasts precommit, {route.timeouts.precommit_s:g}s",
            "Lower `initial`.",
        )


_PREFER: Final = ("retry", "retry_after", "prefer")


def hedge_never_runs(judged: Judged, route: Route) -> Iterator[Finding]:
    """A hedge that nothing allows, or that leaves out the case it is for."""
    if route.hedge is None:
        return
    path = judged.setting(route.slug, "hedge")
    if len(route.targets) == 1:
        yield Finding(
            Lint.HEDGE_NEVER_RUNS,
            path,
            "there is no second target to hedge with",
            "Add one, or write `hedge: off`.",
        )
    elif route.attempts.max == 1 or route.max_cost_multiplier < 2:
        yield Finding(
            Lint.HEDGE_NEVER_RUNS,
            path,
            f"a second attempt is never allowed: attempts.max is {route.attempts.max} "
            f"and max_cost_multiplier {route.max_cost_multiplier:g}",
            "Raise both to 2 at least, or write `hedge: off`.",
        )
    elif not route.is_overlap_on:
        yield Finding(
            Lint.HEDGE_WITHOUT_OVERLAP,
            path,
            "a first attempt that may become late is doubled, but with overlap off "
            "one that is late is not",
            "Write `overlap: on`, which costs less and helps more.",
        )


def overlap_never_runs(judged: Judged, route: Route) -> Iterator[Finding]:
    """Overlap that was asked for, and that nothing allows."""
    path = judged.written(route.slug, "overlap")
    if not route.is_overlap_on or path is None:
        return
    is_own = path[0] == "models"
    why = None
    if len(route.targets) == 1 and is_own:
        why = "there is no second target"
    elif route.max_cost_multiplier < 2:
        why = f"max_cost_multiplier is {route.max_cost_multiplier:g}"
    elif route.attempts.max == 1:
        why = "attempts.max is 1"
    if why is not None:
        yield Finding(
            Lint.OVERLAP_NEVER_RUNS,
            path,
            f"nothing ever starts beside a late target: {why}",
            "Allow a second attempt, or write `overlap: off`.",
        )


def queue_exceeds_limit(judged: Judged, route: Route) -> Iterator[Finding]:
    """A line so long that who stands at its end is never served."""
    path = judged.written(route.slug, "queue", "max")
    if path is None:
        return
    limits = [
        (f"max_concurrency of {target.id}", most)
        for target in route.targets
        for most in (target.max_concurrency, target.account.max_concurrency)
        if most is not None
    ]
    limits.append(("gateway.max_in_flight", judged.policy.gateway.max_in_flight))
    name, most = min(limits, key=lambda limit: limit[1])
    if route.queue.max > most:
        yield Finding(
            Lint.QUEUE_EXCEEDS_LIMIT,
            path,
            f"{route.queue.max} may wait where {most} are served at once ({name}): "
            "the last ones wait in vain",
            f"Lower it to {most}, or raise the limit.",
        )


def weight_without_tier(judged: Judged, route: Route) -> Iterator[Finding]:
    """A weight where there is nothing to weigh it against."""
    alone = {id(tier[0]) for tier in route.tiers if len(tier) == 1}
    for path, target in judged.targets(route):
        if id(target) in alone and target.weight != defaults.WEIGHT:
            yield Finding(
                Lint.WEIGHT_WITHOUT_TIER,
                (*path, "weight"),
                "it stands alone in its tier, so all that comes to the tier is its own",
                "Put the targets to be balanced into one nested list, or delete it.",
            )


def run_never_long_enough(judged: Judged, route: Route) -> Iterator[Finding]:
    """A breaker that waits for more failures in a row than anybody counts."""
    for path, target in (*judged.targets(route), *judged.chain(route)):
        if target.breaker.consecutive > LENGTH:
            yield Finding(
                Lint.RUN_NEVER_LONG_ENOUGH,
                judged.of_breaker(path, target, "consecutive"),
                f"no run of failures is counted beyond {LENGTH}, so that only `share` "
                "can open the breaker",
                f"Lower it: {defaults.BREAKER_CONSECUTIVE} in a row are hardly chance.",
            )


def model_without_key(judged: Judged, route: Route) -> Iterator[Finding]:
    """A model that nobody can ask for."""
    keys = judged.policy.access_keys
    if keys and not any(_may_ask(key, route.slug, judged.wall_now) for key in keys):
        yield Finding(
            Lint.MODEL_WITHOUT_KEY,
            ("models", route.slug),
            "no access key may use it",
            "Add it to the `models` of a key, or delete it.",
        )


def _may_ask(key: AccessKey, slug: str, wall_now: float) -> bool:
    is_alive = key.expires_at is None or wall_now < key.expires_at
    return is_alive and (key.models is None or slug in key.models)


LOOKS: Final[tuple[Look, ...]] = (
    one_failure_domain,
    single_target,
    unreachable_target,
    fallback_holds_less,
    context_fallback_too_small,
    patience_exceeded,
    connect_never_rings,
    soft_equals_hard,
    retry_never_runs,
    hedge_never_runs,
    overlap_never_runs,
    queue_exceeds_limit,
    weight_without_tier,
    run_never_long_enough,
    model_without_key,
)
"""The looks at each model."""


def access_keys(judged: Judged) -> Iterator[Finding]:
    """Keys that have ended, or are not there at all."""
    if not judged.policy.access_keys:
        yield Finding(
            Lint.NO_ACCESS_KEYS,
            ("access_keys",),
            "there are no access keys, so every request is refused",
            "Add one under `access_keys`; `trio-gateway keys new` makes it.",
        )
    for index, key in enumerate(judged.policy.access_keys):
        if key.expires_at is not None and key.expires_at <= judged.wall_now:
            yield Finding(
                Lint.EXPIRED_KEY,
                ("access_keys", index, "expires"),
                f"the key of {key.name} has expired, and is refused",
                "Give it a later date, or delete it.",
            )


def unused_providers(judged: Judged) -> Iterator[Finding]:
    """Providers that no model names."""
    used = {
        target.account.name
        for route in judged.policy.routes.values()
        for target in (*route.targets, *route.context_chain)
    }
    for name in judged.policy.accounts:
        if name not in used:
            yield Finding(
                Lint.UNUSED_PROVIDER,
                ("providers", name),
                "no model has a target there",
                "Use it in a model, or delete it.",
            )
