"""The command line: it composes the floors, and is the only one that knows them all.

Exit codes: 0 good; 1 the answer is no; 2 wrong usage, or a file that cannot be used.
"""

import click


def __getattr__(name: str) -> click.Group:
    """Import the commands when they are asked for: a worker's start needs none."""
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trio_gateway.cli.commands import main

    return main
