"""When faults reign: seeded processes over time, and the load of a day.

Outages of real providers come in clusters and last log-normally (Chu et al., ICPE 2025,
and the incidents of OpenAI and Anthropic of 2021 to 2024): the gaps between them are
drawn from a Weibull distribution of shape 0.5, whose spread is twice its mean. Nothing
here reads a clock or shares a die; the same name of the dice gives the same windows.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import cos, gamma, inf, log, pi
from random import Random
from typing import Final

# Of all OpenAI incidents: sigma of the log of their minutes. The median is the user's.
OUTAGE_SIGMA: Final = 1.17

# Gaps of shape 0.5 have a coefficient of variation of 2.2, as the incidents have.
CLUSTER_SHAPE: Final = 0.5

# What is drawn beforehand. A year of OpenAI has 65 outages; who draws seconds instead
# of days has used them up within hours.
WINDOWS_MAX: Final = 10_000

# A window or a gap is never shorter: two windows cannot begin at once.
_SHORTEST_S: Final = 1e-3

Window = tuple[float, float]
"""From when until when, in seconds from the beginning."""


@dataclass(frozen=True, slots=True)
class Outages:
    """Clustered incidents: one in `every_s` on average, half of them over in `lasts_s`.

    As OpenAI's API had them: every 5.64 days, 74 minutes.
    """

    every_s: float
    lasts_s: float

    def draws(self, dice: Random) -> Iterator[Window]:
        """Draw one after the other, for ever; each begins after the last has ended."""
        scale_s = self.every_s / gamma(1.0 + 1.0 / CLUSTER_SHAPE)
        at = 0.0
        while True:
            at += max(_SHORTEST_S, dice.weibullvariate(scale_s, CLUSTER_SHAPE))
            lasts_s = dice.lognormvariate(log(self.lasts_s), OUTAGE_SIGMA)
            lasts_s = max(_SHORTEST_S, lasts_s)
            yield at, at + lasts_s
            at += lasts_s


@dataclass(frozen=True, slots=True)
class Bursts:
    """Short spells without memory: on for `lasts_s`, again after `every_s`, on average.

    What a throttle feels like while others use the same capacity.
    """

    every_s: float
    lasts_s: float

    def draws(self, dice: Random) -> Iterator[Window]:
        """Draw one after the other, for ever."""
        at = 0.0
        while True:
            at += max(_SHORTEST_S, dice.expovariate(1.0 / self.every_s))
            lasts_s = max(_SHORTEST_S, dice.expovariate(1.0 / self.lasts_s))
            yield at, at + lasts_s
            at += lasts_s


@dataclass(frozen=True, slots=True)
class Incident:
    """One outage, there from the beginning; half of them are over in `lasts_s`."""

    lasts_s: float

    def draws(self, dice: Random) -> Iterator[Window]:
        """Draw the only one."""
        yield (
            0.0,
            max(_SHORTEST_S, dice.lognormvariate(log(self.lasts_s), OUTAGE_SIGMA)),
        )


@dataclass(frozen=True, slots=True)
class Flaps:
    """On and off, again and again, beginning with on."""

    on_s: float
    off_s: float


Rhythm = Outages | Bursts | Incident | Flaps


@dataclass(frozen=True, slots=True)
class When:
    """When a fault reigns, in seconds since the provider started or was told of it.

    A rhythm of chance has no windows until `drawn`, and does not reign until then.
    """

    from_s: float = 0.0
    until_s: float = inf
    rhythm: Rhythm | None = None
    _begins: tuple[float, ...] = field(default=(), repr=False)
    _ends: tuple[float, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.until_s <= self.from_s:
            raise ValueError(f"until={self.until_s:g}s is not after from")

    def drawn(self, dice_name: str) -> "When":
        """Draw the windows of a rhythm of chance; the same for the same name."""
        if self.rhythm is None or isinstance(self.rhythm, Flaps):
            return self
        draws = self.rhythm.draws(Random(dice_name))
        begins, ends = zip(*islice(draws, WINDOWS_MAX), strict=True)
        return When(self.from_s, self.until_s, self.rhythm, begins, ends)

    def reigns(self, at_s: float) -> bool:
        """Say whether the fault may strike a request that comes at this instant."""
        if not self.from_s <= at_s < self.until_s:
            return False
        since_s = at_s - self.from_s
        match self.rhythm:
            case None:
                return True
            case Flaps(on_s, off_s):
                return since_s % (on_s + off_s) < on_s
            case _:
                place = bisect_right(self._begins, since_s) - 1
                return place >= 0 and since_s < self._ends[place]

    def next_begin(self, after_s: float) -> float:
        """The next instant after this one at which it begins; inf: there is none."""
        match self.rhythm:
            case None:
                at_s = self.from_s if after_s < self.from_s else inf
            case Flaps(on_s, off_s):
                at_s = next_lap(self.from_s, on_s + off_s, after_s)
            case _:
                place = bisect_right(self._begins, after_s - self.from_s)
                # By rounding, the first of them may be the one that was.
                next_two = (
                    self.from_s + begin_s for begin_s in self._begins[place : place + 2]
                )
                at_s = next((at_s for at_s in next_two if at_s > after_s), inf)
        return at_s if at_s < self.until_s else inf


def next_lap(from_s: float, lap_s: float, after_s: float) -> float:
    """The next instant after this one at which a lap begins, `from_s` on."""
    if after_s < from_s:
        return from_s
    laps = (after_s - from_s) // lap_s + 1.0
    at_s = from_s + laps * lap_s
    return at_s if at_s > after_s else at_s + lap_s  # by rounding


ALWAYS: Final = When()


@dataclass(frozen=True, slots=True)
class Day:
    """How a provider's load rises and falls: at its peak, everything takes longer.

    It begins at the quietest hour, at the usual pace.
    """

    peak: float  # how many times as long it takes at the busiest hour
    period_s: float = 86_400.0

    def factor(self, at_s: float) -> float:
        """How many times as long everything takes at this instant."""
        height = (1.0 - cos(2.0 * pi * at_s / self.period_s)) / 2.0
        return 1.0 + (self.peak - 1.0) * height
