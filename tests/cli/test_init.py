"""`trio-gateway init`: a policy that is valid as it is, and nobody's file is lost."""

import re
from contextlib import chdir
from pathlib import Path

import pytest
import yaml
from click import Context
from click.testing import CliRunner, Result

from trio_gateway.cli import main
from trio_gateway.policy.format.starter import STARTER
from trio_gateway.policy.judgement.judge import judge
from trio_gateway.policy.load import load

ENVIRON = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1", "APP_KEY": "tgw_1"}


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def test_the_starter_is_valid_and_gives_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    result = init(str(path))
    assert result.exit_code == 0, result.output
    assert set(re.findall(r"\w+_KEY", result.output)) == set(ENVIRON)
    loaded = load(path, environ=ENVIRON)
    assert judge(loaded, wall_now=0.0).warnings == ()
    commands = re.findall(r"#   trio-gateway (\w+) .*?(\S+\.yaml)?", path.read_text())
    there_are = main.list_commands(Context(main))
    assert {command for command, _ in commands} <= set(there_are)
    assert f"check {path}" in path.read_text()


def test_what_the_starter_has_commented_out_is_valid_too() -> None:
    keys = r"\w+: |- |\w+:$"
    whole = re.sub(
        rf"^( *)# ((?: |-)*(?:{keys}))", r"\1\2", STARTER, flags=re.MULTILINE
    )
    assert whole.count("#") < STARTER.count("#") - 10
    written = yaml.safe_load(whole)
    assert set(written) == {"version", "providers", "access_keys", "models", "defaults"}
    assert len(written["models"]["chat"]["targets"]) == 3
    assert set(written["defaults"]) == {"commit", "attempts", "timeouts"}


def test_a_file_that_is_there_is_only_replaced_by_force(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("mine")
    result = init(str(path))
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert path.read_text() == "mine"
    assert init("--force", str(path)).exit_code == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize("name", ["nowhere/policy.yaml", "."])
def test_a_path_that_can_be_no_file_is_wrong_usage(tmp_path: Path, name: str) -> None:
    result = init(str(tmp_path / name))
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_without_a_path_it_is_policy_yaml(tmp_path: Path) -> None:
    with chdir(tmp_path):
        assert init().exit_code == 0
    assert (tmp_path / "policy.yaml").read_text() == STARTER
