"""A configuration walked key by key, so that what nobody took can be named."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from trio_gateway.policy.files.document import Document, KeyPath, key_text
from trio_gateway.policy.files.problems import Problem

_ENVIRON: Final = "os.environ/"


@dataclass(frozen=True, slots=True)
class Note:
    """What an operator should know about one line of the configuration."""

    file: str
    line: int | None
    key: str
    text: str  # a phrase without a full stop

    def __str__(self) -> str:
        """`file:line: key: text`."""
        return f"{self.file}:{self.line}: {self.key}: {self.text}"


@dataclass(slots=True)
class Notes:
    """Gathers notes; the same one about many places is said once for each line."""

    document: Document
    _found: dict[Note, None] = field(default_factory=dict)

    def add(self, path: KeyPath, text: str) -> None:
        """Note something about what is written at a path."""
        place = self.document.place(path)
        self._found[Note(place.file, place.line, key_text(path), text)] = None

    def add_problem(self, problem: Problem) -> None:
        """Note what is wrong with the file itself."""
        text = f"{problem.message}, and left out"
        self._found[Note(problem.file, problem.line, problem.key, text)] = None

    def in_order(self) -> tuple[Note, ...]:
        """All notes, by line."""
        return tuple(sorted(self._found, key=lambda note: note.line or 0))


class Part:
    """A mapping of the configuration. What is not taken from it is noted at the end."""

    def __init__(self, notes: Notes, path: KeyPath, value: object) -> None:
        self.path = path
        self.notes = notes
        self._left: dict[str, object] = {}
        if isinstance(value, Mapping):
            self._left = {str(key): each for key, each in value.items()}
        elif value is not None:
            notes.add(path, "is no mapping, and left out")

    def copy(self) -> "Part":
        """The same mapping, of which nothing more is taken than so far."""
        return Part(self.notes, self.path, self._left)

    def left(self) -> tuple[str, ...]:
        """The keys that nobody has taken yet."""
        return tuple(self._left)

    def take(self, key: str) -> object:
        """What stands behind a key; None if nothing does."""
        return self._left.pop(key, None)

    def note(self, key: str, text: str) -> None:
        """Note something about one of its keys."""
        self.notes.add((*self.path, key), text)

    def part(self, key: str) -> "Part":
        """A mapping inside of it; an empty one if there is none."""
        return Part(self.notes, (*self.path, key), self.take(key))

    def parts(self, key: str) -> Iterator["Part"]:
        """The mappings of a list."""
        value = self.take(key)
        if isinstance(value, list):
            for index, each in enumerate(value):
                yield Part(self.notes, (*self.path, key, index), each)
        elif value is not None:
            self.note(key, "is no list, and left out")

    def text(self, key: str) -> str | None:
        """A text, with LiteLLM's references in our form."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return None if value is None else as_reference(value)
        if isinstance(value, bool | int | float):
            return str(value)
        self.note(key, "is no text, and left out")
        return None

    def number(self, key: str) -> float | None:
        """A number of at least 0."""
        value = self.take(key)
        if value is None:
            return None
        try:
            number = float(value) if isinstance(value, str | int | float) else -1.0
        except ValueError:
            number = -1.0
        if isinstance(value, bool) or not 0 <= number < 1e12:
            self.note(key, "is no number that can be taken over, and left out")
            return None
        return number

    def names(self, key: str) -> list[str]:
        """A list of names."""
        value = self.take(key)
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return value
        if value is not None:
            self.note(key, "is no list of names, and left out")
        return []

    def close(self, reasons: Mapping[str, str]) -> None:
        """Note every key that nobody took, by a reason if there is one."""
        for key in self._left:
            self.note(key, reasons.get(key, "has no counterpart here"))
        self._left = {}


def as_reference(text: str) -> str:
    """`os.environ/NAME` as `${NAME}`; other texts stand for themselves."""
    if text.startswith(_ENVIRON):
        name = re.sub(r"\W", "_", text.removeprefix(_ENVIRON))
        return f"${{{name}}}"
    return text.replace("${", "$${")


def is_reference(text: str) -> bool:
    """Whether a text stands for a variable alone."""
    return re.fullmatch(r"\$\{\w+\}", text) is not None
