"""Telling a lone refusal from a message: so many answers excuse it.

A target with all the capacity in the world still says "overloaded" or "too many
requests" now and then. Taken at its word each time, it would be held back by a third or
left alone for seconds on each of them, and the more is asked of it, the more of them
there are: with 50 requests a second and one such word in 400, two targets that are well
were held back until most clients were turned away.

    share of refusals    up to a tenth             above
                         excused: the request      the target means it: its limit
                         goes elsewhere, and       falls, or it is left alone
                         that is all

Five may be excused in a row, for luck comes in clusters. What says when to come back
is a message by itself, and is never excused.
"""

from typing import Final

# Refusals up to a tenth are noise: they are half a percent on a good day, 5 % of all
# requests to language models in Datadog's February of 2026. Where a real limit is
# passed by so little, failing over is cheaper than holding back.
ANSWERS_AN_EXCUSE: Final = 10
# A real limit answers a sixth one within the same second.
ANSWERS_MOST: Final = 5 * ANSWERS_AN_EXCUSE


class Noise:
    """How many refusals of one target its answers excuse; none before there are any."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        self.answers = 0
        """Those that excuse something yet, 0 to `ANSWERS_MOST`."""

    def answered(self) -> None:
        """The target answered well."""
        self.answers = min(ANSWERS_MOST, self.answers + 1)

    def excuses(self) -> bool:
        """Whether one more refusal is noise; if so, it uses up what excused it."""
        if self.answers < ANSWERS_AN_EXCUSE:
            return False
        self.answers -= ANSWERS_AN_EXCUSE
        return True
