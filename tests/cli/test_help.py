"""`--help` says how, by examples that can be pasted."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from tests.cli.processes import POLICIES
from trio_gateway.cli import main

LLAMA = "llama-3.3-70b"


def leaves(command: click.Command, *names: str) -> Iterator[list[str]]:
    """The words of each command that does something by itself."""
    if not isinstance(command, click.Group):
        yield [*names]
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
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
        ("trio-gateway schema sc", "plain,scenario"),
        ("trio-gateway simulate --comp", "plain,--compare"),
        ("trio-gateway upstream --fau", "plain,--fault"),
        ("trio-gateway keys n", "plain,new"),
        ("trio-gateway import lite", "plain,litellm"),
        (f"trio-gateway explain {POLICIES}/two-providers.yaml l", f"plain,{LLAMA}"),
        (f"trio-gateway explain {POLICIES}/scenarios/README.md l", ""),
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
    assert result.stdout.strip() == completed


def test_the_list_of_commands_is_not_cut_short() -> None:
    result = CliRunner().invoke(main, ["--help"])
    commands = result.stdout.partition("Commands:\n")[2].splitlines()
    assert len(commands) >= 10
    assert all(line.endswith(".") and "..." not in line for line in commands)
