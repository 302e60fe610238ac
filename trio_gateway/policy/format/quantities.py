"""Durations, sizes and shares as people write them, turned into numbers.

A bare number has no unit, and guessing one is how `timeout: 30` became thirty
milliseconds somewhere: it is refused, with what to write instead.
"""

import math
import re
from typing import Final

# A gateway that waits longer than a day for anything has been misconfigured.
DURATION_MAX_S: Final = 24 * 3600.0

# Sizes are of things held in memory, per request.
SIZE_MAX_BYTES: Final = 1024**3

# Nothing that a person writes as a quantity is longer; an error quotes no more of it.
QUOTED_MAX: Final = 40

DURATION_FORM: Final = "Write a number and its unit: 500ms, 30s, 10m or 1h."
SIZE_FORM: Final = "Write a number and its unit: 64KiB, 4MiB or 20MB."
SHARE_FORM: Final = "Write a percentage such as 5%, or a fraction such as 0.05."

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS_BYTES: Final = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)$"
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z%]*)")
_PARTS: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")

# What people write for units elsewhere, in small letters.
_CALLED_S: Final = {
    **_UNITS_S,
    **dict.fromkeys(("msec", "msecs", "millis", "milliseconds"), 0.001),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), 3600.0),
}
_CALLED_BYTES: Final = {
    **{unit.lower(): unit for unit in _UNITS_BYTES},
    "k": "KiB",
    "ki": "KiB",
    "m": "MiB",
    "mi": "MiB",
    "g": "GiB",
    "gi": "GiB",
}


class QuantityError(ValueError):
    """A text is not the quantity that is wanted.

    `message` and `remedy` quote what was given. Where that may be a secret, say
    `wanted` and `form` instead: they quote nothing.
    """

    def __init__(
        self, wanted: str, value: object, form: str, instead: str | None = None
    ) -> None:
        self.wanted = wanted
        self.form = form
        given = _quoted(value)
        self.message = f"{given} is not {wanted}" if given else f"is not {wanted}"
        self.remedy = form if instead is None else f"Write {instead}."
        super().__init__(f"{self.message}. {self.remedy}")


def parse_duration(value: object) -> float:
    """Seconds from `500ms`, `30s`, `10m` or `1h`; more than none, at most a day.

    Raises:
        QuantityError: It is anything else, a bare number among it.
    """
    wanted = "a duration"
    number, unit = _split(value)
    if number is None or unit not in _UNITS_S:
        is_bare = number is not None and not unit
        instead = f"{_bare(value)}s" if is_bare else _meant_duration(value)
        raise QuantityError(wanted, value, DURATION_FORM, instead)
    seconds = number * _UNITS_S[unit]
    if not 0 < seconds <= DURATION_MAX_S:
        raise QuantityError("a duration above 0s and up to 24h", value, DURATION_FORM)
    return seconds


def parse_size(value: object) -> int:
    """Bytes from `64KiB`, `4MiB` or `20MB`; more than none, at most 1 GiB.

    Raises:
        QuantityError: It is anything else, a bare number among it.
    """
    wanted = "a size"
    number, unit = _split(value)
    if number is None or unit not in _UNITS_BYTES:
        is_bare = number is not None and not unit
        instead = f"{_bare(value)}MiB" if is_bare else _meant_size(value)
        raise QuantityError(wanted, value, SIZE_FORM, instead)
    size = number * _UNITS_BYTES[unit]
    if not 1 <= size <= SIZE_MAX_BYTES:
        raise QuantityError("a size from 1B to 1GiB", value, SIZE_FORM)
    return int(size)


def parse_share(value: object) -> float:
    """A fraction above 0 and up to 1, from `5%` or `0.05`.

    Raises:
        QuantityError: It is anything else.
    """
    number, unit = _split(value)
    if number is None or unit not in ("", "%"):
        raise QuantityError("a share", value, SHARE_FORM)
    share = number / 100 if unit == "%" else number
    if not 0 < share <= 1:
        instead = f"{_bare(value)}%" if not unit and 1 < number <= 100 else None
        wanted = "a share above 0 and up to 1"
        raise QuantityError(wanted, value, SHARE_FORM, instead)
    return share


def _split(value: object) -> tuple[float | None, str]:
    """A finite number and the unit behind it; no number if there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None, ""
    text = value if isinstance(value, str) else _bare(value)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None, ""
    number = float(match[1])
    return (number, match[2]) if math.isfinite(number) else (None, "")


def _meant_duration(value: object) -> str | None:
    """What `60 sec`, `2min` and `1m30s` are here; None where nobody can tell."""
    parts = _parts(value)
    if not parts or any(unit not in _CALLED_S for _, unit in parts):
        return None
    seconds = sum(number * _CALLED_S[unit] for number, unit in parts)
    if not 0 < seconds <= DURATION_MAX_S:
        return None
    finest_s = min(_CALLED_S[unit] for _, unit in parts)
    unit = next(unit for unit, unit_s in _UNITS_S.items() if unit_s == finest_s)
    return f"{seconds / finest_s:.12g}{unit}"


def _meant_size(value: object) -> str | None:
    """What `20 mb` and `20M` are here; None where nobody can tell."""
    parts = _parts(value)
    if len(parts) != 1 or parts[0][1] not in _CALLED_BYTES:
        return None
    number, unit = parts[0]
    return f"{number:.12g}{_CALLED_BYTES[unit]}"


def _parts(value: object) -> list[tuple[float, str]]:
    """Numbers with their units, in small letters; none if it is not made of them."""
    if not isinstance(value, str) or len(value) > QUOTED_MAX:
        return []
    found = _PARTS.findall(value)
    is_all = "".join(_PARTS.split(value)[::3]) == ""
    return [(float(number), unit.lower()) for number, unit in found if is_all]


def _bare(value: object) -> str:
    return format(value, ".12g") if isinstance(value, float) else str(value)


def _quoted(value: object) -> str | None:
    """What was given, if it can be shown in a few characters."""
    if isinstance(value, str):
        clipped = value if len(value) <= QUOTED_MAX else value[:QUOTED_MAX] + "..."
        return f'"{clipped}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < 1e15:
        return _bare(value)
    return None
