"""A JSON object, read member by member: what each says, and where it stands.

This is the thorough way of reading a request: slower than the parsers that only make
values, but every position is known, and so is the byte where something is wrong. No
text of the object gets into an error.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

# An integer of more digits is never one that we need. The interpreter refuses to
# convert very long ones, while an upstream may like them.
_INT_DIGITS_MAX: Final = 18
_HUGE: Final = 10**_INT_DIGITS_MAX

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class UnreadableError(ValueError):
    """It is not an object, or no JSON; the message says where, without quoting it."""


class Member(NamedTuple):
    """A member of the top level, and where its value stands in the bytes."""

    name: str
    start: int
    end: int


def scan(raw: bytes) -> Iterator[tuple[Member, object]]:
    """Read the top level member by member.

    Each byte is read as one character (Latin-1), so that positions in the text are
    positions in the bytes; JSON's own signs are ASCII, and do not care. Only text comes
    out wrong that way: the little that we need of it is read again.

    Raises:
        UnreadableError: it is no object.
    """
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"Invalid UTF-8 at byte {error.start}") from None
    text = raw.decode("latin-1")
    try:
        at = _skip_space(text, 0)
        if not text.startswith("{", at):
            _LENIENT_JSON.decode(text)  # where it is not even JSON, this says so
            raise UnreadableError("Input should be a valid dictionary")
        at = _skip_space(text, at + 1)
        is_more = not text.startswith("}", at)
        while is_more:
            name, at = _read_name(text, at)
            start = _skip_space(text, _expect(":", text, _skip_space(text, at)))
            value, end = _read_value(text, start)
            if isinstance(value, str) and not value.isascii():
                value = json.loads(raw[start:end].decode())
            yield Member(name, start, end), value
            at = _skip_space(text, end)
            is_more = text.startswith(",", at)
            if is_more:
                at = _skip_space(text, at + 1)
        at = _skip_space(text, _expect("}", text, at))
        _expect_end(text, at)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"Invalid JSON at byte {error.pos}") from None
    except RecursionError:
        raise UnreadableError("Invalid JSON: nested too deep") from None
    except _NotANumberError:
        raise UnreadableError("Invalid JSON: NaN and Infinity are no numbers") from None


def _read_name(text: str, at: int) -> tuple[str, int]:
    name, end = _REQUEST_JSON.raw_decode(text, at)
    if not isinstance(name, str):
        raise json.JSONDecodeError("Expecting a name", text, at)
    if not name.isascii():
        name = json.loads(text[at:end].encode("latin-1").decode())
    return name, end


def _expect(sign: str, text: str, at: int) -> int:
    if not text.startswith(sign, at):
        raise json.JSONDecodeError("Unexpected sign", text, at)
    return at + 1


def _expect_end(text: str, at: int) -> None:
    if at < len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match  # no space is a match too
    return match.end()


class _NotANumberError(Exception):
    """NaN or an infinity, which JSON does not have."""


def _refuse_constant(_: str) -> NoReturn:
    raise _NotANumberError


def _read_value(text: str, at: int) -> tuple[object, int]:
    try:
        return _REQUEST_JSON.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer that Python would not read
        return _LENIENT_JSON.raw_decode(text, at)


def _read_int(digits: str) -> int:
    if len(digits) <= _INT_DIGITS_MAX:
        return int(digits)
    return -_HUGE if digits.startswith("-") else _HUGE


_REQUEST_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)
# A call for every integer is slow: millions of them would hold everybody up.
_LENIENT_JSON: Final = json.JSONDecoder(
    parse_int=_read_int, parse_constant=_refuse_constant
)
