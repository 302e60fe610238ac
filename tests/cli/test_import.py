"""`trio-gateway import litellm`: a policy on stdout or in a file, notes on stderr."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trio_gateway.cli import main

CONFIG = """\
model_list:
  - model_name: chat
    litellm_params: {model: openai/gpt-4o-mini, api_key: hunter2}
litellm_settings: {cache: true}
general_settings: {master_key: os.environ/MASTER_KEY}
"""
ENVIRON = {"OPENAI_API_KEY": "sk-1", "MASTER_KEY": "sk-2"}


def imported(tmp_path: Path, *options: str, config: str = CONFIG) -> Result:
    path = tmp_path / "config.yaml"
    path.write_text(config)
    arguments = ["import", "litellm", str(path), *options]
    return CliRunner(env=ENVIRON).invoke(main, arguments)


def test_the_policy_is_on_stdout_and_what_is_lost_on_stderr(tmp_path: Path) -> None:
    result = imported(tmp_path)
    assert result.exit_code == 0
    assert "\nversion: 1\n" in result.stdout
    file = tmp_path / "config.yaml"
    assert result.stderr == (
        f"note: {file}:3: model_list[0].litellm_params.api_key: is a literal secret "
        "and stays behind: set OPENAI_API_KEY to it\n"
        f"note: {file}:4: litellm_settings.cache: has no counterpart: answers are not "
        "cached\n"
    )
    assert "hunter2" not in result.output


def test_a_file_is_written_that_check_finds_valid(tmp_path: Path) -> None:
    output = tmp_path / "policy.yaml"
    result = imported(tmp_path, "-o", str(output))
    assert result.exit_code == 0
    assert "Set OPENAI_API_KEY, MASTER_KEY, then:" in result.stdout
    checked = CliRunner(env=ENVIRON).invoke(main, ["check", str(output)])
    assert checked.exit_code == 0, checked.stderr


def test_a_file_that_is_there_is_only_replaced_by_force(tmp_path: Path) -> None:
    output = tmp_path / "policy.yaml"
    output.write_text("mine")
    assert imported(tmp_path, "-o", str(output)).exit_code == 2
    assert output.read_text() == "mine"
    assert imported(tmp_path, "-o", str(output), "--force").exit_code == 0
    assert "version: 1" in output.read_text()


@pytest.mark.parametrize("config", ["model_list: [", "model_list: []"])
def test_what_cannot_be_read_is_2(tmp_path: Path, config: str) -> None:
    result = imported(tmp_path, config=config)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{tmp_path / 'config.yaml'}:1:1" in result.stderr


def test_what_a_hand_must_put_right_is_1(tmp_path: Path) -> None:
    name = "x" * 300
    config = CONFIG.replace("openai/gpt-4o-mini", f"openai/{name}")
    result = imported(tmp_path, config=config)
    assert result.exit_code == 1
    assert "models.chat.targets[0].model: is empty, too long" in result.stderr
