"""A policy that cannot be used, as the terminal shows it."""

import os

import click

from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.files.report import Part, as_text

_COLOURS = {
    Part.MESSAGE: "red",
    Part.REMEDY: "green",
    Part.GUTTER: "blue",
    Part.MARK: "red",
    Part.OTHER_MARK: "yellow",
}
_BOLD = (Part.PLACE, Part.MARK, Part.OTHER_MARK, Part.COUNT)


def say_refusal(error: PolicyError) -> None:
    """Write the whole report to stderr: in colours on a terminal, plain in a pipe."""
    say(as_text(error, style=coloured), err=True)


def say(text: str, *, err: bool = False) -> None:
    """Write a coloured text: with its colours only where they are wanted."""
    is_plain = bool(os.environ.get("NO_COLOR"))
    click.echo(text, err=err, color=False if is_plain else None)


def coloured(part: Part, text: str) -> str:
    """How a part of a report looks on a terminal."""
    return click.style(text, fg=_COLOURS.get(part), bold=part in _BOLD)
