"""A refused policy as people read it: each problem under the line that it is about.

The line is shown as `masking` lets it through, cut to what fits, with marks under the
place; of two places, both are shown. Colours are the caller's: it says how a part of
the text is to look.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from trio_gateway.policy.files.masking import HIDDEN, hidden_spans
from trio_gateway.policy.files.problems import (
    PROBLEMS_SHOWN_MAX,
    PolicyError,
    Problem,
    Source,
    Spot,
    and_more,
)
from trio_gateway.policy.files.syntax import LINE_ENDS

# A terminal is 80 wide at least; a line of a policy rarely is wider than this.
LINE_SHOWN_MAX: Final = 100

# How much of a long line is shown before the place.
BEFORE_SHOWN_MAX: Final = 40

_CUT: Final = "..."


class Part(Enum):
    """What a part of the report is, so that it can look its part."""

    PLACE = "place"
    MESSAGE = "message"
    REMEDY = "remedy"
    GUTTER = "gutter"
    MARK = "mark"
    OTHER_MARK = "other mark"
    COUNT = "count"


Style = Callable[[Part, str], str]


def plain(_: Part, text: str) -> str:
    """Without colours."""
    return text


def as_text(error: PolicyError, *, style: Style = plain) -> str:
    """The whole report, as far as anybody would read it.

    Each problem is one line, `file:line:column: key: message. remedy`, as tools know
    it, and the lines of the file under it.
    """
    return "\n".join(_lines(error, style))


def _lines(error: PolicyError, style: Style) -> Iterator[str]:
    show = Excerpts(error.sources, style)
    count = len(error.problems)
    for problem in error.problems[:PROBLEMS_SHOWN_MAX]:
        yield headline(problem, style)
        yield from show.of(problem)
    for line in and_more(count):
        yield style(Part.COUNT, line)
    yield style(Part.COUNT, f"{count} problem{'' if count == 1 else 's'}")


def headline(problem: Problem, style: Style = plain) -> str:
    """`file:line:column: key: message. remedy`."""
    message = f"{problem.message}."
    place, _, _ = str(problem).partition(f"{message} {problem.remedy}")
    return (
        style(Part.PLACE, place.rstrip(" "))
        + " "
        + style(Part.MESSAGE, message)
        + " "
        + style(Part.REMEDY, problem.remedy)
    )


class Excerpts:
    """The files as they were read, to show lines of.

    Args:
        sources: the files.
        style: how a part is to look.
    """

    def __init__(self, sources: Iterable[Source], style: Style = plain) -> None:
        self._files = {name: _File(content) for name, content in sources}
        self._style = style

    def of(self, problem: Problem) -> Iterator[str]:
        """The lines of the file, or the files, that the problem is about."""
        by_line: dict[tuple[str, int], list[_Mark]] = {}
        for mark in _marks(problem):
            by_line.setdefault((mark.spot.file, mark.spot.line), []).append(mark)
        gutter = max((len(str(line)) for _, line in by_line), default=0)
        for (file, line), marks in by_line.items():
            if file in self._files:
                yield from self._files[file].excerpt(line, marks, gutter, self._style)


def _marks(problem: Problem) -> Iterator["_Mark"]:
    file, line, column = problem.file, problem.line, problem.column
    if line is not None and column is not None:
        yield _Mark(Spot(file, line, column, problem.end_column), Part.MARK, "^")
    if problem.also is not None:
        yield _Mark(problem.also, Part.OTHER_MARK, "-")


@dataclass(frozen=True, slots=True)
class _Cell:
    """One character as shown, and the column that it shows."""

    char: str
    column: int

    @property
    def width(self) -> int:
        """How many places a terminal gives it."""
        return 2 if unicodedata.east_asian_width(self.char) in "WF" else 1


@dataclass(frozen=True, slots=True)
class _Mark:
    """What stands under a place."""

    spot: Spot
    part: Part
    sign: str

    def begin(self, cells: Sequence[_Cell]) -> int:
        """How far from the line's begin."""
        return sum(cell.width for cell in cells if cell.column < self.spot.column)

    def width(self, cells: Sequence[_Cell]) -> int:
        """How wide; one sign at least."""
        end = self.spot.end_column or self.spot.column
        inside = (cell.width for cell in cells if self.spot.column <= cell.column < end)
        return max(1, sum(inside))


class _File:
    """One file's lines, with their secrets hidden."""

    def __init__(self, content: bytes) -> None:
        self._text = content.decode("utf-8-sig", errors="replace")
        self._starts = [0, *(end.end() for end in LINE_ENDS.finditer(self._text))]
        self._hidden = hidden_spans(self._text)

    def excerpt(
        self, line: int, marks: Sequence[_Mark], gutter: int, style: Style
    ) -> Iterator[str]:
        """A line, cut around the first mark, and the marks under it."""
        if line > len(self._starts):
            return
        whole = list(self._cells(line))
        cells = _cut(whole, marks[0].spot.column)
        under, at = "", 0
        for mark in sorted(marks, key=lambda mark: mark.spot.column):
            begin, width = mark.begin(cells), mark.width(cells)
            if at <= begin and (mark is marks[0] or cells == whole):
                under += " " * (begin - at) + style(mark.part, mark.sign * width)
                at = begin + width
        shown = "".join(cell.char for cell in cells)
        number, empty = f" {line:>{gutter}} |", f" {' ' * gutter} |"
        yield f"{style(Part.GUTTER, number)} {shown}".rstrip()
        yield f"{style(Part.GUTTER, empty)} {under}"

    def _cells(self, line: int) -> Iterator[_Cell]:
        start = self._starts[line - 1]
        end = [*self._starts, len(self._text)][line]
        at = start
        for begin, after in self._hidden_in(start, end):
            yield from self._plain_cells(at, begin, start)
            yield from (_Cell(char, begin - start + 1) for char in HIDDEN)
            at = after
        yield from self._plain_cells(at, end, start)

    def _hidden_in(self, start: int, end: int) -> list[tuple[int, int]]:
        first = bisect_left(self._hidden, (start, start))
        last = bisect_left(self._hidden, (end, end))
        return self._hidden[first:last]

    def _plain_cells(self, begin: int, end: int, start: int) -> Iterator[_Cell]:
        for index in range(begin, end):
            char = self._text[index]
            if not LINE_ENDS.fullmatch(char):
                shown = " " if char == "\t" else char if char.isprintable() else "?"
                yield _Cell(shown, index - start + 1)


def _cut(cells: list[_Cell], column: int) -> list[_Cell]:
    """A part of the line around the place, if the whole is too long."""
    if len(cells) <= LINE_SHOWN_MAX:
        return cells
    place = sum(cell.column < column for cell in cells)
    first = max(0, min(place - BEFORE_SHOWN_MAX, len(cells) - LINE_SHOWN_MAX))
    cut = cells[first : first + LINE_SHOWN_MAX]
    if first > 0:
        cut = [*(_Cell(char, cut[0].column) for char in _CUT), *cut[len(_CUT) :]]
    if first + LINE_SHOWN_MAX < len(cells):
        last = cut[-1].column
        cut = [*cut[: -len(_CUT)], *(_Cell(char, last) for char in _CUT)]
    return cut
