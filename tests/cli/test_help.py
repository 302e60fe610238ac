"""`--help` says how, by examples that can be pasted."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from trio_gateway.cli import main


def leaves(command: click.Command, *names: str) -> Iterator[list[str]]:
    """The words of each command that does something by itself."""
    if not isinstance(command, click.Group):
        yield [*names]
        return
    for name, below in command.commands.items():
        yield from leaves(below, *names, name)


COMMANDS = [[], *leaves(main)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
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


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("trio-gateway ex", "plain,explain"),
        ("trio-gateway check --str", "plain,--strict"),
        ("trio-gateway explain --mer", "plain,--mermaid"),
    ],
)
def test_commands_and_options_complete_themselves_in_a_shell(
    words: str, completed: str
) -> None:
    env = {
        "_TRIO_GATEWAY_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    result = CliRunner(env=env).invoke(main, prog_name="trio-gateway")
    assert result.stdout == f"{completed}\n"
