"""`trio-gateway explain`: prose, a drawing or JSON; wrong names are 2."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.processes import POLICIES
from trio_gateway.cli import main

SECRETS = {"GROQ_API_KEY": "gsk-1", "TOGETHER_API_KEY": "tg-1", "APP_KEY": "tgw_1"}
PATH = str(POLICIES / "two-providers.yaml")
MODEL = "llama-3.3-70b"


def explain(*arguments: str) -> Result:
    return CliRunner(env=SECRETS).invoke(main, ["explain", PATH, *arguments])


def test_it_tells_who_is_tried_and_what_the_client_gets() -> None:
    result = explain(MODEL)

    assert result.exit_code == 0, result.output
    assert "groq/llama-3.3-70b-versatile is asked first, and has until 20.00s" in (
        result.stdout
    )
    assert "is asked beside the one that is late" in result.stdout
    assert result.stdout.endswith("the client gets 502 upstream_failed\n")


def test_given_health_is_told() -> None:
    result = explain(MODEL, "--given", "groq=open,together=throttled:3s")

    assert result.exit_code == 0, result.output
    assert "broken: a last resort" in result.stdout
    assert "throttled: not asked for 3s more" in result.stdout


def test_json_and_mermaid_are_for_other_readers() -> None:
    told = json.loads(explain(MODEL, "--json").stdout)
    assert told["model"] == MODEL
    assert explain(MODEL, "--mermaid").stdout.startswith("flowchart LR\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["llama"], "the policy has no model 'llama'"),
        ([MODEL, "--given", "grog=open"], "Did you mean groq?"),
        ([MODEL, "--given", "groq=down"], "is not NAME=STATE"),
        ([MODEL, "--json", "--mermaid"], "two different forms"),
    ],
)
def test_what_is_not_there_is_wrong_usage(arguments: list[str], said: str) -> None:
    result = explain(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_refused_policy_is_reported_as_by_check(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nprovidders: {}\n")
    result = CliRunner().invoke(main, ["explain", str(wrong), MODEL])
    assert result.exit_code == 2
    assert f"{wrong}:2:1: providders: is not a known key" in result.stderr


def test_no_secrets_are_needed() -> None:
    unset = CliRunner(env=dict.fromkeys(SECRETS))
    assert unset.invoke(main, ["explain", PATH, MODEL]).stdout == explain(MODEL).stdout
