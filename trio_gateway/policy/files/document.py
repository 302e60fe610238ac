"""What a policy's files say, and where they say it: values, and a place for each.

`reading` makes documents of files, and `merge` one of several. Here is what all who
complain of one need: paths of keys, and the place where each was written.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from trio_gateway.policy.files.problems import Problem, Source, Spot

KeyPath = tuple[str | int, ...]

# Longer keys are clipped in reports.
KEY_SHOWN_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, counted from 1; of a scalar, its text as it is there."""

    file: str
    line: int | None
    column: int | None
    text: str | None = None
    kind: str | None = None  # what YAML took the text for, if not for text
    end_column: int | None = None  # behind its last character on this line


@dataclass(frozen=True, slots=True)
class Document:
    """What the files say, where they say it, and the files for a report to show."""

    value: Mapping[str, object]
    places: Mapping[KeyPath, Place]
    sources: tuple[Source, ...] = ()

    def place(self, path: KeyPath) -> Place:
        """Where this path was written, or the nearest thing around it."""
        return self.places[self.written_part(path)]

    def written_part(self, path: KeyPath) -> KeyPath:
        """As much of the path as was really written; the root always was."""
        while path not in self.places:
            path = path[:-1]
        return path

    def problem(
        self,
        path: KeyPath,
        message: str,
        remedy: str,
        *,
        also: KeyPath | Place | None = None,
    ) -> Problem:
        """A problem with what stands, or should stand, at this path.

        `also` is where a second thing stands that it is about.
        """
        second = self.place(also) if isinstance(also, tuple) else also
        return problem_at(self.place(path), path, message, remedy, also=second)


def problem_at(
    place: Place,
    path: KeyPath,
    message: str,
    remedy: str,
    *,
    also: Place | None = None,
) -> Problem:
    """A problem with what stands at a place."""
    return Problem(
        place.file,
        place.line,
        place.column,
        key_text(path),
        message,
        remedy,
        place.end_column,
        None if also is None else spot(also),
    )


def spot(place: Place) -> Spot | None:
    """The place, if it is one in a file."""
    if place.line is None or place.column is None:
        return None
    return Spot(place.file, place.line, place.column, place.end_column)


def key_text(path: KeyPath) -> str:
    """`models.chat.targets[0].provider`, in one line whatever the keys are."""
    steps = (f"[{s}]" if isinstance(s, int) else f".{key_shown(s)}" for s in path)
    return "".join(steps).removeprefix(".")


def key_shown(key: str) -> str:
    """One key, clipped, and quoted where it is no plain text."""
    clipped = key if len(key) <= KEY_SHOWN_MAX else key[:KEY_SHOWN_MAX] + "..."
    return clipped if clipped.isprintable() else repr(clipped)


def find(value: object, pattern: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """What stands at a path; `*` in it is every name, `#` every index of a list."""
    if not pattern:
        yield (), value
        return
    step, rest = pattern[0], pattern[1:]
    children: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, list):
        children = enumerate(value) if step == "#" else ()
    elif isinstance(value, Mapping):
        children = value.items() if step == "*" else [(step, value.get(step))]
    for key, child in children:
        if child is not None:
            for path, found in find(child, rest):
                yield (key, *path), found


def where(place: Place) -> str:
    """`file:line:column`, to name a second place in a message."""
    return f"{place.file}:{place.line}:{place.column}"
