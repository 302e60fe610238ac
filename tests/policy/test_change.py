"""What a change of policy means, told in the file's own words and without secrets."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.factories import a_policy, a_route
from trio_gateway.policy.change import CHANGES_MAX, changes
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.route import Policy, Queue, RetryRules, Timeouts

BASE = """\
version: 1
gateway: {drain: 30s}
providers:
  a: {base_url: "https://a.test/v1", api_key: "${A_KEY}", headers: {X-Org: "${ORG}"}}
  b: {base_url: "https://b.test/v1"}
access_keys:
  - {name: app, key: "${APP_KEY}"}
  - {name: ci, key: "${CI_KEY}", models: [chat], expires: 2027-01-01}
models:
  chat:
    targets:
      - {provider: a, model: m}
      - {provider: b, model: m}
  other: {targets: [{provider: b, model: m}]}
"""
SECRETS = {"A_KEY": "sk-one", "ORG": "org-one", "APP_KEY": "tgw_1", "CI_KEY": "tgw_2"}


def loaded(folder: Path, text: str = BASE, **environ: str) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(text)
    return load_policy(path, environ={**SECRETS, **environ})


def test_the_same_meaning_is_no_change(tmp_path: Path) -> None:
    again = loaded(tmp_path, BASE.replace("version: 1", "version: 1  # again"))
    assert changes(loaded(tmp_path), again) == ()


def test_other_certificates_in_the_same_file_are_a_change(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(BASE.replace('b.test/v1"}', 'b.test/v1", ca_file: ca.pem}'))

    def held(pem: str) -> Policy:
        return load_policy(path, environ=SECRETS, authorities_in=lambda _: pem)

    told = changes(held("one"), held("two"))
    assert told == ("provider b: what ca_file holds changed",)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("drain: 30s", "drain: 1m", ["gateway: drain: 30s -> 60s"]),
        (
            "https://b.test/v1",
            "https://b2.test/v1",
            ["provider b: base_url: https://b.test/v1 -> https://b2.test/v1"],
        ),
        ("X-Org", "X-Team", ["headers.X-Org changed", "headers.X-Team changed"]),
        ("models: [chat]", "models: [chat, other]", ["chat -> chat, other"]),
        (", expires: 2027-01-01", "", ["2027-01-01T00:00:00+00:00 -> never"]),
        (
            "expires: 2027-01-01",
            "expires: 9999-12-31T23:59:59.999999Z",
            ["2027-01-01T00:00:00+00:00 -> 9999-12-31T23:59:59+00:00"],
        ),
        (
            "      - {provider: a, model: m}\n",
            "",
            ["model chat: targets: a/m, b/m -> b/m"],
        ),
        (
            "  chat:\n",
            "  chat:\n    timeouts: {idle: 20s, first_token: 9s}\n",
            [
                (
                    "model chat: timeouts.first_token: {soft: 8s (adaptive), hard: 20s "
                    "(adaptive)} -> {soft: 8s (adaptive), hard: 9s}"
                ),
                "model chat: timeouts.idle: 30s -> 20s",
            ],
        ),
        (
            "  chat:\n",
            "  chat:\n    hedge: {max_extra: 2%}\n    commit: {tokens: 5}\n",
            ["commit: first_token -> {tokens: 5}", "hedge: off -> {quantile: 0.95"],
        ),
        (
            "{provider: a, model: m}",
            "{provider: a, model: m, weight: 3, overrides: {temperature: 0}}",
            ["model chat: a/m weight: 1 -> 3", "model chat: a/m overrides changed"],
        ),
        (
            "{provider: a, model: m}",
            "{provider: a, model: m, context_tokens: 8192}",
            ["model chat: a/m context_tokens: none -> 8192"],
        ),
        (
            "version: 1",
            "version: 1\ndefaults: {circuit_breaker: {consecutive: 3}}",
            [
                "model chat: a/m circuit_breaker: {consecutive: 5,",
                "2 models (chat, other): b/m circuit_breaker: {consecutive: 5,",
            ],
        ),
        (
            "version: 1",
            "version: 1\ndefaults: {timeouts: {idle: 9s}}",
            ["2 models (chat, other): timeouts.idle: 30s -> 9s"],
        ),
        ("other:", "renamed:", ["model other: removed", "model renamed: added"]),
        ("name: ci", "name: cd", ["access key ci: removed", "access key cd: added"]),
    ],
)
def test_a_change_is_told_as_it_might_be_written(
    tmp_path: Path, old: str, new: str, told: list[str]
) -> None:
    before = loaded(tmp_path)
    found = "\n".join(changes(before, loaded(tmp_path, BASE.replace(old, new))))
    for words in told:
        assert words in found
    assert found.count("\n") == len(told) - 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("A_KEY", "provider a: api_key changed"),
        ("ORG", "provider a: headers.X-Org changed"),
        ("APP_KEY", "access key app: key changed"),
    ],
)
def test_that_a_secret_changed_is_told_but_not_which(
    tmp_path: Path, name: str, told: str
) -> None:
    before = loaded(tmp_path)
    after = loaded(tmp_path, **{name: "the-new-secret"})

    assert changes(before, after) == (told,)


def test_a_flood_is_cut_short_and_counted() -> None:
    before = a_policy(a_route(slug="keep"))
    many = [a_route(slug=f"m{number}") for number in range(CHANGES_MAX + 50)]
    found = changes(before, a_policy(a_route(slug="keep"), *many))

    assert len(found) == CHANGES_MAX + 1
    assert found[-1] == "and 50 more"


def others(value: Any) -> Any:
    """A value of the same kind that is another one; None: not known how."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case _:
            return None


@pytest.mark.parametrize("part", [Timeouts, RetryRules, Queue])
def test_every_number_of_a_route_is_told(part: type) -> None:
    where = {Timeouts: "timeouts", RetryRules: "retry", Queue: "queue"}[part]
    route = a_route("ab")
    for each in fields(part):
        section = getattr(route, where)
        other = others(getattr(section, each.name))
        if other is None:
            continue
        changed = replace(route, **{where: replace(section, **{each.name: other})})
        assert changes(a_policy(route), a_policy(changed)), each.name
