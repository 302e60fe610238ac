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

# Refusals up to this share are noise: half a percent on a good day, 5 % of all requests
# to language models in Datadog's February of 2026. Where a real limit is passed by so
# little, failing over is cheaper than holding back.
SHARE: Final = 0.1
# A real limit answers a sixth one within the same second.
MOST: Final = 5.0


class Noise:
    """How many refusals of one target its answers excuse; none before there are any."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0.0
        """Refusals that would be excused now, 0 to `MOST`."""

    def answered(self) -> None:
        """The target answered well."""
        self.left = min(MOST, self.left + SHARE)

    def excuses(self) -> bool:
        """Whether one more refusal is noise; if so, it is used up."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True
