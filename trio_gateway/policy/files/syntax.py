"""What is wrong with a file that is no YAML, in words that say what to write instead.

PyYAML says what its grammar wanted next; people want to know which of YAML's traps they
stepped into. None of its own wording is passed on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import yaml

from trio_gateway.policy.files.problems import Problem, Spot

# What `reading` says where it stops composing, and what it stops at.
TOO_DEEP: Final = "nested too deeply"
DEPTH_MAX: Final = 50  # the format is eight levels deep; `overrides` may add JSON

# YAML ends lines at each of these.
LINE_ENDS: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def lines_of(text: str) -> list[str]:
    """The lines of a YAML text, as its marks count them."""
    return LINE_ENDS.split(text)


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What to say, and of which place."""

    message: str
    remedy: str
    is_of_begin: bool = False  # it is about where the broken thing began
    names_begin: bool = False  # it is about this place, and names that one too


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where PyYAML gave up, and what it said."""

    said: str
    context: str
    before: str  # the line, as far as the place
    char: str  # what stands at the place; empty at the end of the line

    @property
    def is_behind_something(self) -> bool:
        """Whether something stands before it on its line, other than dashes."""
        return bool(self.before.strip(" -"))


def not_yaml(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """PyYAML's complaint about a text, as a problem."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _forbidden_character(file, text, getattr(error, "position", 0))
    mark, begin = error.problem_mark, error.context_mark
    lines = lines_of(text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    stop = _Stop(
        said=str(error.problem or ""),
        context=str(error.context or ""),
        before=line[: mark.column],
        char=line[mark.column : mark.column + 1],
    )
    complaint = _complaint(stop)
    message, also = complaint.message, None
    if begin is not None and complaint.is_of_begin:
        mark = begin
    elif begin is not None and complaint.names_begin and begin.index < mark.index:
        also = Spot(file, begin.line + 1, begin.column + 1)
        message += f", see {file}:{also.line}:{also.column}"
    line_number, column = mark.line + 1, mark.column + 1
    return Problem(file, line_number, column, "", message, complaint.remedy, also=also)


def _forbidden_character(file: str, text: str, position: int) -> Problem:
    """What PyYAML's reader does not let through; it knows only how far it came."""
    *above, line = lines_of(text[:position])
    message = "holds a character that YAML does not allow"
    remedy = "Delete the control character."
    return Problem(file, len(above) + 1, len(line) + 1, "", message, remedy)


def _complaint(stop: _Stop) -> _Complaint:
    if stop.before.endswith("$") and stop.char == "{":
        return _Complaint(
            "${...} must be quoted inside {...} and [...], where { begins a mapping",
            'Write "${NAME}", with the quotes.',
        )
    for words, form in _FORMS:
        if words in stop.said:
            return form(stop)
    return _Complaint(
        "is not YAML from here on",
        "Look for a missing quote, bracket or space just before this.",
    )


def _no_token(stop: _Stop) -> _Complaint:
    if stop.char == "\t":
        message = "a tab stands here, and YAML allows none"
        return _Complaint(message, "Indent with spaces.")
    return _Complaint(
        f"no text can begin with {stop.char} unless it is quoted",
        f'Put it in quotes: "{stop.char}...".',
    )


def _in_brackets(stop: _Stop) -> _Complaint:
    """Between `{` or `[` and its end, something cannot stand where it does."""
    closing = "}" if "',' or '}'" in stop.said else "]"
    if "<stream end>" in stop.said:
        return _Complaint(
            "the file ends inside of brackets",
            "Close the { or [ that was opened before.",
            names_begin=True,
        )
    if stop.char in ("}", "]"):
        message = f"{stop.char} stands where {closing} would close"
        return _Complaint(message, f"Write {closing}.", names_begin=True)
    return _Complaint(
        f"a comma or {closing} is missing before this",
        f"Close the bracket with {closing} where it ends, or write a comma.",
        names_begin=True,
    )


def _not_of_block(stop: _Stop) -> _Complaint:
    """A block of keys or dashes would have to end here, and does not."""
    if stop.char in ("}", "]", ","):
        message = f"{stop.char} stands here, and no bracket is open"
        return _Complaint(message, "Delete it, or open the bracket before.")
    if stop.is_behind_something:
        return _Complaint(
            "something follows a value that has ended",
            "Put all of the value in quotes, or this on a line of its own.",
        )
    return _Complaint(
        "this does not belong to the lines above it",
        "Align it with the keys, or the dashes, of the same level.",
    )


def _no_value(stop: _Stop) -> _Complaint:
    if "<stream end>" in stop.said:
        return _in_brackets(stop)
    return _Complaint(
        "a value is missing before this",
        "Write the value; quote a text that begins with a bracket or a comma.",
    )


def _no_colon(_: _Stop) -> _Complaint:
    return _Complaint(
        "this line has no colon, and cannot belong to the one above it",
        "Write `key: value`; put a text of several lines in quotes.",
        is_of_begin=True,
    )


def _ends_in_quotes(_: _Stop) -> _Complaint:
    return _Complaint(
        "the file ends inside of quotes",
        "Close the quotes that were opened before.",
        names_begin=True,
    )


def _no_name(stop: _Stop) -> _Complaint:
    sign = "*" if "alias" in stop.context else "&" if "anchor" in stop.context else "%"
    return _Complaint(
        f"{sign} begins a name to YAML, and none follows",
        f'Put a text that begins with {sign} in quotes: "{sign}".',
        is_of_begin=True,
    )


def _no_block_text(_: _Stop) -> _Complaint:
    return _Complaint(
        "| and > begin a text on the lines below, and something else follows",
        "Put a text that begins with | or > in quotes.",
        is_of_begin=True,
    )


def _no_escape(stop: _Stop) -> _Complaint:
    return _Complaint(
        "a backslash between double quotes begins an escape, and this is none",
        "Use single quotes, or write two backslashes.",
    )


def _no_tag(_: _Stop) -> _Complaint:
    return _Complaint(
        "! begins a tag to YAML, and this is none",
        'Put a text that begins with ! in quotes: "!".',
        is_of_begin=True,
    )


def _no_directive(_: _Stop) -> _Complaint:
    return _Complaint(
        "a line that begins with % is a directive to YAML",
        "Delete it: policy files need none.",
    )


def _fixed(message: str, remedy: str, **more: bool) -> Callable[[_Stop], _Complaint]:
    return lambda _: _Complaint(message, remedy, **more)


# The first words that are in what PyYAML said choose the complaint.
_FORMS: Final[tuple[tuple[str, Callable[[_Stop], _Complaint]], ...]] = (
    ("that cannot start any token", _no_token),
    (
        "mapping values are not allowed",
        _fixed(
            "a colon stands where YAML expects none",
            "Check the indentation here, and quote a text that holds `: `.",
        ),
    ),
    ("could not find expected ':'", _no_colon),
    ("expected ',' or", _in_brackets),
    ("expected <block end>", _not_of_block),
    ("expected the node content", _no_value),
    (
        "sequence entries are not allowed",
        _fixed(
            "a list cannot begin behind a key on its line",
            "Write each dash on a line of its own, or the list as [a, b].",
        ),
    ),
    ("found unexpected end of stream", _ends_in_quotes),
    (
        "found unexpected document separator",
        _fixed(
            "the document ends inside of quotes",
            "Close the quotes that were opened before.",
            names_begin=True,
        ),
    ),
    (
        "another document",
        _fixed(
            "a second document begins here",
            "Write one document per file: delete the `---`.",
        ),
    ),
    (
        "expected '<document start>'",
        _fixed(
            "the document has ended before this",
            "Look above it for a `...`, a line that begins with %, or an indented one.",
        ),
    ),
    (
        "found undefined alias",
        _fixed(
            "this alias (`*name`) stands for nothing",
            'Define it first: `&name` before `*name`. Quote a plain text: "*name".',
        ),
    ),
    (
        "second occurrence",
        _fixed(
            "this anchor (`&name`) is defined twice",
            "Give each its own name.",
            names_begin=True,
        ),
    ),
    (
        TOO_DEEP,
        _fixed(
            f"more than {DEPTH_MAX} values stand inside each other",
            "Look for brackets that are not closed.",
        ),
    ),
    ("escape sequence of", _no_escape),
    ("unknown escape character", _no_escape),
    ("chomping or indentation", _no_block_text),
    ("indentation indicator", _no_block_text),
    ("undefined tag handle", _no_tag),
    ("expected '!'", _no_tag),
    ("expected URI", _no_tag),
    ("expected '>'", _no_tag),
    ("expected alphabetic or numeric character", _no_name),
    ("directive", _no_directive),
    ("incompatible YAML document", _no_directive),
)
