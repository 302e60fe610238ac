"""When an upstream says to come back, in all the ways that providers say it.

Nobody agrees on one: seconds, milliseconds or a date in a header, a field of Google's
error, a sentence, the reset of an exhausted limit. The first that can be read counts;
what cannot be read was not said. Nothing here raises, whatever the upstream sends.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Final

# A longer hint is a mistake, or a moment and no duration: limits are by the minute, the
# day, the week, and the longest by the month.
HINT_S_MAX: Final = 31 * 24 * 3600.0
# Hints are short, and stand in short messages; the rest is not searched.
_VALUE_BYTES_MAX: Final = 64
_MESSAGE_CHARS_MAX: Final = 2000
_DETAILS_MAX: Final = 16
_VALUES_MAX: Final = 8

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
# One part of "20ms", "6m0s", "1.5 seconds", "2 minutes".
_PART: Final = re.compile(
    r"([0-9]+(?:\.[0-9]+)?) ?"
    r"(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|days?|d)(?![a-z])",
    re.IGNORECASE,
)
_DURATION: Final = re.compile(rf"(?:{_PART.pattern} ?)+", re.IGNORECASE)
_SENTENCE: Final = re.compile(
    rf"(?:try again|retry)(?: your request)? (?:in|after) ({_DURATION.pattern})",
    re.IGNORECASE,
)
_UNITS_S: Final[Mapping[str, float]] = {
    "mil": 0.001,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}  # by how the unit begins; the longer ones first

_LIMITS: Final = (
    # OpenAI's kind gives durations, Anthropic's a moment.
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    *(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)

# The fields that are looked at, by their names in lower case.
_NAMES: Final = {
    name.encode("ascii"): name
    for name in ("date", "retry-after", "retry-after-ms", *chain(*_LIMITS))
}

_Values = Mapping[str, list[str]]
_Now = Callable[[], float]  # by the answer's own clock, where it has one


def hint_s(
    headers: Iterable[tuple[bytes, bytes]],
    error: object,
    message: str,
    *,
    wall_now: float,
) -> float | None:
    """Return the seconds to wait from this answer on, None where it does not say.

    Only an answer that means "later" (429, 503, 529) should be asked.

    Args:
        headers: the answer's fields, names in any case.
        error: its error, as parsed JSON.
        message: what that says in words.
        wall_now: seconds since 1970, in case the answer has no `Date` of its own.

    Returns:
        0 to `HINT_S_MAX`; the policy's own cap is the caller's to apply.
    """
    values = _values_by_name(headers)

    def now() -> float:
        dates = (_moment_of_http(value) for value in values.get("date", ()))
        return next((at for at in dates if at is not None), wall_now)

    hints = chain(
        _in_milliseconds(values),
        _in_seconds_or_date(values, now=now),
        _in_details(error),
        _in_words(message),
        _until_reset(values, now=now),
    )
    return next((hint for hint in hints if 0 <= hint <= HINT_S_MAX), None)


def _values_by_name(headers: Iterable[tuple[bytes, bytes]]) -> _Values:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        known = _NAMES.get(name.lower())
        if known is not None and len(value) <= _VALUE_BYTES_MAX:
            given = values.setdefault(known, [])
            if len(given) < _VALUES_MAX:
                given.append(value.decode("latin-1").strip(" \t"))
    return values


def _in_milliseconds(values: _Values) -> Iterator[float]:
    for value in values.get("retry-after-ms", ()):
        if _NUMBER.fullmatch(value):
            yield float(value) / 1000


def _in_seconds_or_date(values: _Values, *, now: _Now) -> Iterator[float]:
    for value in values.get("retry-after", ()):
        if _NUMBER.fullmatch(value):
            yield float(value)
        elif (seconds := _duration(value)) is not None:
            yield seconds  # against the standard, but nobody can mean anything else
        elif (at := _moment_of_http(value)) is not None:
            yield max(0.0, at - now())


def _in_details(error: object) -> Iterator[float]:
    """Google's `RetryInfo`, the one detail of an error that says when."""
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details[:_DETAILS_MAX] if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (seconds := _duration(delay)) is not None:
            yield seconds


def _in_words(message: str) -> Iterator[float]:
    for sentence in _SENTENCE.finditer(message[:_MESSAGE_CHARS_MAX]):
        if (seconds := _duration(sentence[1])) is not None:
            yield seconds


def _until_reset(values: _Values, *, now: _Now) -> Iterator[float]:
    """The reset of each limit that is used up; the last of them is what counts."""
    resets: list[float] = []
    for remaining, reset in _LIMITS:
        left, until = values.get(remaining), values.get(reset)
        if not left or not until or not _NUMBER.fullmatch(left[0]) or float(left[0]):
            continue
        if (at := _moment_of_rfc3339(until[0])) is not None:
            resets.append(max(0.0, at - now()))
        elif _NUMBER.fullmatch(until[0]):
            resets.append(float(until[0]))
        elif (seconds := _duration(until[0])) is not None:
            resets.append(seconds)
    if resets:
        yield max(resets)


def _duration(text: str) -> float | None:
    """Read "6m0s", "20ms", "1.5 seconds"; None where it is anything else."""
    if len(text) > _VALUE_BYTES_MAX or not _DURATION.fullmatch(text):
        return None
    return sum(
        float(number)
        * next(s for start, s in _UNITS_S.items() if unit.lower().startswith(start))
        for number, unit in _PART.findall(text)
    )


def _moment_of_http(text: str) -> float | None:
    try:
        return _timestamp(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None  # the parser is written for mail, and raises what it likes


def _moment_of_rfc3339(text: str) -> float | None:
    if "-" not in text:
        return None  # a bare number is no date, though it could be read as one
    try:
        return _timestamp(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _timestamp(at: datetime) -> float:
    """Seconds since 1970; a time without a zone is UTC, never this machine's zone."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
