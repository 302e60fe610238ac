"""Reading a scenario file, a section at a time, with a policy's quality of errors.

Every problem is gathered with its place and a remedy, and reading goes on with a
stand-in, so that one report names them all. Keys that nobody has asked for are unknown,
and the nearest known one is suggested.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from trio_gateway.policy.files.document import Document, KeyPath
from trio_gateway.policy.files.problems import Problem, did_you_mean, listed
from trio_gateway.policy.format.fields import on_or_off
from trio_gateway.policy.format.quantities import (
    QuantityError,
    parse_duration,
    parse_share,
)
from trio_gateway.policy.format.texts import TextError

ValueT = TypeVar("ValueT")

# A load of more than this would not be simulated in anybody's lifetime.
RATE_MAX: Final = 100_000.0
# Larger factors are no slow-down but an outage.
NUMBER_MAX: Final = 1_000_000.0

_PER_S: Final = {"s": 1.0, "m": 1 / 60.0, "h": 1 / 3600.0}


class Section:
    """One mapping of the file.

    Args:
        document: the whole file.
        problems: where to put what is found.
        path: of the mapping in the file.
        value: what stands there.
    """

    def __init__(
        self,
        document: Document,
        problems: list[Problem],
        path: KeyPath,
        value: Mapping[str, object],
    ) -> None:
        self._document = document
        self._problems = problems
        self._value = value
        self._known: set[str] = set()
        self.path = path

    @classmethod
    def whole(cls, document: Document, problems: list[Problem]) -> "Section":
        """The file itself."""
        return cls(document, problems, (), document.value)

    def has(self, key: str) -> bool:
        """Whether a key was written; it is known from now on."""
        self._known.add(key)
        return key in self._value

    def take(
        self, key: str, parse: Callable[[object], ValueT], default: ValueT
    ) -> ValueT:
        """A key's value; the default where it is absent or wrong."""
        if not self.has(key):
            return default
        try:
            return parse(self._value[key])
        except (TextError, QuantityError) as error:
            self.complain(key, error.message, error.remedy)
            return default

    def need(
        self,
        key: str,
        parse: Callable[[object], ValueT],
        stand_in: ValueT,
        remedy: str,
    ) -> ValueT:
        """A key's value, which must be there."""
        if not self.has(key):
            self.complain(key, "is missing", remedy)
        return self.take(key, parse, stand_in)

    def section(self, key: str, *, like: str) -> "Section | None":
        """The mapping at a key; None where it is absent or is none.

        `like` is one, for those who have written something else.
        """
        if not self.has(key):
            return None
        return self._inner((*self.path, key), self._value[key], like)

    def sections(self, key: str, *, like: str) -> "list[Section]":
        """The mappings of a list at a key; one mapping alone is a list of one."""
        if not self.has(key):
            return []
        value = self._value[key]
        if not isinstance(value, list):
            inner = self._inner((*self.path, key), value, like)
            return [] if inner is None else [inner]
        found = (
            self._inner((*self.path, key, index), item, like)
            for index, item in enumerate(value)
        )
        return [inner for inner in found if inner is not None]

    def names(self) -> tuple[str, ...]:
        """Every key, where they are names and not words of the format."""
        self._known.update(self._value)
        return tuple(self._value)

    def _inner(self, path: KeyPath, value: object, like: str) -> "Section | None":
        if isinstance(value, Mapping):
            return Section(self._document, self._problems, path, value)
        remedy = f"Write `key: value` pairs, as in `{like}`."
        self._problems.append(self._document.problem(path, "must be a mapping", remedy))
        return None

    def complain(self, key: str | None, message: str, remedy: str) -> None:
        """Note a problem with a key, or with the section as a whole."""
        path = self.path if key is None else (*self.path, key)
        self._problems.append(self._document.problem(path, message, remedy))

    def close(self, owner_of: Callable[[str], str | None] = lambda _: None) -> None:
        """Complain about every key that nobody has asked for.

        Args:
            owner_of: what a key belongs to, if it is one elsewhere.
        """
        for key in self._value:
            if key in self._known:
                continue
            owner = owner_of(key)
            if owner is not None:
                self.complain(key, f"is a key of {owner}", "Delete it.")
            else:
                known = sorted(self._known)
                remedy = did_you_mean(key, known) or f"Known are {listed(known)}."
                self.complain(key, "is not a known key", remedy)


def duration(value: object) -> float:
    """Seconds above zero, from `500ms`, `30s`, `10m` or `1h`."""
    return parse_duration(value)


def instant(value: object) -> float:
    """Seconds from the beginning; `0s` is the beginning itself."""
    return 0.0 if value in ("0s", "0m", "0ms", "0h") else parse_duration(value)


def share(value: object) -> float:
    """A fraction of one, from `25%` or `0.25`."""
    return parse_share(value)


def rate(value: object) -> float:
    """Events a second, from `20/s`, `300/m` or `5000/h`."""
    number, _, unit = str(value).partition("/")
    remedy = "Write a number and what it is per: 20/s, 300/m or 5000/h."
    try:
        per_s = float(number) * _PER_S[unit.strip()]
    except (ValueError, KeyError):
        raise TextError("is not a rate", remedy) from None
    if not 0 <= per_s <= RATE_MAX:
        raise TextError(f"is not a rate from 0/s to {RATE_MAX:.0f}/s", remedy)
    return per_s


def count(value: object) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TextError("must be a whole number", "Write it without quotes.")
    if not 0 <= value <= NUMBER_MAX:
        raise TextError("is out of range", f"Write 0 to {NUMBER_MAX:.0f}.")
    return value


def count_from_one(value: object) -> int:
    """A whole number from 1."""
    if value == 0 and not isinstance(value, bool):
        raise TextError("is out of range", f"Write 1 to {NUMBER_MAX:.0f}.")
    return count(value)


def error_status(value: object) -> int:
    """A status code of an error."""
    status = count(value)
    if not 400 <= status <= 599:
        raise TextError("is not an error's status", "Write 400 to 599.")
    return status


def number(value: object) -> float:
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TextError("must be a number", "Write it without quotes.")
    if not 0 < value <= NUMBER_MAX:
        raise TextError("is out of range", f"Write more than 0, up to {NUMBER_MAX:g}.")
    return float(value)


def switch(value: object) -> bool:
    """`on` or `off`; true and false are the same."""
    value = on_or_off(value)
    if isinstance(value, bool):
        return value
    raise TextError("is neither on nor off", "Write one of them.")


def text(value: object) -> str:
    """Some words in one line."""
    if not isinstance(value, str) or not value.strip():
        raise TextError("must be text", "Write a line of text.")
    return " ".join(value.split())


def one_of(words: Iterable[str], *, what: str) -> Callable[[object], str]:
    """Make a parser of one of these words."""
    known = list(words)

    def parse(value: object) -> str:
        if isinstance(value, str) and value in known:
            return value
        remedy = did_you_mean(str(value), known)
        remedy = remedy or f"Write {listed(known, last='or')}."
        raise TextError(f"is not {what}", remedy)

    return parse
