"""Inheritance: what holds for a target, from all that was and was not written."""

from pathlib import Path
from typing import Any

import pytest

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.check import check
from trio_gateway.policy.files.document import Document
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.files.references import expand
from trio_gateway.policy.format import defaults
from trio_gateway.policy.format.model import PolicySection
from trio_gateway.policy.load import read_policy
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import (
    FAILURES_THAT_MOVE,
    BreakerRules,
    CommitMode,
    CommitPoint,
    GatewayLimits,
    Hedge,
    Jitter,
    OnHint,
    Patience,
    Policy,
    Queue,
    Route,
    Timeouts,
)

COMPLETE = Path(__file__).with_name("complete.yaml")
ENVIRON = dict.fromkeys(
    ["OPENAI_API_KEY", "AZURE_EU_KEY", "AZURE_US_KEY", "SUPPORT_BOT_KEY"], "tgw_key"
)


def a_section(**parts: Any) -> PolicySection:
    providers = {
        "a": {"base_url": "https://a.test"},
        "b": {"base_url": "http://b.test"},
    }
    return PolicySection.model_validate({"version": 1, "providers": providers, **parts})


def a_route(model: dict[str, Any], **parts: Any) -> Route:
    written = {"targets": [{"provider": "a", "model": "x"}], **model}
    section = a_section(models={"m": written}, **parts)
    return resolve(section, revision="r").routes["m"]


def the_complete_policy() -> tuple[Document, Policy]:
    document, problems = read_document(str(COMPLETE), COMPLETE.read_bytes())
    assert document is not None
    assert problems == []
    document, problems = expand(document, ENVIRON)
    assert problems == []
    section = PolicySection.model_validate(document.value)
    assert list(check(section, document)) == []
    return document, resolve(section, revision="r")


def test_an_address_loses_the_slash_at_its_end() -> None:
    section = a_section(providers={"a": {"base_url": "https://a.test/v1/"}})
    accounts = resolve(section, revision="r").accounts
    assert accounts["a"].base_url == "https://a.test/v1"


def test_what_is_not_written_comes_from_the_defaults() -> None:
    route = a_route({})
    assert route.timeouts == Timeouts(
        connect_s=2,
        first_token=Patience(8, 20),
        answer=Patience(60, 120),
        idle_s=30,
        precommit_s=45,
        total_s=600,
        client_stall_s=30,
    )
    assert route.attempts.max == 3
    assert route.attempts.same_target is None
    assert route.commit == CommitPoint(CommitMode.FIRST_TOKEN)
    assert route.retry.jitter is Jitter.FULL
    assert route.retry.on_hint is OnHint.FALLBACK
    assert route.fallback_on.classes == FAILURES_THAT_MOVE
    assert route.hedge is None
    assert route.is_overlap_on
    assert route.queue == Queue(1000, 2)
    assert route.name == "m"
    [target] = route.targets
    assert target.breaker == BreakerRules(5, 0.5, 10, 10, 5, 30)
    assert target.timeouts == route.timeouts
    assert target.account.failure_domain == "a"


def test_writing_out_every_default_changes_nothing_but_the_marks() -> None:
    _, policy = the_complete_policy()
    assert policy.gateway == GatewayLimits(2000, 20 << 20, 30)
    written, silent = policy.routes["gpt-4o-mini"], a_route({})
    assert written.timeouts.first_token == Patience(
        8, 20, is_soft_written=True, is_hard_written=True
    )
    assert written.timeouts.total_s == silent.timeouts.total_s
    assert written.retry == silent.retry
    assert written.attempts == silent.attempts
    assert written.queue == silent.queue
    assert written.targets[0].breaker == silent.targets[0].breaker


def test_the_complete_policy_resolves() -> None:
    _, policy = the_complete_policy()
    route = policy.routes["gpt-4o-mini"]
    assert [[t.id for t in tier] for tier in route.tiers] == [
        ["openai/gpt-4o-mini"],
        ["azure-eu/mini-prod", "azure-us/mini-prod"],
    ]
    assert [t.weight for t in route.targets] == [1, 3, 1]
    assert route.targets[1].timeouts.first_token.hard_s == 10
    assert [t.id for t in route.context_chain] == ["openai/gpt-4.1-mini"]
    assert policy.accounts["openai"].max_concurrency == 200
    assert policy.routes["batch-summaries"].commit.mode is CommitMode.COMPLETE
    bot, ci = policy.access_keys
    assert bot.models == frozenset({"gpt-4o-mini"})
    assert (bot.org, bot.project, bot.expires_at) == ("acme", "support", None)
    assert ci.models is None
    assert ci.expires_at == 1798761600  # 2027-01-01T00:00:00Z


def test_every_key_may_be_written() -> None:
    read_policy([("f.yaml", COMPLETE.read_bytes())], environ=ENVIRON, root="f.yaml")


def test_a_target_goes_before_its_model_and_a_model_before_the_defaults() -> None:
    route = a_route(
        {
            "timeouts": {"idle": "7s", "first_token": "9s"},
            "targets": [
                {"provider": "a", "model": "x", "timeouts": {"idle": "5s"}},
                {"provider": "b", "model": "x", "timeouts": {"first_token": "4s"}},
            ],
        },
        defaults={"timeouts": {"idle": "9s", "connect": "1s", "total": "90s"}},
    )
    first, second = (target.timeouts for target in route.targets)
    assert (first.idle_s, second.idle_s, route.timeouts.idle_s) == (5, 7, 7)
    assert (first.first_token.hard_s, second.first_token.hard_s) == (9, 4)
    assert first.connect_s == second.connect_s == 1
    assert first.total_s == second.total_s == 90


def test_mappings_are_inherited_key_by_key() -> None:
    route = a_route(
        {
            "attempts": {"same_target": 2},
            "retry": {"backoff": {"max": "2s"}},
            "hedge": {"quantile": 0.9},
        },
        defaults={
            "attempts": {"max": 5, "same_target": 1},
            "retry": {"backoff": {"jitter": "none"}, "retry_after": {"prefer": "wait"}},
            "hedge": {"min_delay": "1s"},
        },
    )
    assert (route.attempts.max, route.attempts.same_target) == (5, 2)
    assert (route.retry.backoff_max_s, route.retry.jitter) == (2, Jitter.NONE)
    assert route.retry.on_hint is OnHint.WAIT
    assert route.hedge == Hedge(0.9, 1, 0.05)


def test_a_model_may_undo_what_the_defaults_say() -> None:
    route = a_route(
        {
            "hedge": False,
            "overlap": "on",
            "commit": "first_token",
            "attempts": {"same_target": "auto"},
            "fallback_on": "default",
        },
        defaults={
            "hedge": {},
            "overlap": False,
            "commit": {"tokens": 20},
            "attempts": {"same_target": 0},
            "fallback_on": ["timeout"],
        },
    )
    assert route.hedge is None
    assert route.is_overlap_on
    assert route.commit == CommitPoint(CommitMode.FIRST_TOKEN)
    assert route.attempts.same_target is None
    assert route.fallback_on.classes == FAILURES_THAT_MOVE


def test_a_breaker_is_the_targets_over_the_providers_over_the_defaults() -> None:
    section = a_section(
        providers={
            "a": {
                "base_url": "https://a.test",
                "circuit_breaker": {"window": "20s", "open": {"max": "60s"}},
            }
        },
        defaults={"circuit_breaker": {"window": "5s", "consecutive": 9}},
        models={
            "m": {
                "targets": [
                    {
                        "provider": "a",
                        "model": "x",
                        "circuit_breaker": {"share": "20%", "open": {"base": "40s"}},
                    }
                ]
            }
        },
    )
    [target] = resolve(section, revision="r").routes["m"].targets
    assert target.breaker == BreakerRules(9, 0.2, 20, 10, 40, 60)


def test_reasoning_changes_what_is_not_written_and_nothing_else() -> None:
    silent = a_route({"reasoning": True})
    assert silent.is_reasoning
    assert silent.timeouts.first_token == Patience(30, 120)
    assert silent.timeouts.precommit_s == 150
    assert silent.timeouts.answer == Patience(60, 120)
    written = a_route({"reasoning": True}, defaults={"timeouts": {"first_token": "9s"}})
    assert written.timeouts.first_token == Patience(9, 9, is_hard_written=True)
    assert written.timeouts.precommit_s == 150


@pytest.mark.parametrize(
    ("limits", "patience"),
    [
        ({"hard": "5s"}, Patience(5, 5, is_hard_written=True)),
        ({"hard": "40s"}, Patience(8, 40, is_hard_written=True)),
        ({"soft": "3s"}, Patience(3, 20, is_soft_written=True)),
        ({"soft": "25s"}, Patience(25, 25, is_soft_written=True)),
        ("5s", Patience(5, 5, is_hard_written=True)),
    ],
)
def test_an_unwritten_limit_gives_way_to_a_written_one(
    limits: object, patience: Patience
) -> None:
    assert (
        a_route({"timeouts": {"first_token": limits}}).timeouts.first_token == patience
    )


def test_an_unwritten_end_of_a_backoff_gives_way_too() -> None:
    longer = a_route({"retry": {"backoff": {"initial": "9s"}}}).retry
    assert (longer.backoff_initial_s, longer.backoff_max_s) == (9, 9)
    shorter = a_route({"retry": {"backoff": {"max": "100ms"}}}).retry
    assert (shorter.backoff_initial_s, shorter.backoff_max_s) == (0.1, 0.1)


def test_fallback_on_holds_classes_and_status_codes() -> None:
    rules = a_route({"fallback_on": ["timeout", 503, "content_filter"]}).fallback_on
    assert rules.classes == {FailureClass.TIMEOUT, FailureClass.CONTENT_FILTER}
    assert rules.statuses == {503}
    assert a_route({"fallback_on": []}).fallback_on.classes == frozenset()


def test_two_healths_of_one_target_name_both_places() -> None:
    content = b"""version: 1
providers: {a: {base_url: https://a.test}}
models:
  m: {targets: [{provider: a, model: x, max_concurrency: 5}]}
  n: {targets: [{provider: a, model: x, max_concurrency: 5}]}
  o: {targets: [{provider: a, model: x}]}
  p: {targets: [{provider: a, model: x, circuit_breaker: {consecutive: 4}}]}
"""
    document, _ = read_document("f.yaml", content)
    assert document is not None
    section = PolicySection.model_validate(document.value)
    problems = [str(p) for p in check(section, document)]
    words = "this target has another circuit_breaker or max_concurrency elsewhere"
    remedy = "Write the same at both, or write it on the provider."
    assert problems == [
        f"f.yaml:6:17: models.o.targets[0]: {words}, see f.yaml:4:17. {remedy}",
        f"f.yaml:7:17: models.p.targets[0]: {words}, see f.yaml:4:17. {remedy}",
    ]


def test_a_health_that_says_the_default_aloud_is_no_other_health() -> None:
    section = a_section(
        models={
            "m": {"targets": [{"provider": "a", "model": "x"}]},
            "n": {
                "targets": [
                    {
                        "provider": "a",
                        "model": "x",
                        "circuit_breaker": {
                            "consecutive": defaults.BREAKER_CONSECUTIVE
                        },
                    }
                ]
            },
        }
    )
    document = Document(section.model_dump(), {})
    assert list(check(section, document)) == []
