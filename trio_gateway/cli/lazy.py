"""Commands that are imported when they are asked for, so that none pays for the others.

`check --help` takes 0.35 s of CPU instead of 1.4, and a process of `serve` has 10 MB
less, without what `simulate` and `bench` are made of.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """A group whose commands are functions of the modules of their names."""

    below: ClassVar[Mapping[str, str]]
    """Each command's name and that of its module, which is its function's, too."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return sorted(self.below)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one; None if there is none of this name."""
        name = self.below.get(cmd_name)
        if name is None:
            return None
        command = getattr(import_module(f"trio_gateway.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command
