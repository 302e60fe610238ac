"""A policy file's sections, turned into the values that the engine reads.

Inheritance ends here: a target's word goes before its model's, a model's before
`defaults`, and `defaults` before our own numbers. Nothing here finds fault; `check`
has done that.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import SecretStr

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.format import defaults, model
from trio_gateway.policy.format.model import overlay
from trio_gateway.policy.route import (
    FAILURES_THAT_MOVE,
    AccessKey,
    Account,
    AttemptLimits,
    Authorities,
    BreakerRules,
    CommitMode,
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

ValueT = TypeVar("ValueT")


def resolve(
    written: model.PolicySection,
    *,
    revision: str,
    authorities: Mapping[str, Authorities] | None = None,
) -> Policy:
    """Turn a checked policy into the engine's values.

    Args:
        written: the policy.
        revision: its revision.
        authorities: what each provider's `ca_file` holds, by the provider's name.
    """
    accounts = {
        name: _account(name, provider, (authorities or {}).get(name))
        for name, provider in written.providers.items()
    }
    gateway = written.gateway or model.GatewaySection()
    return Policy(
        revision=revision,
        gateway=GatewayLimits(
            max_in_flight=_or(gateway.max_in_flight, defaults.MAX_IN_FLIGHT),
            max_body_bytes=_or(gateway.max_body, defaults.MAX_BODY_BYTES),
            drain_s=_or(gateway.drain, defaults.DRAIN_S),
        ),
        accounts=accounts,
        access_keys=tuple(_access_key(key) for key in written.access_keys),
        routes={slug: _route(slug, written, accounts) for slug in written.models},
    )


def settings_of(written: model.PolicySection, slug: str) -> model.DefaultsSection:
    """What a model says, over what `defaults` says."""
    return overlay(written.models[slug], written.defaults or model.DefaultsSection())


def breaker_of(
    written: model.PolicySection, target: model.TargetSection
) -> BreakerRules:
    """A target's rules, over its provider's, over those of `defaults`."""
    rules = model.BreakerSection()
    if written.defaults is not None:
        rules = overlay(written.defaults.circuit_breaker, rules)
    rules = overlay(written.providers[target.provider].circuit_breaker, rules)
    rules = overlay(target.circuit_breaker, rules)
    open_for = rules.open or model.OpenSection()
    open_max_s = _or(open_for.max, max(open_for.base or 0, defaults.BREAKER_OPEN_MAX_S))
    return BreakerRules(
        consecutive=_or(rules.consecutive, defaults.BREAKER_CONSECUTIVE),
        share=_or(rules.share, defaults.BREAKER_SHARE),
        window_s=_or(rules.window, defaults.BREAKER_WINDOW_S),
        min_samples=_or(rules.min_samples, defaults.BREAKER_MIN_SAMPLES),
        open_base_s=min(_or(open_for.base, defaults.BREAKER_OPEN_BASE_S), open_max_s),
        open_max_s=open_max_s,
    )


def access_digest(key: model.AccessKeySection) -> bytes:
    """The digest by which a key is known, whether it was written or its hash was."""
    if key.key is not None:
        return hashlib.sha256(key.key.get_secret_value().encode()).digest()
    return bytes.fromhex(key.sha256 or "")


def timeouts_of(written: model.Timeouts, *, is_reasoning: bool) -> Timeouts:
    """Durations for every wait, and which of the limits were written."""
    soft_s, hard_s, precommit_s = (
        defaults.FIRST_TOKEN_SOFT_S,
        defaults.FIRST_TOKEN_HARD_S,
        defaults.PRECOMMIT_S,
    )
    if is_reasoning:
        soft_s, hard_s, precommit_s = (
            defaults.REASONING_FIRST_TOKEN_SOFT_S,
            defaults.REASONING_FIRST_TOKEN_HARD_S,
            defaults.REASONING_PRECOMMIT_S,
        )
    return Timeouts(
        connect_s=_or(written.connect, defaults.CONNECT_S),
        first_token=_patience(written.first_token, soft_s=soft_s, hard_s=hard_s),
        answer=_patience(
            written.answer,
            soft_s=defaults.ANSWER_SOFT_S,
            hard_s=defaults.ANSWER_HARD_S,
        ),
        idle_s=_or(written.idle, defaults.IDLE_S),
        precommit_s=_or(written.precommit, precommit_s),
        total_s=_or(written.total, defaults.TOTAL_S),
        client_stall_s=_or(written.client_stall, defaults.CLIENT_STALL_S),
    )


def _patience(
    written: model.PatienceSection | None, *, soft_s: float, hard_s: float
) -> Patience:
    """An unwritten limit gives way to a written one: soft never ends after hard."""
    soft = None if written is None else written.soft
    hard = None if written is None else written.hard
    return Patience(
        soft_s=min(soft_s, _or(hard, hard_s)) if soft is None else soft,
        hard_s=max(hard_s, _or(soft, soft_s)) if hard is None else hard,
        is_soft_written=soft is not None,
        is_hard_written=hard is not None,
    )


def _account(
    name: str, provider: model.ProviderSection, authorities: Authorities | None
) -> Account:
    return Account(
        name=name,
        kind=ProviderKind(provider.kind),
        base_url=provider.base_url,
        api_key=_secret(provider.api_key),
        failure_domain=_or(provider.failure_domain, name),
        headers=tuple(
            (field, value.get_secret_value())
            for field, value in (provider.headers or {}).items()
        ),
        max_concurrency=provider.max_concurrency,
        proxy=_secret(provider.proxy),
        authorities=authorities,
        api_version=provider.api_version,
    )


def _secret(value: SecretStr | None) -> Secret | None:
    return None if value is None else Secret(value.get_secret_value())


def _access_key(key: model.AccessKeySection) -> AccessKey:
    return AccessKey(
        name=key.name,
        sha256=access_digest(key),
        org=key.org,
        project=key.project,
        models=None if key.models is None else frozenset(key.models),
        expires_at=None if key.expires is None else key.expires.timestamp(),
    )


def _route(
    slug: str, written: model.PolicySection, accounts: Mapping[str, Account]
) -> Route:
    section, settings = written.models[slug], settings_of(written, slug)
    is_reasoning = bool(section.reasoning)
    attempts = settings.attempts or model.AttemptsSection()
    queue = settings.queue or model.QueueSection()
    same_target = _or(attempts.same_target, defaults.SAME_TARGET)
    timeouts = settings.timeouts or model.Timeouts()

    def targets(sections: Iterable[model.TargetSection]) -> tuple[Target, ...]:
        return tuple(
            _target(
                target,
                accounts[target.provider],
                timeouts_of(
                    overlay(target.timeouts, timeouts), is_reasoning=is_reasoning
                ),
                breaker_of(written, target),
            )
            for target in sections
        )

    return Route(
        slug=slug,
        name=_or(section.name, slug),
        tiers=tuple(targets(tier) for tier in section.tiers),
        context_chain=targets(section.context_length_fallback or ()),
        commit=_commit(settings.commit),
        attempts=AttemptLimits(
            max=_or(attempts.max, defaults.ATTEMPTS_MAX),
            same_target=same_target if isinstance(same_target, int) else None,
        ),
        timeouts=timeouts_of(timeouts, is_reasoning=is_reasoning),
        retry=_retry(settings.retry or model.RetrySection()),
        fallback_on=_fallback_on(settings.fallback_on),
        max_cost_multiplier=_or(
            settings.max_cost_multiplier, defaults.MAX_COST_MULTIPLIER
        ),
        is_overlap_on=_or(settings.overlap, defaults.IS_OVERLAP_ON),
        hedge=_hedge(settings.hedge),
        queue=Queue(
            max=_or(queue.max, defaults.QUEUE_MAX),
            max_wait_s=_or(queue.max_wait, defaults.QUEUE_MAX_WAIT_S),
        ),
        is_reasoning=is_reasoning,
    )


def _target(
    written: model.TargetSection,
    account: Account,
    timeouts: Timeouts,
    breaker: BreakerRules,
) -> Target:
    return Target(
        id=written.id,
        account=account,
        model=written.model,
        timeouts=timeouts,
        breaker=breaker,
        weight=_or(written.weight, defaults.WEIGHT),
        max_concurrency=written.max_concurrency,
        overrides=dict(written.overrides or {}),
        context_tokens=written.context_tokens,
    )


def _commit(written: model.CommitTokens | str | None) -> CommitPoint:
    if isinstance(written, model.CommitTokens):
        return CommitPoint(CommitMode.TOKENS, written.tokens)
    return CommitPoint(CommitMode(_or(written, CommitMode.FIRST_TOKEN.value)))


def _retry(written: model.RetrySection) -> RetryRules:
    backoff = written.backoff or model.BackoffSection()
    hint = written.retry_after or model.RetryAfterSection()
    max_s = _or(backoff.max, max(backoff.initial or 0, defaults.BACKOFF_MAX_S))
    return RetryRules(
        backoff_initial_s=min(_or(backoff.initial, defaults.BACKOFF_INITIAL_S), max_s),
        backoff_max_s=max_s,
        jitter=Jitter(_or(backoff.jitter, defaults.JITTER)),
        on_hint=OnHint(_or(hint.prefer, defaults.ON_HINT)),
        hint_wait_max_s=_or(hint.max_wait, defaults.HINT_WAIT_MAX_S),
        hint_cap_s=_or(hint.cap, defaults.HINT_CAP_S),
    )


def _fallback_on(written: list[FailureClass | int] | str | None) -> FallbackOn:
    if not isinstance(written, list):
        return FallbackOn(FAILURES_THAT_MOVE)
    return FallbackOn(
        classes=frozenset(m for m in written if isinstance(m, FailureClass)),
        statuses=frozenset(m for m in written if isinstance(m, int)),
    )


def _hedge(written: model.HedgeSection | str | None) -> Hedge | None:
    if not isinstance(written, model.HedgeSection):
        return None
    return Hedge(
        quantile=_or(written.quantile, defaults.HEDGE_QUANTILE),
        min_delay_s=_or(written.min_delay, defaults.HEDGE_MIN_DELAY_S),
        max_extra=_or(written.max_extra, defaults.HEDGE_MAX_EXTRA),
    )


def _or(value: ValueT | None, default: ValueT) -> ValueT:
    """The value that was written, or the default."""
    return default if value is None else value
