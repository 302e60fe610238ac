"""Chat completions: what a request asks for.

A request is read, but never written anew: the bytes of every field that we have no
reason to change reach the upstream as they came. No text of a prompt gets into an
error. What answers mean is said in `wire.answers`, and can be had from here as well.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Final, NoReturn

from trio_gateway.wire.answers import (
    AnswerReader,
    EmbeddedError,
    Meaning,
    NotAnAnswer,
    WholeAnswer,
    as_events,
    judge_answer,
)

__all__ = [
    "AnswerReader",
    "ChatRequest",
    "EmbeddedError",
    "Meaning",
    "NotAnAnswer",
    "RequestError",
    "RequestErrorKind",
    "WholeAnswer",
    "as_events",
    "judge_answer",
]

# An integer of more digits is never one that we need. The interpreter refuses to
# convert very long ones, while an upstream may like them.
_INT_DIGITS_MAX: Final = 18
_HUGE: Final = 10**_INT_DIGITS_MAX
# So many wrong places are named; a list of a million wrong messages is one mistake.
_ERRORS_NAMED_MAX: Final = 10
# Beyond these, "more than 1000" says as much as the number that took seconds to count.
_ERRORS_COUNTED_MAX: Final = 990
# A request has a few dozen members. Each costs us more than its bytes, and a body of
# nothing else would stop everybody's exchanges for many seconds.
_MEMBERS_MAX: Final = 10_000

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class RequestErrorKind(Enum):
    """How a request can be wrong."""

    BLANK = "blank"  # a field is missing or empty: 400
    UNREADABLE = "unreadable"  # it cannot be parsed, or has wrong types: 422


class RequestError(Exception):
    """The client's request is wrong; `details` says where, without quoting it."""

    def __init__(self, kind: RequestErrorKind, details: dict[str, str]) -> None:
        super().__init__(kind, details)
        self.kind = kind
        self.details = details


@dataclass(frozen=True, slots=True)
class _Member:
    """A member of the request's top level, and where its value stands in the body."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the gateway reads in a request; all else passes as it came."""

    model: str  # the slug
    is_stream: bool
    choices: int  # how many are asked for
    max_tokens: int | None
    size: int  # of the body as it came, in bytes
    _raw: bytes = field(repr=False)
    _members: tuple[_Member, ...] = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> "ChatRequest":
        """Read a request body.

        Raises:
            RequestError: it cannot be read, or does not say what must be said.
        """
        members: list[_Member] = []
        values: dict[str, object] = {}
        for member, value in _scan(raw):
            if len(members) == _MEMBERS_MAX:
                raise _unreadable(f"More than {_MEMBERS_MAX} members")
            members.append(member)
            values[member.name] = value  # of members with one name, the last counts
        model, stream, choices = (values.get(key) for key in ("model", "stream", "n"))
        _check(values)
        limit = values.get("max_completion_tokens")
        if limit is None:
            limit = values.get("max_tokens")
        assert isinstance(model, str)
        assert isinstance(choices, int | None)
        assert isinstance(limit, int | None)
        return cls(
            model=model,
            is_stream=stream is True,
            choices=1 if choices is None else choices,
            max_tokens=limit,
            size=len(raw),
            _raw=raw,
            _members=tuple(members),
        )

    def encode(self, *, model: str, overrides: Mapping[str, object]) -> bytes:
        """Return the body with another `model` and a target's `overrides`.

        Every other byte, white space included, is as it came.
        """
        changes = {
            name: json.dumps(value, allow_nan=False).encode("ascii")
            for name, value in {**overrides, "model": model}.items()
        }
        pieces: list[bytes] = []
        done = 0
        for member in self._members:
            if member.name in changes:
                pieces += (self._raw[done : member.start], changes[member.name])
                done = member.end
        end = self._members[-1].end  # there is one at least: the model
        pieces.append(self._raw[done:end])
        present = {member.name for member in self._members}
        pieces += (
            b", %b: %b" % (json.dumps(name).encode("ascii"), value)
            for name, value in changes.items()
            if name not in present
        )
        pieces.append(self._raw[end:])
        return b"".join(pieces)


def _scan(raw: bytes) -> Iterator[tuple[_Member, object]]:
    """Read the top level member by member; raise `RequestError` where it is no object.

    Each byte is read as one character (Latin-1), so that positions in the text are
    positions in the bytes; JSON's own signs are ASCII, and do not care. Only text comes
    out wrong that way: the little that we need of it is read again.
    """
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(f"Invalid UTF-8 at byte {error.start}") from None
    text = raw.decode("latin-1")
    try:
        at = _skip_space(text, 0)
        if not text.startswith("{", at):
            _LENIENT_JSON.decode(text)  # where it is not even JSON, this says so
            raise _unreadable("Input should be a valid dictionary")
        at = _skip_space(text, at + 1)
        is_more = not text.startswith("}", at)
        while is_more:
            name, at = _read_name(text, at)
            start = _skip_space(text, _expect(":", text, _skip_space(text, at)))
            value, end = _read_value(text, start)
            if isinstance(value, str) and not value.isascii():
                value = json.loads(raw[start:end].decode())
            yield _Member(name, start, end), value
            at = _skip_space(text, end)
            is_more = text.startswith(",", at)
            if is_more:
                at = _skip_space(text, at + 1)
        at = _skip_space(text, _expect("}", text, at))
        _expect_end(text, at)
    except json.JSONDecodeError as error:
        raise _unreadable(f"Invalid JSON at byte {error.pos}") from None
    except RecursionError:
        raise _unreadable("Invalid JSON: nested too deep") from None
    except _NotANumberError:
        raise _unreadable("Invalid JSON: NaN and Infinity are no numbers") from None


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


def _check(values: Mapping[str, object]) -> None:
    """Raise `RequestError` for wrong types, or else for what is missing."""
    wrong = _wrong_types(values)
    named = tuple(islice(wrong, _ERRORS_NAMED_MAX))
    if named:
        rest = islice(wrong, _ERRORS_COUNTED_MAX + 1)
        raise _unreadable(*named, unnamed=sum(1 for _ in rest))
    model = values.get("model")
    blank = {}
    if not isinstance(model, str) or not model.strip():
        blank["model"] = "cannot be blank"
    if not values.get("messages"):
        blank["messages"] = "cannot be blank"
    if blank:
        raise RequestError(RequestErrorKind.BLANK, blank)


def _wrong_types(values: Mapping[str, object]) -> Iterator[str]:
    """Say of each field of a wrong type what it should be; null stands for nothing."""
    if not isinstance(values.get("model"), str | None):
        yield "model: Input should be a valid string"
    messages = values.get("messages")
    if not isinstance(messages, list | None):
        yield "messages: Input should be a valid list"
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        if not isinstance(message, dict):
            yield f"messages.{index}: Input should be a valid dictionary"
    if not isinstance(values.get("stream"), bool | None):
        yield "stream: Input should be a valid boolean"
    for name in ("n", "max_completion_tokens", "max_tokens"):
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | None):
            yield f"{name}: Input should be a valid integer"
        elif name == "n" and value is not None and value < 1:
            yield "n: Input should be greater than or equal to 1"


def _unreadable(*errors: str, unnamed: int = 0) -> RequestError:
    named = "; ".join(errors)
    if unnamed:
        named += "; ..."
    number = len(errors) + min(unnamed, _ERRORS_COUNTED_MAX)
    count = "1 validation error" if number == 1 else f"{number} validation errors"
    if unnamed > _ERRORS_COUNTED_MAX:
        count = f"more than {count}"
    return RequestError(
        RequestErrorKind.UNREADABLE, {"error": f"{count} for LLMRequest: {named}"}
    )
