"""What another policy changes, in the words of its file: `timeouts.idle: 30s -> 20s`.

For a log and for operators. Nothing secret is told: that a credential, a header or a
proxy is another one, but never which.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from trio_gateway.policy.route import (
    AccessKey,
    Account,
    BreakerRules,
    CommitMode,
    Hedge,
    Patience,
    Policy,
    Route,
    Target,
    Timeouts,
)

# More than a screen of changes is not read; their number is still told.
CHANGES_MAX: Final = 100
# Enough names to see which they are; `defaults` may change a thousand models.
NAMES_MAX: Final = 10

ThingT = TypeVar("ThingT")
Words = Mapping[str, str]
"""A thing's settings by their keys, each as it might be written."""
Hidden = Mapping[str, object]
"""Settings of which only that they changed is told."""


def changes(before: Policy, after: Policy) -> tuple[str, ...]:
    """Every difference, one a line; none where the two mean the same."""
    found = list(_changes(before, after))
    if len(found) > CHANGES_MAX:
        more = len(found) - CHANGES_MAX
        found[CHANGES_MAX:] = [f"and {more} more"]
    return tuple(found)


def _changes(before: Policy, after: Policy) -> Iterator[str]:
    for change in _settings(_gateway(before), _gateway(after)):
        yield f"gateway: {change}"
    yield from _things("provider", before.accounts, after.accounts, _of_account)
    yield from _things("access key", _by_name(before), _by_name(after), _of_key)
    yield from _things("model", before.routes, after.routes, _of_route)


def _things(
    what: str,
    before: Mapping[str, ThingT],
    after: Mapping[str, ThingT],
    compare: Callable[[ThingT, ThingT], Iterator[str]],
) -> Iterator[str]:
    """What happened to all things of a kind; a change to many is told once."""
    yield from (f"{what} {name}: removed" for name in before if name not in after)
    yield from (f"{what} {name}: added" for name in after if name not in before)
    changed: dict[str, list[str]] = {}
    for name, thing in after.items():
        old = before.get(name)
        if old is not None and old != thing:
            for change in compare(old, thing):
                changed.setdefault(change, []).append(name)
    for change, names in changed.items():
        if len(names) == 1:
            yield f"{what} {names[0]}: {change}"
        else:
            more = ", ..." if len(names) > NAMES_MAX else ""
            named = ", ".join(names[:NAMES_MAX])
            yield f"{len(names)} {what}s ({named}{more}): {change}"


def _settings(before: Words, after: Words) -> Iterator[str]:
    for key in (*before, *(key for key in after if key not in before)):
        old, new = before.get(key, "none"), after.get(key, "none")
        if old != new:
            yield f"{key}: {old} -> {new}"


def _hidden(before: Hidden, after: Hidden) -> Iterator[str]:
    for key in (*before, *(key for key in after if key not in before)):
        if before.get(key) != after.get(key):
            yield f"{key} changed"


def _gateway(policy: Policy) -> Words:
    limits = policy.gateway
    return {
        "max_in_flight": str(limits.max_in_flight),
        "max_body": f"{limits.max_body_bytes}B",
        "drain": _time(limits.drain_s),
    }


def _of_account(before: Account, after: Account) -> Iterator[str]:
    yield from _settings(_account(before), _account(after))
    yield from _hidden(_hidden_of_account(before), _hidden_of_account(after))


def _account(account: Account) -> Words:
    return {
        "kind": account.kind.value,
        "base_url": account.base_url,
        "failure_domain": account.failure_domain,
        "max_concurrency": _or_none(account.max_concurrency),
        "ca_file": _or_none(_file(account)),
        "api_version": _or_none(account.api_version),
    }


def _hidden_of_account(account: Account) -> Hidden:
    headers = {f"headers.{name}": value for name, value in account.headers}
    return {
        "api_key": account.api_key,
        "proxy": account.proxy,
        "what ca_file holds": account.authorities and account.authorities.pem,
        **headers,
    }


def _file(account: Account) -> str | None:
    return None if account.authorities is None else account.authorities.file


def _by_name(policy: Policy) -> Mapping[str, AccessKey]:
    return {key.name: key for key in policy.access_keys}


def _of_key(before: AccessKey, after: AccessKey) -> Iterator[str]:
    yield from _settings(_access_key(before), _access_key(after))
    yield from _hidden({"key": before.sha256}, {"key": after.sha256})


def _access_key(key: AccessKey) -> Words:
    expires = "never"
    if key.expires_at is not None:
        expires = datetime.fromtimestamp(key.expires_at, UTC).isoformat()
    return {
        "org": _or_none(key.org),
        "project": _or_none(key.project),
        "models": "all" if key.models is None else _list(sorted(key.models)),
        "expires": expires,
    }


def _of_route(before: Route, after: Route) -> Iterator[str]:
    yield from _settings(_route(before), _route(after))
    old = {t.id: (before, t) for t in (*before.targets, *before.context_chain)}
    for target in (*after.targets, *after.context_chain):
        if target.id in old:
            for change in _of_target(*old[target.id], after, target):
                yield f"{target.id} {change}"


def _of_target(
    route_before: Route, before: Target, route_after: Route, after: Target
) -> Iterator[str]:
    """The settings of a target that are its own, and not its model's."""
    yield from _settings(_target(before), _target(after))
    inherited = _timeouts(route_before.timeouts), _timeouts(route_after.timeouts)
    timeouts = _timeouts(before.timeouts), _timeouts(after.timeouts)
    if timeouts != inherited:
        yield from _settings(*timeouts)
    yield from _hidden({"overrides": before.overrides}, {"overrides": after.overrides})


def _target(target: Target) -> Words:
    return {
        "weight": f"{target.weight:g}",
        "context_tokens": _or_none(target.context_tokens),
        "max_concurrency": _or_none(target.max_concurrency),
        "circuit_breaker": _breaker(target.breaker),
    }


def _route(route: Route) -> Words:
    retry = route.retry
    return {
        "name": route.name,
        "reasoning": _switch(is_on=route.is_reasoning),
        "targets": _list(map(_tier, route.tiers)),
        "context_length_fallback": _list(target.id for target in route.context_chain),
        "commit": _commit(route),
        "attempts.max": str(route.attempts.max),
        "attempts.same_target": _or_auto(route.attempts.same_target),
        **_timeouts(route.timeouts),
        "timeouts.precommit": _time(route.timeouts.precommit_s),
        "timeouts.total": _time(route.timeouts.total_s),
        "timeouts.client_stall": _time(route.timeouts.client_stall_s),
        "retry.backoff.initial": _time(retry.backoff_initial_s),
        "retry.backoff.max": _time(retry.backoff_max_s),
        "retry.backoff.jitter": retry.jitter.value,
        "retry.retry_after.prefer": retry.on_hint.value,
        "retry.retry_after.max_wait": _time(retry.hint_wait_max_s),
        "retry.retry_after.cap": _time(retry.hint_cap_s),
        "fallback_on": _list(
            [
                *sorted(route.fallback_on.classes),
                *map(str, sorted(route.fallback_on.statuses)),
            ]
        ),
        "max_cost_multiplier": f"{route.max_cost_multiplier:g}",
        "overlap": _switch(is_on=route.is_overlap_on),
        "hedge": _hedge(route.hedge),
        "queue.max": str(route.queue.max),
        "queue.max_wait": _time(route.queue.max_wait_s),
    }


def _tier(tier: Sequence[Target]) -> str:
    ids = ", ".join(target.id for target in tier)
    return ids if len(tier) == 1 else f"[{ids}]"


def _commit(route: Route) -> str:
    mode = route.commit.mode
    if mode is CommitMode.TOKENS:
        return f"{{tokens: {route.commit.tokens}}}"
    return str(mode.value)


def _timeouts(timeouts: Timeouts) -> dict[str, str]:
    """Those that a target may have of its own."""
    return {
        "timeouts.connect": _time(timeouts.connect_s),
        "timeouts.first_token": _patience(timeouts.first_token),
        "timeouts.answer": _patience(timeouts.answer),
        "timeouts.idle": _time(timeouts.idle_s),
    }


def _patience(patience: Patience) -> str:
    """Soft and hard; what was not written may adapt."""
    soft = _time(patience.soft_s) + ("" if patience.is_soft_written else " (adaptive)")
    hard = _time(patience.hard_s) + ("" if patience.is_hard_written else " (adaptive)")
    return f"{{soft: {soft}, hard: {hard}}}"


def _breaker(rules: BreakerRules) -> str:
    return (
        f"{{consecutive: {rules.consecutive}, share: {rules.share:g}, "
        f"window: {_time(rules.window_s)}, min_samples: {rules.min_samples}, "
        f"open: {_time(rules.open_base_s)} to {_time(rules.open_max_s)}}}"
    )


def _hedge(hedge: Hedge | None) -> str:
    if hedge is None:
        return "off"
    return (
        f"{{quantile: {hedge.quantile:g}, min_delay: {_time(hedge.min_delay_s)}, "
        f"max_extra: {hedge.max_extra:g}}}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:g}s"


def _switch(*, is_on: bool) -> str:
    return "on" if is_on else "off"


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)


def _or_auto(value: int | None) -> str:
    return "auto" if value is None else str(value)


def _list(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"
