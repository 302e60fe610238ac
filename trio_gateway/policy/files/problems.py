"""What is wrong with a policy file, where, and what to write instead.

Problems are values and are gathered: an operator gets all of them in one report, not
one per start. None of them ever quotes a secret.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

# More than a person puts right in one go. What follows is often one mistake's echo.
PROBLEMS_SHOWN_MAX: Final = 50

Source = tuple[str, bytes]
"""A file's name, as a report shows it, and what it holds."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file, counted from 1; `end_column` is behind its last character."""

    file: str
    line: int
    column: int
    end_column: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right.

    `line` and `column` count from 1; without them it is about the file as a whole.
    `key` is the path of keys from the top, as in `models.chat.targets[0].provider`.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str  # a phrase without a full stop
    remedy: str  # whole sentences
    end_column: int | None = None  # behind the last character, if that is known
    also: Spot | None = None  # where the other of two things stands

    def __str__(self) -> str:
        """`file:line:column: key: message. remedy`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        if self.column is not None:
            place = f"{place}:{self.column}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.message}. {self.remedy}"


class PolicyError(Exception):
    """The policy cannot be used. Its text is a report, a problem a line.

    `sources` are the files as they were read: `report` shows lines of them.
    """

    def __init__(
        self, problems: Iterable[Problem], sources: Iterable[Source] = ()
    ) -> None:
        self.problems = tuple(problems)
        self.sources = tuple(sources)
        lines = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN_MAX]]
        super().__init__("\n".join([*lines, *and_more(len(self.problems))]))


def and_more(count: int) -> tuple[str, ...]:
    """The last line of a report that cannot show so many problems; else none."""
    more = count - PROBLEMS_SHOWN_MAX
    return (f"and {more} more",) if more > 0 else ()


@dataclass(slots=True)
class Report:
    """Gathers problems. A key that has one is not complained about again.

    A later look at a key that was already wrong finds consequences, not causes.
    """

    sources: Sequence[Source] = ()
    _problems: dict[Problem, None] = field(default_factory=dict)  # a set, in order
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add what one look found; it may find several things about one key."""
        found = [p for p in problems if (p.file, p.key) not in self._seen]
        self._seen |= {(p.file, p.key) for p in found if p.key}
        self._problems |= dict.fromkeys(found)

    def raise_if_any(self) -> None:
        """End the loading if anything was found, in the order of the files."""
        if self._problems:
            by_place = sorted(
                self._problems, key=lambda p: (p.file, p.line or 0, p.column or 0)
            )
            raise PolicyError(by_place, self.sources)


def one_line(text: str) -> str:
    """A name as it may stand in a report, whatever characters are in it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A question that names the nearest known word, if one is near."""
    meant = nearest(word, known)
    return None if meant is None else f"Did you mean {meant}?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest, if one is near.

    Capitals, dashes and underscores do not make words differ: `maxBody` is `max_body`.
    """
    by_fold = {_fold(name): name for name in sorted(known, reverse=True)}
    near = difflib.get_close_matches(_fold(word), sorted(by_fold), n=1, cutoff=0.6)
    return by_fold[near[0]] if near else None


def _fold(word: str) -> str:
    return re.sub(r"[-_ ]", "", word).lower()


def listed(words: Iterable[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
