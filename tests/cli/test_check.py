"""`trio-gateway check`: valid is 0, a refused policy 1, wrong usage 2."""

import json
import re
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from tests.cli.processes import POLICIES
from trio_gateway.cli import main

SECRETS = {"GROQ_API_KEY": "gsk-1", "TOGETHER_API_KEY": "tg-1", "APP_KEY": "tgw_1"}
WRONG = """\
version: 1
providers: {openai: {base_url: https://api.openai.com/v1, api_key: sk-literal}}
models: {chat: {targets: [{provider: opnai, model: x}], timeouts: {idle: 5}}}
"""


def test_a_valid_policy_is_said_to_be_so_with_its_models() -> None:
    path = str(POLICIES / "two-providers.yaml")
    result = CliRunner(env=SECRETS).invoke(main, ["check", path])
    assert result.exit_code == 0
    assert "valid" in result.stdout
    assert "models: llama-3.3-70b\n" in result.stdout
    assert result.stderr == ""


def test_a_folder_is_checked_as_one_policy(tmp_path: Path) -> None:
    whole = (POLICIES / "two-providers.yaml").read_text()
    first, second = whole.split("access_keys:")
    (tmp_path / "a.yaml").write_text(first)
    (tmp_path / "b.yaml").write_text("version: 1\naccess_keys:" + second)
    result = CliRunner(env=SECRETS).invoke(main, ["check", str(tmp_path)])
    assert result.exit_code == 0, result.stderr


def test_all_that_is_wrong_is_said_at_once_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert result.stdout == ""
    headlines = [
        line for line in result.stderr.splitlines() if line.startswith(str(path))
    ]
    literal, provider, idle = headlines
    assert 'there is no provider "opnai"' in provider
    assert literal.startswith(f"{path}:2:")
    assert "providers.openai.api_key: holds a literal secret" in literal
    assert idle.startswith(f"{path}:3:")
    assert idle.endswith("models.chat.timeouts.idle: 5 is not a duration. Write 5s.")
    assert "sk-literal" not in result.output


@pytest.mark.parametrize(
    ("content", "why_not"),
    [
        (None, "No such file or directory"),
        (b"", "no PEM certificate in it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "no PEM certificate in it"),
    ],
)
def test_a_ca_file_is_loaded(
    tmp_path: Path, content: bytes | None, why_not: str
) -> None:
    policy, ca_file = tmp_path / "policy.yaml", tmp_path / "ca.pem"
    policy.write_text(
        "version: 1\n"
        "providers: {a: {base_url: https://a.test, ca_file: ca.pem}}\n"
        "models: {m: {targets: [{provider: a, model: x}]}}\n"
    )
    if content is not None:
        ca_file.write_bytes(content)

    result = CliRunner().invoke(main, ["check", str(policy)])

    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        f"{policy}:2:43: providers.a.ca_file: the file {ca_file} cannot be used: "
        f"{why_not}. Name a PEM file of certificates."
    )
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    assert CliRunner().invoke(main, ["check", str(policy)]).exit_code == 0


def test_every_missing_secret_is_named() -> None:
    env = dict.fromkeys(SECRETS)
    path = str(POLICIES / "two-providers.yaml")
    result = CliRunner(env=env).invoke(main, ["check", path])
    assert result.exit_code == 1
    for variable in SECRETS:
        assert f"the environment variable {variable} is unset" in result.stderr


def test_secrets_may_stay_unset_where_nothing_is_served() -> None:
    env = dict.fromkeys(SECRETS)
    arguments = ["check", "--strict", "--without-secrets"]
    for path in sorted(POLICIES.glob("*.yaml")):
        result = CliRunner(env=env).invoke(main, [*arguments, str(path)])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("arguments", [[], ["no-such-file.yaml"], ["a", "b"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_a_valid_policy_is_judged() -> None:
    path = str(POLICIES / "two-providers.yaml")
    result = CliRunner(env=SECRETS).invoke(main, ["check", path])
    assert "a first token or an error within 45s, the end within 600s" in result.stdout
    assert "groq      llama-3.3-70b goes on elsewhere\n" in result.stdout
    assert result.stdout.endswith("\nno warnings\n")


ALONE = """\
version: 1
providers: {a: {base_url: "https://a.test/v1"}}
access_keys: [{name: app, key: "${APP_KEY}"}]
models:
  chat: {targets: [{provider: a, model: x}]}
"""


def test_a_warning_has_place_reason_remedy_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text(ALONE)
    result = CliRunner(env=SECRETS).invoke(main, ["check", str(path)])
    assert result.exit_code == 0
    assert f"{path}:5:10: models.chat.targets: there is one target" in result.stdout
    assert result.stdout.endswith(
        "Add a second one, best of another provider. [single-target]\n"
        " 5 |   chat: {targets: [{provider: a, model: x}]}\n"
        f"   |          {'^' * len('targets: [{provider: a, model: x}]')}\n"
        "1 warning\n"
    )
    assert "  a  chat cannot be answered\n" in result.stdout


def test_strict_says_no_to_warnings_that_no_comment_silences(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text(ALONE)
    strict = ["check", "--strict", str(path)]
    assert CliRunner(env=SECRETS).invoke(main, strict).exit_code == 1
    path.write_text("# trio-gateway: ignore=single-target\n" + ALONE)
    result = CliRunner(env=SECRETS).invoke(main, strict)
    assert result.exit_code == 0
    assert "no warnings, 1 silenced" in result.stdout


def test_programs_get_one_object(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text(ALONE)
    result = CliRunner(env=SECRETS).invoke(main, ["check", "--json", str(path)])
    said = json.loads(result.stdout)
    assert said["valid"] is True
    assert re.fullmatch("[0-9a-f]{12}", said["hash"])
    assert said["models"]["chat"]["attempts"] == 2
    assert said["losses"] == [{"provider": "a", "lost": ["chat"], "on_others": []}]
    (warning,) = said["warnings"]
    assert (warning["lint"], warning["line"]) == ("single-target", 5)

    path.write_text(WRONG)
    result = CliRunner().invoke(main, ["check", "--json", str(path)])
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["valid"] is False
    assert {problem["line"] for problem in said["problems"]} >= {2, 3}
    assert "sk-literal" not in result.output


def refused(tmp_path: Path, *options: str, color: bool = False) -> Result:
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    runner = CliRunner(env={"NO_COLOR": None})
    result = runner.invoke(main, ["check", *options, str(path)], color=color)
    assert result.exit_code == 1
    assert "sk-literal" not in result.output
    return result


def test_the_lines_are_shown_without_their_secrets(tmp_path: Path) -> None:
    lines = refused(tmp_path).stderr.splitlines()
    shown = "providers: {openai: {base_url: https://api.openai.com/v1, api_key: ***}}"
    assert lines[1] == f" 2 | {shown}"
    assert lines[2] == "   | " + " " * shown.index("api_key") + "^" * len(
        "api_key: ***"
    )
    assert lines[-1] == "3 problems"


def test_a_pipe_gets_no_colours_and_a_terminal_does_unless_it_wants_none(
    tmp_path: Path,
) -> None:
    assert "\x1b[" not in refused(tmp_path).stderr
    assert "\x1b[31m\x1b[1m^^^" in refused(tmp_path, color=True).stderr
    runner = CliRunner(env={"NO_COLOR": "1"})
    path = str(tmp_path / "wrong.yaml")
    assert "\x1b[" not in runner.invoke(main, ["check", path], color=True).stderr


def test_github_gets_a_command_a_line(tmp_path: Path) -> None:
    commands = refused(tmp_path, "--format", "github").stdout.splitlines()
    assert len(commands) == 3
    file = str(tmp_path / "wrong.yaml")
    assert commands[-1] == (
        f"::error file={file},line=3,col=68,endColumn=75,"
        "title=trio-gateway%3A invalid-policy"
        "::models.chat.timeouts.idle: 5 is not a duration. Write 5s."
    )


def test_sarif_has_a_result_for_each_problem_and_each_warning(tmp_path: Path) -> None:
    log = json.loads(refused(tmp_path, "--format", "sarif").stdout)
    [run] = log["runs"]
    assert (log["version"], len(run["results"])) == ("2.1.0", 3)
    result = run["results"][-1]
    assert (result["ruleId"], result["level"]) == ("invalid-policy", "error")
    [location] = result["locations"]
    region = {"startLine": 3, "startColumn": 68, "endColumn": 75}
    assert location["physicalLocation"]["region"] == region

    path = tmp_path / "alone.yaml"
    path.write_text(ALONE)
    arguments = ["check", "--format", "sarif", str(path)]
    said = CliRunner(env=SECRETS).invoke(main, arguments)
    [run] = json.loads(said.stdout)["runs"]
    assert run["tool"]["driver"]["rules"] == [{"id": "single-target"}]
    assert [result["level"] for result in run["results"]] == ["warning"]


def test_a_name_defined_twice_is_related_to_its_first_place(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("version: 1\nproviders: {}\nproviders: {}\n")
    sarif = CliRunner().invoke(main, ["check", "--format", "sarif", str(path)])
    [run] = json.loads(sarif.stdout)["runs"]
    [related] = run["results"][-1]["relatedLocations"]
    assert related["physicalLocation"]["region"]["startLine"] == 2
    said = json.loads(CliRunner().invoke(main, ["check", "--json", str(path)]).stdout)
    also = {"file": str(path), "line": 2, "column": 1, "end_column": 14}
    assert said["problems"][-1]["also"] == also
