"""A policy that cannot be used, as the terminal shows it."""

import os

import click

from trio_gateway.policy.problems import PolicyError
from trio_gateway.policy.report import Part, as_text

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
    is_plain = bool(os.environ.get("NO_COLOR"))
    text = as_text(error, style=_coloured)
    click.echo(text, err=True, color=False if is_plain else None)


def _coloured(part: Part, text: str) -> str:
    return click.style(text, fg=_COLOURS.get(part), bold=part in _BOLD)
