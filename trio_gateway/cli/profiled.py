"""`python -m trio_gateway.cli.profiled FILE serve ...`: the command line, profiled.

What cProfile saw is written to FILE when the command ends: all but the imports, which
are over when it begins. `bench --profile` runs the gateway this way.
"""

import cProfile
import sys

import click

from trio_gateway.cli import main


def profiled(file: str, arguments: list[str]) -> None:
    """Run a command under the profiler; it ends as the command does."""
    main.get_command(click.Context(main), arguments[0])
    profiler = cProfile.Profile()
    try:
        profiler.runcall(main, arguments)
    finally:
        profiler.dump_stats(file)


if __name__ == "__main__":
    profiled(sys.argv[1], sys.argv[2:])
