"""Numbers on the command line: `nan` and `inf` are words for floats, and no numbers."""

from math import isfinite

import click


class FiniteRange(click.FloatRange):
    """As click's, which takes `nan` to be within any bounds."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number, or fail as click does."""
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number
