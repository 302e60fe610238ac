"""Policies as values, so that a test says only what it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from trio_gateway.policy.route import (
    FAILURES_THAT_MOVE,
    AccessKey,
    Account,
    AttemptLimits,
    BreakerRules,
    CommitPoint,
    FallbackOn,
    GatewayLimits,
    Hedge,
    Jitter,
    OnHint,
    Patience,
    Policy,
    ProviderKind,
    Queue,
    RetryRules,
    Route,
    Secret,
    Target,
    Timeouts,
)

TIMEOUTS = Timeouts(
    connect_s=2.0,
    first_token=Patience(soft_s=8.0, hard_s=20.0),
    answer=Patience(soft_s=60.0, hard_s=120.0),
    idle_s=30.0,
    precommit_s=45.0,
    total_s=600.0,
    client_stall_s=30.0,
)
RETRY = RetryRules(
    backoff_initial_s=0.25,
    backoff_max_s=8.0,
    jitter=Jitter.FULL,
    on_hint=OnHint.FALLBACK,
    hint_wait_max_s=5.0,
    hint_cap_s=300.0,
)
BREAKER = BreakerRules(
    consecutive=5,
    share=0.5,
    window_s=10.0,
    min_samples=10,
    open_base_s=5.0,
    open_max_s=30.0,
)
KEY = "tg-test-key"


def an_account(
    name: str = "a",
    *,
    kind: ProviderKind = ProviderKind.OPENAI,
    base_url: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    api_version: str | None = None,
) -> Account:
    return Account(
        name=name,
        kind=kind,
        base_url=base_url or f"http://{name}.test:80/v1",
        api_key=Secret(f"sk-{name}"),
        failure_domain=name,
        headers=headers,
        api_version=api_version,
    )


def a_target(
    name: str = "a",
    *,
    model: str = "m",
    account: Account | None = None,
    timeouts: Timeouts = TIMEOUTS,
    overrides: Mapping[str, object] | None = None,
    max_concurrency: int | None = None,
    weight: float = 1.0,
) -> Target:
    return Target(
        id=f"{name}/{model}",
        account=account or an_account(name),
        model=model,
        timeouts=timeouts,
        breaker=BREAKER,
        weight=weight,
        max_concurrency=max_concurrency,
        overrides=overrides or {},
    )


def a_route(
    targets: str | Sequence[Target] = "ab",
    *,
    slug: str = "chat",
    chain: str | Sequence[Target] = "",
    attempts_max: int = 3,
    same_target: int | None = None,
    timeouts: Timeouts = TIMEOUTS,
    retry: RetryRules = RETRY,
    fallback_on: FallbackOn | None = None,
    commit: CommitPoint | None = None,
    is_overlap_on: bool = False,
    hedge: Hedge | None = None,
    max_cost_multiplier: float = 2.0,
    queue: Queue | None = None,
) -> Route:
    """A route whose targets are values, or named by the letters of a string."""

    def all_of(named: str | Sequence[Target]) -> tuple[Target, ...]:
        if isinstance(named, str):
            return tuple(a_target(name, timeouts=timeouts) for name in named)
        return tuple(named)

    return Route(
        slug=slug,
        name=slug.title(),
        tiers=tuple((target,) for target in all_of(targets)),
        context_chain=all_of(chain),
        commit=commit or CommitPoint(),
        attempts=AttemptLimits(max=attempts_max, same_target=same_target),
        timeouts=timeouts,
        retry=retry,
        fallback_on=fallback_on or FallbackOn(FAILURES_THAT_MOVE),
        max_cost_multiplier=max_cost_multiplier,
        is_overlap_on=is_overlap_on,
        hedge=hedge,
        queue=queue or Queue(max=1000, max_wait_s=2.0),
    )


def an_access_key(
    name: str = "tester",
    *,
    key: str = KEY,
    models: frozenset[str] | None = None,
    expires_at: float | None = None,
) -> AccessKey:
    return AccessKey(
        name=name,
        sha256=sha256(key.encode()).digest(),
        org="acme",
        project="tests",
        models=models,
        expires_at=expires_at,
    )


def a_policy(
    *routes: Route,
    keys: Sequence[AccessKey] | None = None,
    max_body_bytes: int = 20 * 1024 * 1024,
) -> Policy:
    routes = routes or (a_route(),)
    accounts = {
        target.account.name: target.account
        for route in routes
        for target in (*route.targets, *route.context_chain)
    }
    return Policy(
        revision="test",
        gateway=GatewayLimits(
            max_in_flight=2000, max_body_bytes=max_body_bytes, drain_s=30.0
        ),
        accounts=accounts,
        access_keys=tuple(keys) if keys is not None else (an_access_key(),),
        routes={route.slug: route for route in routes},
    )


def with_timeouts(**changes: float | Patience) -> Timeouts:
    """The default timeouts, but for these."""
    return replace(TIMEOUTS, **changes)  # type: ignore[arg-type]  # checked at run time
