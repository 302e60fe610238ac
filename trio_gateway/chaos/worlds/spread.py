"""Distributions as tables of quantiles, for times and sizes that no formula fits.

Between two quantiles the logarithm is interpolated, so that a tail stays a tail:

    seconds (log)                                   .* 1.0
      |                                       . ' * .99
      |                             . . ' * .95
      |      * . . . ' ' * .5
      '------0-----------.5-----------------.95--.99--1.0---> share

The times to a first token are those of modelstats.ai: probes every five minutes from
one site over a day of 2026. A single lognormal does not fit any of them.
"""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from math import exp, log
from typing import Final

# Probes tell the median and the tail, not the quickest answer. Where nothing else is
# known the quickest takes so much of the median.
_QUICKEST: Final = 0.6


class Spread:
    """A distribution of positive numbers.

    Args:
        points: pairs of a share and the value that so large a share stays below;
            ascending from share 0 to share 1.
    """

    __slots__ = ("_inner", "_pieces", "points")

    def __init__(self, points: tuple[tuple[float, float], ...]) -> None:
        shares = [share for share, _ in points]
        values = [value for _, value in points]
        if len(points) < 2 or shares[0] != 0.0 or shares[-1] != 1.0:
            raise ValueError("a spread goes from share 0 to share 1")
        if sorted(set(shares)) != shares or sorted(values) != values:
            raise ValueError("a spread's shares and values ascend")
        if values[0] <= 0.0:
            raise ValueError("a spread's values are above zero")
        self.points = points
        logs = [log(value) for value in values]
        self._inner = shares[1:-1]
        # Each from which share and logarithm on, how wide and how high.
        self._pieces = [
            (share, log_value, next_share - share, next_log - log_value)
            for (share, next_share), (log_value, next_log) in zip(
                pairwise(shares), pairwise(logs), strict=True
            )
        ]

    @classmethod
    def of(cls, *, p50: float, p95: float, p99: float, most: float) -> "Spread":
        """Make a spread from what is commonly published."""
        quickest = (0.0, _QUICKEST * p50)
        return cls((quickest, (0.5, p50), (0.95, p95), (0.99, p99), (1.0, most)))

    @classmethod
    def always(cls, value: float) -> "Spread":
        """Make a spread of one value."""
        return cls(((0.0, value), (1.0, value)))

    def at(self, share: float) -> float:
        """The value below which so large a share lies; given a die's draw, a draw."""
        piece = self._pieces[bisect_right(self._inner, share)]
        from_share, from_log, width, height = piece
        return exp(from_log + (share - from_share) / width * height)


FIRST_TOKENS: Final[Mapping[str, Spread]] = {
    "gemini-2.5-flash-lite": Spread.of(p50=0.311, p95=1.142, p99=3.080, most=3.334),
    "gemini-2.5-flash": Spread.of(p50=0.477, p95=0.776, p99=1.309, most=1.879),
    "gpt-4o-mini": Spread.of(p50=0.536, p95=0.844, p99=4.461, most=5.946),
    "haiku-4.5": Spread.of(p50=0.541, p95=1.591, p99=4.117, most=11.611),
    "gpt-4o": Spread.of(p50=0.639, p95=1.144, p99=4.517, most=7.010),
    "gpt-4.1": Spread.of(p50=0.726, p95=1.220, p99=1.946, most=4.813),
    "sonnet-4.6": Spread.of(p50=0.941, p95=2.939, p99=4.787, most=5.453),
    "deepseek-v3": Spread.of(p50=1.479, p95=1.926, p99=2.492, most=3.105),
    "opus-4.6": Spread.of(p50=1.626, p95=2.420, p99=3.797, most=5.291),
}
"""Times to a first token, in seconds, by model."""

ANSWER_TOKENS: Final = Spread(
    ((0.0, 4.0), (0.5, 129.0), (0.9, 424.0), (0.99, 601.0), (1.0, 1000.0))
)
"""Lengths of conversational answers: Azure's published trace of 2023."""
