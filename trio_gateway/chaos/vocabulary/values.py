"""Values in the texts of faults and providers: times, counts, words to choose from."""

import difflib
import re
from collections.abc import Iterable
from typing import Final

_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_EXAMPLES: Final = {"status": 503, "port": 9001}
_SECONDS_IN: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def is_time(text: str) -> bool:
    """Say whether a text is a TIME."""
    return _TIME.fullmatch(text) is not None


def seconds_of(name: str, value: str | None) -> float:
    """Read a TIME, such as `300ms` or `4h`, of the option with that name.

    Raises:
        ValueError: with what to write instead.
    """
    match = _TIME.fullmatch(value or "")
    if match is None:
        raise ValueError(f"{name} needs a time, such as {name}=300ms or {name}=2s")
    return float(match[1]) * _SECONDS_IN[match[2]]


def count_of(name: str, value: str | None) -> int:
    """Read a whole number, of the option with that name.

    Raises:
        ValueError: with what to write instead.
    """
    if value is None or not (value.isascii() and value.isdigit()):
        number = _EXAMPLES.get(name, 3)
        raise ValueError(f"{name} needs a whole number, such as {name}={number}")
    return int(value)


def one_of(word: str, known: Iterable[str], *, what: str) -> str:
    """Check a word against those there are; suggest one where it is close.

    Raises:
        ValueError: it is none of them.
    """
    words = [str(one) for one in known]
    if word in words:
        return word
    near = difflib.get_close_matches(word, words, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words)}"
    raise ValueError(f"no {what} is called {word!r}; {advice}")
