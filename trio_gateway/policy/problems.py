"""What is wrong with a policy file, where, and what to write instead.

Problems are values and are gathered: an operator gets all of them in one report, not
one per start. None of them ever quotes a secret.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field


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

    def __str__(self) -> str:
        """`file:line:column: key: message. remedy`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        if self.column is not None:
            place = f"{place}:{self.column}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.message}. {self.remedy}"


class PolicyError(Exception):
    """The policy cannot be used. Its text is the whole report, a problem a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Report:
    """Gathers problems. A key that has one is not complained about again.

    A later look at a key that was already wrong finds consequences, not causes.
    """

    problems: list[Problem] = field(default_factory=list)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add what one look found; it may find several things about one key."""
        found = [p for p in problems if (p.file, p.key) not in self._seen]
        self._seen |= {(p.file, p.key) for p in found if p.key}
        self.problems += [p for p in dict.fromkeys(found) if p not in self.problems]

    def raise_if_any(self) -> None:
        """End the loading if anything was found, in the order of the files."""
        if self.problems:
            by_place = sorted(
                self.problems, key=lambda p: (p.file, p.line or 0, p.column or 0)
            )
            raise PolicyError(by_place)


def one_line(text: str) -> str:
    """A name as it may stand in a report, whatever characters are in it."""
    return text if text.isprintable() else ascii(text)[1:-1]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A question that names the nearest known word, if one is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else None


def listed(words: Iterable[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end
