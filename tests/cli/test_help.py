"""`--help` says how, by examples that can be pasted."""

import re

import pytest
from click.testing import CliRunner

from trio_gateway.cli import main


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["check"], ["explain"], ["upstream"], ["keys", "new"]]
)
def test_help_has_examples_one_a_line(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert re.search(r"^  Examples?:\n    trio-gateway ", result.stdout, re.MULTILINE)
    assert "\\b" not in result.stdout


def test_the_version_is_said() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="trio-gateway")
    assert re.fullmatch(r"trio-gateway, version \d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("arguments", [["srve"], ["--no-such-option"], ["keys"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output
