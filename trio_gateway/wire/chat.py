"""Chat completions: what a request asks for.

A request is read, but never written anew: the bytes of every field that we have no
reason to change reach the upstream as they came. No text of a prompt gets into an
error. What answers mean is said in `wire.answers`.

Two parsers read requests. `wire.values` is fast and strict and reads nearly all; where
`model` stands is then found by looking for the name. `wire.members` takes several times
as long, and knows the place of everything. It reads what the fast one refuses (JSON
that is good but rare, and all that is none, to say where), what has the name twice, and
what a target overrides. What both read means the same.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring_ascii
from types import NoneType
from typing import Any, Final, NamedTuple

from trio_gateway.wire.members import UnreadableError, scan
from trio_gateway.wire.values import nothing_collected, values_of

# So many wrong places are named; a list of a million wrong messages is one mistake.
_ERRORS_NAMED_MAX: Final = 10
# Beyond these, "more than 1000" says as much as the number that took seconds to count.
_ERRORS_COUNTED_MAX: Final = 990
# A request has a few dozen members. Each costs us more than its bytes, and a body of
# nothing else would stop everybody's exchanges for many seconds.
_MEMBERS_MAX: Final = 10_000

# A value takes 80 ns to read, however short it is, and a name 700 ns. Nobody else is
# served meanwhile: a thread would not help, for parsers do not let go of the
# interpreter. Of these signs, one stands before each value but the first, and two at
# each name. Texts hold them as well: 8 MB of JSON in a prompt, which is more than any
# model reads, has a million and a half.
_SIGNS: Final = b"[{,:"
_SIGNS_MAX: Final = 2_000_000
# Counting takes longer than reading a picture. A shorter body cannot hold so much.
_UNCOUNTED_BYTES: Final = 4 * 1024 * 1024

_SPACE: Final = b" \t\n\r"
_MODEL: Final = b'"model"'
# So begins each escape of one of that name's letters, which need none.
_ESCAPED_LETTER: Final = b"\\u006"
_PLAIN_VALUE: Final = re.compile(rb'[ \t\n\r]*:[ \t\n\r]*("[^"\\]*")')


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


# A JSON object's members.
_Values = Mapping[str, Any]
# Where a value stands in the body: its first byte, and the one after its last.
_Place = tuple[int, int]


class ChatRequest(NamedTuple):
    """What the gateway reads in a request; all else passes as it came."""

    model: str  # the slug
    is_stream: bool
    choices: int  # how many are asked for
    max_tokens: int | None
    size: int  # of the body as it came, in bytes
    raw: bytes
    names: tuple[str, ...]  # of its members
    models: tuple[_Place, ...]  # where each value of `model` stands

    def __repr__(self) -> str:
        return f"ChatRequest({self.size} bytes)"  # they are somebody's text

    @classmethod
    def parse(cls, raw: bytes) -> "ChatRequest":
        """Read a request body.

        Raises:
            RequestError: it cannot be read, or does not say what must be said.
        """
        _refuse_too_much(raw)
        values, models = _read(raw)
        model = _check(values)
        choices, limit = values.get("n"), values.get("max_completion_tokens")
        return cls(
            model=model,
            is_stream=values.get("stream") is True,
            choices=1 if choices is None else choices,
            max_tokens=values.get("max_tokens") if limit is None else limit,
            size=len(raw),
            raw=raw,
            names=tuple(values),
            models=models,
        )

    def without_body(self) -> "ChatRequest":
        """What is left of it when it needs no more to be encoded."""
        return self._replace(raw=b"", names=(), models=())

    def encode(self, *, model: str, overrides: Mapping[str, object]) -> bytes:
        """Return the body with another `model` and a target's `overrides`.

        Every other byte, white space included, is as it came.

        Raises:
            RequestError: an override's name is there, among too many members.
        """
        changes = {"model": encode_basestring_ascii(model).encode("ascii")}
        if overrides:
            own = {name: _json(value) for name, value in overrides.items()}
            changes = {**own, **changes}
        body = memoryview(self.raw)
        pieces: list[bytes | memoryview] = []
        done = 0
        for name, (start, end) in self._places(changes):
            pieces += (body[done:start], changes[name])
            done = end
        new = [name for name in overrides if name not in self.names]
        if new:
            end = _end_of_members(self.raw)
            pieces.append(body[done:end])
            pieces += (b", %b: %b" % (_json(name), changes[name]) for name in new)
            done = end
        pieces.append(body[done:])
        return b"".join(pieces)

    def _places(self, changes: Mapping[str, bytes]) -> Iterable[tuple[str, _Place]]:
        """Where the values stand that are to be changed, in their order."""
        if len(changes) == 1 or len(changes.keys() & self.names) == 1:
            return [("model", place) for place in self.models]
        members = _members(self.raw)
        return [(name, place) for name, place, _ in members if name in changes]


def _read(raw: bytes) -> tuple[_Values, tuple[_Place, ...]]:
    """Return the members' values, and the places of each that is called `model`."""
    try:
        values = values_of(raw, are_nans_allowed=False)
    except ValueError:
        pass  # to be told what is wrong, if anything is
    else:
        place = _only_model(raw)
        if place and isinstance(values, dict) and len(values) <= _MEMBERS_MAX:
            return values, (place,)
    members: dict[str, object] = {}
    models: list[_Place] = []
    with nothing_collected():
        for name, place, value in _members(raw):
            members[name] = value  # of members with one name, the last counts
            if name == "model":
                models.append(place)
    return members, tuple(models)


def _only_model(raw: bytes) -> _Place | None:
    """Where the value of `model` stands, if there is no doubt about it.

    To be asked of JSON that has such a member. The member's name stands there plainly,
    unless letters of it are escaped. So if none are anywhere, and those bytes stand
    there only once, they are the name.
    """
    # From the end, because Python looks from there several times as fast.
    at = raw.rfind(_MODEL)
    if raw.rfind(_MODEL, 0, at + 1) >= 0:
        return None
    if b"\\" in raw and raw.rfind(_ESCAPED_LETTER) >= 0:
        return None
    value = _PLAIN_VALUE.match(raw, at + len(_MODEL))
    return value.span(1) if value else None


def _members(raw: bytes) -> Iterator[tuple[str, _Place, object]]:
    """Read member by member; raise `RequestError` where that cannot be done."""
    try:
        for number, (member, value) in enumerate(scan(raw)):
            if number == _MEMBERS_MAX:
                raise _unreadable(f"More than {_MEMBERS_MAX} members")
            yield member.name, (member.start, member.end), value
    except UnreadableError as error:
        raise _unreadable(str(error)) from None


def _refuse_too_much(raw: bytes) -> None:
    """Raise `RequestError` for what would take a second to read."""
    if len(raw) < _UNCOUNTED_BYTES:
        return
    signs = len(raw) - len(raw.translate(None, _SIGNS))
    if signs > _SIGNS_MAX:
        raise _unreadable(f"More than {_SIGNS_MAX} names and values")


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def _end_of_members(raw: bytes) -> int:
    """Where a further member may be added: after the last, before its space."""
    return len(raw.rstrip(_SPACE)[:-1].rstrip(_SPACE))


def _check(values: _Values) -> str:
    """Return the model; raise `RequestError` for wrong types, or what is missing."""
    wrong = _wrong_types(values)
    named = tuple(islice(wrong, _ERRORS_NAMED_MAX))
    if named:
        rest = islice(wrong, _ERRORS_COUNTED_MAX + 1)
        raise _unreadable(*named, unnamed=sum(1 for _ in rest))
    model = values.get("model")
    if isinstance(model, str) and model.strip() and values.get("messages"):
        return model
    blank = {}
    if not isinstance(model, str) or not model.strip():
        blank["model"] = "cannot be blank"
    if not values.get("messages"):
        blank["messages"] = "cannot be blank"
    raise RequestError(RequestErrorKind.BLANK, blank)


def _wrong_types(values: _Values) -> Iterator[str]:
    """Say of each field of a wrong type what it should be; null stands for nothing."""
    if not isinstance(values.get("model"), (str, NoneType)):
        yield "model: Input should be a valid string"
    messages = values.get("messages")
    if isinstance(messages, list):
        for index, message in enumerate(messages):
            if not isinstance(message, dict):
                yield f"messages.{index}: Input should be a valid dictionary"
    elif messages is not None:
        yield "messages: Input should be a valid list"
    if not isinstance(values.get("stream"), (bool, NoneType)):
        yield "stream: Input should be a valid boolean"
    for name in ("n", "max_completion_tokens", "max_tokens"):
        value = values.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"{name}: Input should be a valid integer"
        elif name == "n" and value < 1:
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
