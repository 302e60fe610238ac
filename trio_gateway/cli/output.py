"""Files that a command writes when it is done, looked at before it begins."""

import os
from pathlib import Path

import click


def see_writable(
    context: click.Context, parameter: click.Parameter, file: Path | None
) -> Path | None:
    """Refuse what cannot be written before minutes are spent on what is to be in it.

    A `callback` of an option. Nothing is opened: it may be a pipe.
    """
    if file is None or str(file) == "-":
        return file
    place = file if os.access(file, os.F_OK) else file.parent
    if not os.access(place, os.W_OK):
        raise click.BadParameter(
            f"{file} cannot be written: see that its folder is there, and that you may "
            "write to it"
        )
    return file
