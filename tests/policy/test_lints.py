"""Each lint has a policy that triggers it and one that does not; comments silence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.cli.processes import POLICIES
from tests.factories import a_target
from trio_gateway.policy.judgement.contexts import context_of
from trio_gateway.policy.judgement.findings import Lint
from trio_gateway.policy.judgement.judge import Judgement, judge
from trio_gateway.policy.judgement.lints import LOOKS
from trio_gateway.policy.load import load

WALL = 1_800_000_000.0  # in January 2027

# Nothing to find.
GOOD = """\
version: 1
providers:
  a: {base_url: "https://a.test/v1"}
  b: {base_url: "https://b.test/v1"}
access_keys:
  - {name: app, key: "${KEY}"}
models:
  chat:
    targets:
      - {provider: a, model: gpt-4o}
      - {provider: b, model: gpt-4o}
"""

ALIKE = "{base_url: 'https://b.test/v1', failure_domain: a}"
TIER = "[[{provider: a, model: m, weight: 2}, {provider: b, model: m}]]"
ONE = "[{provider: a, model: m}]"
MANY = "[{provider: a, model: x}, {provider: b, model: y}, {provider: b, model: z}]"
HEDGE = "{max_extra: 5%}"
TOO_SMALL = "[{provider: b, model: gpt-3.5-turbo-0125}]"
LARGER = "[{provider: b, model: gpt-4.1-mini-2025-04-14}]"
LONG_LINE = "{max: 50}"
LESS = "[{provider: a, model: gpt-4o}, {provider: b, model: gpt-4}]"
MORE = "[{provider: a, model: gpt-4o}, {provider: b, model: gpt-4.1}]"
SAID_LESS = (
    "[{provider: a, model: own, context_tokens: 32768}, "
    "{provider: b, model: other, context_tokens: 16384}]"
)
SAID_ENOUGH = (
    "[{provider: a, model: own, context_tokens: 32768}, "
    "{provider: b, model: other, context_tokens: 32768}]"
)
UNEQUAL = (
    "[[{provider: a, model: gpt-4, context_tokens: 32768}, "
    "{provider: b, model: gpt-4}]]"
)
RUNS = "{consecutive: %d}"

# By the lint: what to change in GOOD to trigger it, and what not to; both as
# `path = value`, separated by semicolons.
CASES: dict[Lint, list[tuple[str, str]]] = {
    Lint.ONE_FAILURE_DOMAIN: [(f"providers.b = {ALIKE}", "")],
    Lint.SINGLE_TARGET: [(f"models.chat.targets = {ONE}; providers.b =", "")],
    Lint.UNREACHABLE_TARGET: [
        (
            f"models.chat.targets = {MANY}; defaults.attempts.max = 2",
            f"models.chat.targets = {MANY}; defaults.attempts.max = 3",
        ),
        (
            (
                f"models.chat.targets = {TIER}; defaults.attempts.max = 1; "
                f"models.chat.context_length_fallback = {LARGER}"
            ),
            (
                f"models.chat.targets = {TIER}; defaults.attempts.max = 2; "
                f"models.chat.context_length_fallback = {LARGER}"
            ),
        ),
    ],
    Lint.FALLBACK_HOLDS_LESS: [
        (f"models.chat.targets = {LESS}", f"models.chat.targets = {MORE}"),
        (f"models.chat.targets = {SAID_LESS}", f"models.chat.targets = {SAID_ENOUGH}"),
        (f"models.chat.targets = {UNEQUAL}", f"models.chat.targets = {TIER}"),
        (
            (
                f"models.chat.targets = {LESS}; "
                f"models.chat.context_length_fallback = {TOO_SMALL}"
            ),
            (
                f"models.chat.targets = {LESS}; "
                f"models.chat.context_length_fallback = {LARGER}"
            ),
        ),
        (  # of a name that nobody knows, it is not said that it holds less
            f"models.chat.targets = {LESS}",
            (
                f"models.chat.targets = {LESS}; "
                "models.chat.context_length_fallback = [{provider: b, model: mystery}]"
            ),
        ),
    ],
    Lint.RUN_NEVER_LONG_ENOUGH: [
        (
            f"{above}.circuit_breaker = {RUNS % 513}",
            f"{above}.circuit_breaker = {RUNS % 512}",
        )
        for above in ("defaults", "providers.a")
    ],
    Lint.CONTEXT_FALLBACK_TOO_SMALL: [
        (
            f"models.chat.context_length_fallback = {TOO_SMALL}",
            f"models.chat.context_length_fallback = {LARGER}",
        )
    ],
    Lint.PATIENCE_EXCEEDED: [
        ("defaults.timeouts.precommit = 61s", "defaults.timeouts.precommit = 60s"),
        ("defaults.timeouts.total = 20m", "defaults.timeouts.total = 10m"),
        (
            "defaults.timeouts.precommit = 150s",
            "defaults.timeouts.precommit = 150s; models.chat.reasoning = true",
        ),
    ],
    Lint.CONNECT_NEVER_RINGS: [
        (
            "models.chat.timeouts = {connect: 9s, first_token: 8s}",
            "models.chat.timeouts = {connect: 2s, first_token: 8s}",
        )
    ],
    Lint.SOFT_EQUALS_HARD: [
        (
            "defaults.timeouts.first_token = {soft: 9s, hard: 9s}",
            "defaults.timeouts.first_token = {soft: 8s, hard: 9s}",
        ),
        (
            "defaults.timeouts.answer = {soft: 9s, hard: 9s}",
            "defaults.timeouts.answer = {soft: 9s, hard: 9s}; defaults.overlap = off",
        ),
    ],
    Lint.RETRY_NEVER_RUNS: [
        (
            "defaults.attempts = {max: 1, same_target: 1}",
            "defaults.attempts = {max: 2, same_target: 1}",
        ),
        (
            "defaults.attempts.max = 1; defaults.retry.retry_after.prefer = wait",
            "defaults.attempts.max = 2; defaults.retry.retry_after.prefer = wait",
        ),
        (
            (
                "models.chat.retry.backoff.initial = 1s; "
                "models.chat.attempts.same_target = 0"
            ),
            "models.chat.retry.backoff.initial = 1s",
        ),
        (
            (
                "defaults.retry.backoff = {initial: 8s, jitter: equal}; "
                "defaults.timeouts = {precommit: 4s, first_token: 4s}"
            ),
            (
                "defaults.retry.backoff = {initial: 8s, jitter: full}; "
                "defaults.timeouts = {precommit: 4s, first_token: 4s}"
            ),
        ),
    ],
    Lint.HEDGE_NEVER_RUNS: [
        (
            f"models.chat = {{targets: {ONE}, hedge: {HEDGE}}}",
            f"defaults.hedge = {HEDGE}",
        ),
        (
            f"defaults.hedge = {HEDGE}; defaults.max_cost_multiplier = 1.5",
            f"defaults.hedge = {HEDGE}; defaults.max_cost_multiplier = 2.0",
        ),
    ],
    Lint.HEDGE_WITHOUT_OVERLAP: [
        (f"defaults.hedge = {HEDGE}; defaults.overlap = off", "defaults.overlap = off")
    ],
    Lint.OVERLAP_NEVER_RUNS: [
        (
            "defaults.overlap = on; defaults.max_cost_multiplier = 1.0",
            "defaults.max_cost_multiplier = 1.0",
        ),
        ("defaults.overlap = on; defaults.attempts.max = 1", "defaults.overlap = on"),
        (
            f"models.chat = {{targets: {ONE}, overlap: on}}",
            f"models.chat.targets = {ONE}; defaults.overlap = on",
        ),
    ],
    Lint.QUEUE_EXCEEDS_LIMIT: [
        (
            f"providers.b.max_concurrency = 10; defaults.queue = {LONG_LINE}",
            f"providers.b.max_concurrency = 50; defaults.queue = {LONG_LINE}",
        ),
        (
            f"gateway.max_in_flight = 40; defaults.queue = {LONG_LINE}",
            "gateway.max_in_flight = 40",
        ),
    ],
    Lint.WEIGHT_WITHOUT_TIER: [
        (
            "models.chat.targets = [{provider: a, model: m, weight: 2}]",
            f"models.chat.targets = {TIER}",
        )
    ],
    Lint.MODEL_WITHOUT_KEY: [
        (
            (
                f"models.other.targets = {ONE}; "
                "access_keys = [{name: app, key: '${KEY}', models: [other]}]"
            ),
            f"models.other.targets = {ONE}",
        )
    ],
    Lint.EXPIRED_KEY: [
        (
            "access_keys = [{name: app, key: '${KEY}', expires: 2026-12-31}]",
            "access_keys = [{name: app, key: '${KEY}', expires: 2027-12-31}]",
        )
    ],
    Lint.NO_ACCESS_KEYS: [("access_keys =", "")],
    Lint.UNUSED_PROVIDER: [(f"models.chat.targets = {ONE}", "")],
}


def changed(changes: str) -> str:
    """GOOD with some paths set to other values, or deleted."""
    policy = yaml.safe_load(GOOD)
    for change in filter(None, map(str.strip, changes.split(";"))):
        path, _, value = change.partition("=")
        *above, last = path.strip().split(".")
        section = policy
        for name in above:
            section = section.setdefault(name, {})
        if value.strip():
            section[last] = yaml.safe_load(value)
        else:
            del section[last]
    return yaml.safe_dump(policy, sort_keys=False)


def judged(folder: Path, text: str) -> Judgement:
    path = folder / "policy.yaml"
    path.write_text(text)
    return judge(load(path, environ={"KEY": "tgw_1"}), wall_now=WALL)


def lints(judgement: Judgement) -> set[Lint]:
    return {warned.lint for warned in judgement.warnings}


def test_a_good_policy_has_no_findings(tmp_path: Path) -> None:
    judgement = judged(tmp_path, GOOD)

    assert judgement.warnings == ()
    assert judgement.silenced == 0


@pytest.mark.parametrize(
    ("lint", "bad", "good"),
    [(lint, *case) for lint, cases in CASES.items() for case in cases],
)
def test_a_lint_finds_what_it_is_for_and_nothing_else(
    tmp_path: Path, lint: Lint, bad: str, good: str
) -> None:
    found = judged(tmp_path, changed(bad))
    assert lint in lints(found)
    assert lint not in lints(judged(tmp_path, changed(good)))
    for warned in found.warnings:
        assert warned.problem.line is not None
        assert warned.problem.remedy.endswith(".")


def test_every_lint_has_a_case() -> None:
    assert set(CASES) | {Lint.UNKNOWN_LINT} == set(Lint)
    assert len(LOOKS) == len(set(LOOKS))


def test_every_lint_is_in_the_reference_and_no_other() -> None:
    text = (POLICIES / "README.md").read_text()
    table = text.partition("| warning | when |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(Lint)


SINGLE = """\
version: 1{whole}
providers:
  a: {{base_url: "https://a.test/v1"}}
access_keys: [{{name: app, key: "${{KEY}}"}}]
models:{all}
  {above}
  chat:{model}
    targets:{line}
      - {{provider: a, model: m}}{target}
"""
NOWHERE = dict.fromkeys(("whole", "all", "above", "model", "line", "target"), "")
IGNORE = " # trio-gateway: ignore=single-target"


@pytest.mark.parametrize("where", ["whole", "all", "above", "model", "line"])
def test_a_comment_silences_what_stands_there_and_under_it(
    tmp_path: Path, where: str
) -> None:
    assert lints(judged(tmp_path, SINGLE.format(**NOWHERE))) == {Lint.SINGLE_TARGET}

    judgement = judged(tmp_path, SINGLE.format(**{**NOWHERE, where: IGNORE}))

    assert judgement.warnings == ()
    assert judgement.silenced == 1


@pytest.mark.parametrize(
    "comment",
    [" # trio-gateway: ignore=expired-key", " # ignore=single-target", " # none"],
)
def test_no_other_comment_does(tmp_path: Path, comment: str) -> None:
    text = SINGLE.format(**{**NOWHERE, "model": comment})
    assert lints(judged(tmp_path, text)) == {Lint.SINGLE_TARGET}
    text = SINGLE.format(**{**NOWHERE, "target": IGNORE})
    assert lints(judged(tmp_path, text)) == {Lint.SINGLE_TARGET}


def test_several_lints_may_stand_in_one_comment(tmp_path: Path) -> None:
    comment = " # trio-gateway: ignore=no-access-keys, single-target - as agreed"
    text = SINGLE.format(**{**NOWHERE, "whole": comment})
    text = text.replace('access_keys: [{name: app, key: "${KEY}"}]\n', "")

    judgement = judged(tmp_path, text)

    assert judgement.silenced == 2


def test_a_name_that_is_no_lint_is_found_with_the_nearest(tmp_path: Path) -> None:
    comment = " # trio-gateway: ignore=single-targets"
    judgement = judged(tmp_path, SINGLE.format(**{**NOWHERE, "model": comment}))

    (unknown,) = [w for w in judgement.warnings if w.lint is Lint.UNKNOWN_LINT]
    assert unknown.problem.line == 7
    assert "Did you mean single-target?" in unknown.problem.remedy


def test_a_finding_names_its_place(tmp_path: Path) -> None:
    text = GOOD.replace("model: gpt-4o}", "model: gpt-4o, weight: 3}", 1)
    (warned,) = judged(tmp_path, text).warnings

    assert warned.problem.line == 10
    assert warned.problem.key == "models.chat.targets[0].weight"


def test_what_cannot_be_judged_is_said(tmp_path: Path) -> None:
    chain = "models.chat.context_length_fallback = [{provider: b, model: mystery}]"
    (note,) = judged(tmp_path, changed(chain)).notes
    assert note.startswith("chat: whether every fallback holds the prompts")
    assert "b/mystery" in note

    written = chain.replace("mystery", "mystery, context_tokens: 1000000")
    assert judged(tmp_path, changed(written)).notes == ()


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 128_000),
        ("gpt-4o-2024-08-06", 128_000),
        ("openai/gpt-4.1", 1_047_576),
        ("gpt-4-0613", 8_192),
        ("gpt-4-32k", None),
        ("o1-mini", None),
        ("my-gpt-4o", None),
    ],
)
def test_the_context_of_a_model_is_known_by_its_exact_name(
    model: str, tokens: int | None
) -> None:
    assert context_of(replace(a_target(), model=model)) == tokens


def test_a_context_that_is_written_goes_before_a_known_name() -> None:
    target = replace(a_target(), model="gpt-4o", context_tokens=32_768)
    assert context_of(target) == 32_768


def test_a_finding_about_a_breaker_names_where_its_rule_was_written(
    tmp_path: Path,
) -> None:
    rule = "circuit_breaker.consecutive = 1000"
    for above in ("defaults", "providers.a"):
        (warned,) = judged(tmp_path, changed(f"{above}.{rule}")).warnings
        assert warned.problem.key == f"{above}.circuit_breaker.consecutive"


def test_a_providers_loss_is_told_by_model(tmp_path: Path) -> None:
    text = changed(f"models.alone.targets = {ONE}")
    losses = {loss.provider: loss for loss in judged(tmp_path, text).losses}

    assert losses["a"].lost == ("alone",)
    assert losses["a"].on_others == ("chat",)
    assert losses["b"].lost == ()
    assert losses["b"].on_others == ("chat",)
