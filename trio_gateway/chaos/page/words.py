"""Numbers as a page writes them: rounded so that they never flatter."""

from html import escape
from math import floor, log10
from typing import Final

from trio_gateway.chaos.scenarios.expect import Measure, Unit
from trio_gateway.chaos.scenarios.texts import percent

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
# A thin space that does not break keeps a number and its unit together.
THIN: Final = "\u202f"


def text(words: object) -> str:
    """Anything as text of HTML, also within quoted attributes."""
    return escape(str(words), quote=True)


def share_text(share: float) -> str:
    """A share in per cent, rounded down: what is not everything is not 100 %."""
    return f"{percent(share).rstrip('0').rstrip('.')}{THIN}%"


def seconds_text(seconds: float) -> str:
    """A duration."""
    if seconds == 0:
        return f"0{THIN}s"
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f}{THIN}ms"
    if seconds < 9.995:
        return f"{seconds:.2f}{THIN}s"
    if seconds < 99.95:
        return f"{seconds:.1f}{THIN}s"
    if seconds < 2 * _HOUR_S:
        return clock_text(seconds)
    return f"{seconds / _HOUR_S:.1f}{THIN}h"


def clock_text(seconds: float) -> str:
    """An instant of the run: 4:05, or 1:04:05."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def span_text(seconds: float) -> str:
    """How long a run or a fault lasts, in whole units where they fit."""
    for unit_s, unit in ((_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= 2 * unit_s or seconds == unit_s:
            return f"{seconds / unit_s:.4g}{THIN}{unit}"
    return f"{seconds:.4g}{THIN}s"


def plain(number: float) -> str:
    """A number with three digits that matter."""
    if number == 0:
        return "0"
    if number >= 100:
        return f"{number:,.0f}"
    digits = max(0, 2 - floor(log10(abs(number))))
    written = f"{number:.{digits}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def value_text(measure: Measure, value: float | None) -> str:
    """A measured number, or a bound of it."""
    if value is None:
        return "\u2013"
    match measure.unit:
        case Unit.SHARE:
            return share_text(value)
        case Unit.SECONDS:
            return seconds_text(value)
        case Unit.FACTOR:
            return f"{value:.3f}"
        case Unit.PER_S:
            return f"{value:.2f}{THIN}/s"
        case Unit.COUNT:
            return f"{value:,.0f}"


def bound_text(measure: Measure, bound: float | None) -> str:
    """What was expected of it."""
    if bound is None:
        return "\u2013"
    sign = "\u2265" if measure.is_at_least else "\u2264"
    return f"{sign}{THIN}{value_text(measure, bound)}"
