"""Every policy that we ship loads, and the reference knows every key."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.format.fields import FIXED_FAILURES
from trio_gateway.policy.format.model import (
    AttemptsSection,
    BreakerSection,
    GatewaySection,
    HedgeSection,
    PolicySection,
    QueueSection,
    RetrySection,
    Timeouts,
)
from trio_gateway.policy.judgement.judge import judge
from trio_gateway.policy.load import load, load_policy, read_policy
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import FAILURES_THAT_MOVE, CommitMode, Hedge, Policy
from trio_gateway.policy.route import Timeouts as TimeoutValues

POLICIES = Path(__file__).parents[2] / "policies"
REFERENCE = (POLICIES / "README.md").read_text()
EXAMPLES = sorted(POLICIES.glob("*.yaml"))
ENVIRON = {
    "DEMO_FLAKY_URL": "http://127.0.0.1:4001",
    "DEMO_STEADY_URL": "http://127.0.0.1:4002",
    "DEMO_KEY": "tgw_demo",
    "OPENAI_API_KEY": "sk-openai",
    "GROQ_API_KEY": "sk-groq",
    "TOGETHER_API_KEY": "sk-together",
    "MISTRAL_API_KEY": "sk-mistral",
    "AZURE_EU_KEY": "azure-key",
    "AZURE_EU_1_KEY": "azure-key-1",
    "AZURE_EU_2_KEY": "azure-key-2",
    "AZURE_US_KEY": "azure-key-3",
    "APP_KEY": "tgw_app",
    "CHAT_KEY": "tgw_chat",
    "BATCH_KEY": "tgw_batch",
}


def example(name: str) -> Policy:
    return load_policy(POLICIES / name, environ=ENVIRON)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_says_what_it_is_for(path: Path) -> None:
    assert example(path.name).routes
    assert re.match(r"# yaml-.*\n# \w.{20,}\n#\n", path.read_text())
    assert f"`{path.name}`" in REFERENCE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_the_variables_that_it_needs(path: Path) -> None:
    text = path.read_text()
    variables = set(re.findall(r"\$\{(\w+)\}", text))
    if path.name != "demo.yaml":  # there, `serve --demo` sets them
        instruction = text.partition("version:")[0]
        assert variables <= set(re.findall(r"\w+", instruction))


def test_the_demo_asks_the_flaky_provider_first_and_the_steady_one_second() -> None:
    policy = example("demo.yaml")
    targets = policy.routes["demo-chat"].targets
    assert [target.id for target in targets] == [
        "flaky/demo-small",
        "steady/demo-small",
    ]
    assert policy.accounts["flaky"].base_url == "http://127.0.0.1:4001/v1"
    assert [key.name for key in policy.access_keys] == ["demo"]


def test_chat_is_less_patient_than_batch() -> None:
    routes = example("chat-and-batch.yaml").routes
    chat, batch = routes["chat"], routes["batch"]
    assert chat.timeouts.first_token.soft_s == 3
    assert (chat.timeouts.answer.hard_s, batch.timeouts.answer.hard_s) == (120, 180)
    assert (chat.timeouts.connect_s, batch.timeouts.connect_s) == (2, 2)
    assert (chat.is_overlap_on, batch.is_overlap_on) == (True, False)
    assert batch.commit.mode is CommitMode.COMPLETE


def test_low_latency_balances_overlaps_and_hedges() -> None:
    route = example("low-latency.yaml").routes["assistant"]
    assert [len(tier) for tier in route.tiers] == [2]
    assert route.is_overlap_on
    assert route.hedge == Hedge(quantile=0.95, min_delay_s=0.25, max_extra=0.05)


def test_lowest_cost_pays_for_nothing_twice_and_can_reach_every_target() -> None:
    route = example("lowest-cost.yaml").routes["thrifty"]
    assert (route.is_overlap_on, route.hedge) == (False, None)
    assert route.attempts.same_target == 1
    assert route.attempts.max >= 2 * len(route.targets) - 1


def test_two_regions_share_a_tier_and_fail_apart() -> None:
    route = example("two-regions.yaml").routes["gpt-4o-mini"]
    near, far = route.tiers
    assert {target.account.failure_domain for target in near} == {"eu"}
    assert {target.account.failure_domain for target in far} == {"us"}
    assert [target.weight for target in near] == [3, 1]
    assert [target.account.max_concurrency for target in near] == [300, 100]
    assert {target.breaker.consecutive for target in route.targets} == {3}


def test_never_cut_holds_an_answer_until_it_is_whole() -> None:
    strict = example("never-cut.yaml").routes["strict"]
    assert strict.commit.mode is CommitMode.COMPLETE
    assert strict.timeouts.total_s >= 2 * strict.timeouts.answer.hard_s


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_gets_no_warning(path: Path) -> None:
    judged = judge(load(path, environ=ENVIRON), wall_now=0.0)
    assert [str(warned.problem) for warned in judged.warnings] == []


def test_the_context_chain_is_no_part_of_the_targets() -> None:
    route = example("context-length.yaml").routes["documents"]
    assert [target.id for target in route.context_chain] == ["openai/gpt-4.1-mini"]
    assert len(route.targets) == 2


def keys_of(schema: dict[str, Any]) -> set[str]:
    sections = [schema, *schema["$defs"].values()]
    return {key for section in sections for key in section.get("properties", ())}


def test_the_reference_has_every_key() -> None:
    keys = keys_of(PolicySection.model_json_schema())
    assert {"soft", "base", "jitter", "sha256", "context_length_fallback"} <= keys
    missing = {
        key for key in keys if not re.search(rf"[`.{{]{key}(`|:)", REFERENCE)
    } - {
        "backoff",
        "retry_after",
        "open",
    }  # these stand before a dot alone
    assert missing == set()


def test_the_reference_has_no_row_of_a_key_that_is_none() -> None:
    keys = keys_of(PolicySection.model_json_schema())
    rows = re.findall(r"^\| `([a-z_0-9.]+)`(?:, `(\w+)`)? \|", REFERENCE, re.MULTILINE)
    written = {part for row in rows for name in row for part in name.split(".")}
    known = keys | {str(kind) for kind in FailureClass} | {"yaml", ""}
    elsewhere = {path.stem for path in EXAMPLES}
    assert written - known - elsewhere == set()


def test_the_reference_says_of_every_failure_class_whether_it_moves_on() -> None:
    for kind in FailureClass:
        word = "yes" if kind in FAILURES_THAT_MOVE else "no"
        word = "never" if kind in FIXED_FAILURES else word
        assert f"| `{kind}` | {word} |" in REFERENCE


# A section's heading, or a row of five cells: key, default, three of explanation.
ROWS = re.findall(
    r"^###? `(\w+)`$|^\| `([a-z_.]+)` \| `([^`|]+)` (?:\| [^|]+ ){3}\|$",
    REFERENCE,
    re.MULTILINE,
)


def documented() -> Iterator[tuple[str, str, str]]:
    """Every default that the reference states, by section and key."""
    section = ""
    for heading, key, default in ROWS:
        section = heading or section
        if key:
            yield section, key, default


def test_the_reference_states_the_default_of_every_setting() -> None:
    stated = {(section, key.split(".")[0]) for section, key, _ in documented()}
    for name, of in (
        ("gateway", GatewaySection),
        ("attempts", AttemptsSection),
        ("timeouts", Timeouts),
        ("hedge", HedgeSection),
        ("queue", QueueSection),
        ("retry", RetrySection),
        ("circuit_breaker", BreakerSection),
    ):
        assert {key for where, key in stated if where == name} == set(of.model_fields)
    alone = {"commit", "fallback_on", "overlap", "hedge", "max_cost_multiplier"}
    assert {key for where, key in stated if where == "defaults"} == alone


@pytest.mark.parametrize(("section", "key", "default"), list(documented()))
def test_a_default_that_the_reference_states_is_the_real_one(
    section: str, key: str, default: str
) -> None:
    keys = [*([] if section in ("gateway", "defaults") else [section]), *key.split(".")]
    above = "gateway" if section == "gateway" else "defaults"
    written = default
    for name in reversed(keys):
        written = f"{{{name}: {written}}}"
    silent = "{hedge: {}}" if section == "hedge" else "{}"
    assert resolved(above, written) == resolved("defaults", silent)


def resolved(section: str, value: str) -> Policy:
    """A policy of this one section, without the marks of what was written."""
    text = (
        "version: 1\nproviders: {a: {base_url: https://a.test}}\n"
        "models: {m: {targets: [{provider: a, model: x}]}}\n"
        f"{section}: {value}\n"
    )
    written = read_policy([("f.yaml", text.encode())], environ={}, root="f.yaml")
    policy = resolve(written, revision="")
    route = policy.routes["m"]
    (target,) = route.targets
    target = replace(target, timeouts=unmarked(target.timeouts))
    route = replace(route, timeouts=unmarked(route.timeouts), tiers=((target,),))
    return replace(policy, routes={"m": route})


def unmarked(timeouts: TimeoutValues) -> TimeoutValues:
    first_token, answer = (
        replace(patience, is_soft_written=False, is_hard_written=False)
        for patience in (timeouts.first_token, timeouts.answer)
    )
    return replace(timeouts, first_token=first_token, answer=answer)
