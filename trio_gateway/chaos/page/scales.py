"""Where numbers stand on a page's axes, and which of them are written beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final

from trio_gateway.chaos.page.words import THIN, plain, seconds_text, share_text

_TIME_STEPS_S: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 14400, 21600, 43200, 86400),
)
# As many as have room under a picture on a phone.
_TIME_TICKS_MAX: Final = 7
# A spread as large as this hides its lower half on a linear axis.
_LOG_FROM_RATIO: Final = 12.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark: its place as a share of the axis, and its words."""

    place: float
    words: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A vertical axis, from its foot to its head."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value stands: 0 is the foot, 1 the head."""
        if self.is_log:
            share = log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))


def time_ticks(duration_s: float) -> tuple[Tick, ...]:
    """Round instants of a run, the beginning among them."""
    step_s: float = _TIME_STEPS_S[-1]
    step_s *= max(1, ceil(duration_s / step_s / _TIME_TICKS_MAX))
    for known_s in _TIME_STEPS_S:
        if duration_s / known_s <= _TIME_TICKS_MAX:
            step_s = known_s
            break
    unit_s, unit = 1.0, "s"
    if step_s >= 3600:
        unit_s, unit = 3600.0, "h"
    elif step_s >= 60:
        unit_s, unit = 60.0, "min"
    return tuple(
        Tick(
            at * step_s / duration_s,
            f"{at * step_s / unit_s:g}{THIN}{unit}" if at else "0",
        )
        for at in range(floor(duration_s / step_s) + 1)
    )


def rates(per_s: Iterable[float], unit: str = "") -> tuple[Scale, float]:
    """An axis of rates from 0; also by what a rate a second is to be multiplied.

    Slow ones are told by the minute or by the hour.
    """
    highest = max(per_s, default=0.0)
    factor, period = 1.0, "s"
    if 0 < highest < 0.5:
        factor, period = (60.0, "min") if highest >= 0.5 / 60 else (3600.0, "h")
    step = _nice(max(highest * factor, 1e-9) / 3)
    if highest == 0:
        step = 1.0
    count = max(1, ceil(highest * factor / step - 1e-9))
    ticks = tuple(
        Tick(at / count, f"{plain(at * step)}{f'{THIN}/{period}' if at else ''}{unit}")
        for at in range(count + 1)
    )
    return Scale(0.0, count * step, ticks), factor


def shares(values: Iterable[float]) -> Scale:
    """An axis of shares up to all, begun where the lowest still has its place."""
    lowest = min(values, default=1.0)
    low = next((low for low in (0.99, 0.95, 0.9, 0.8, 0.5) if lowest >= low), 0.0)
    middle = (1 + low) / 2
    ticks = (
        Tick(place, share_text(v)) for place, v in ((0, low), (0.5, middle), (1, 1))
    )
    return Scale(low, 1.0, tuple(ticks))


def durations(values: Iterable[float]) -> Scale:
    """An axis of durations; one of powers where they spread far."""
    known = [value for value in values if value > 0]
    lowest, highest = min(known, default=1.0), max(known, default=1.0)
    if highest / lowest > _LOG_FROM_RATIO:
        return _powers(lowest, highest)
    step = _nice(highest / 3)
    count = max(1, ceil(highest / step - 1e-9))
    ticks = tuple(Tick(at / count, _tick(at * step)) for at in range(count + 1))
    return Scale(0.0, count * step, ticks)


def _powers(lowest: float, highest: float) -> Scale:
    marks = [
        digit * 10.0**power
        for power in range(floor(log10(lowest)), ceil(log10(highest)) + 1)
        for digit in (1, 3)
    ]
    low = max(mark for mark in marks if mark <= lowest * (1 + 1e-9))
    high = min(mark for mark in marks if mark >= highest * (1 - 1e-9))
    bare = Scale(low, high, (), is_log=True)
    inside = [mark for mark in marks if low <= mark <= high]
    if len(inside) > 5:
        inside = [mark for mark in inside if f"{mark:e}".startswith("1")]
    ticks = tuple(Tick(bare.place(mark), _tick(mark)) for mark in inside)
    return Scale(low, high, ticks, is_log=True)


def _tick(seconds: float) -> str:
    if 1 <= seconds < 100:
        return f"{seconds:g}{THIN}s"
    return seconds_text(seconds)


def _nice(step: float) -> float:
    """The next of 1, 2, 5, 10 ... that is no smaller."""
    power = 10.0 ** floor(log10(step))
    for digit in (1.0, 2.0, 5.0):
        if digit * power >= step * (1 - 1e-9):
            return digit * power
    return 10 * power
