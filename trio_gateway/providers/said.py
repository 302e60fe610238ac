"""What an upstream's error says, out of every shape that errors come in.

OpenAI nests it, Mistral does not, Ollama sends a string, Google a list, FastAPI a
`detail`, proxies a page of HTML. What is found is cut to sane lengths; nothing here
raises, and nothing decides what it means.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from trio_gateway.failover.failures import UpstreamError

# Messages are passed on to clients and searched for phrases: a paragraph is enough.
_MESSAGE_CHARS_MAX: Final = 2000
_WORD_CHARS_MAX: Final = 200
_PARTS_MAX: Final = 16
_DEPTH_MAX: Final = 3

# Where an error's own code may stand, besides `code` and `type`.
_WORD_MEMBERS: Final = (
    "code",
    "type",
    "status",  # Google's name of the error
    "reason",  # Google's, closer
    "quotaId",
    "error_type",
    "error_code",  # Anthropic's, in the details
    "provider_code",  # OpenRouter's
    "__type",  # Amazon's
)
_PART_MEMBERS: Final = ("innererror", "inner_error", "metadata", "details")
_TEXT_MEMBERS: Final = ("message", "detail", "msg", "raw", "errors")
_STATUS_MEMBERS: Final = ("code", "status", "status_code", "statusCode")
_STATUS_DIGITS: Final = re.compile(r"[45][0-9]{2}")
# A code that is a number has a few digits.
_NUMBER_MAX: Final = 10**9

_Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Said:
    """One error in an upstream's own words.

    `words` are all its codes, types and reasons in lower case; `text` is all that it
    says in sentences, in lower case too; `status` is the status that it names itself.
    """

    error: object  # as parsed, for hints
    summary: UpstreamError | None
    words: frozenset[str] = frozenset()
    text: str = ""
    status: int | None = None
    is_moderation: bool = False  # it says what was flagged


def read_body(body: bytes) -> Said:
    """Read an error answer's body."""
    text = body.decode("utf-8-sig", errors="replace").strip()
    if not text or text.startswith("<"):
        return Said(None, None)  # an empty body or a proxy's page says nothing
    try:
        return read_parsed(json.loads(text))
    except (ValueError, RecursionError):
        return read_parsed(text)


def read_parsed(error: object) -> Said:
    """Read an error that is parsed: an object mostly, but maybe a string or a list."""
    error = _inside(error)
    if isinstance(error, str) and error:
        message = error[:_MESSAGE_CHARS_MAX]
        return Said(error, UpstreamError(message), text=message.lower())
    if not isinstance(error, dict):
        return Said(error, None)
    parts = list(_parts(error))
    message = _message(error)
    texts = [message, *map(_message, parts[1:])]
    return Said(
        error,
        UpstreamError(
            message=message or "The upstream gave no message.",
            code=_code(error.get("code")),
            type=_word(error.get("type")),
            param=_word(error.get("param")),
        ),
        words=frozenset(word for part in parts for word in _words(part)),
        text=" ".join(texts).lower(),
        status=_status(error),
        is_moderation=any("flagged_input" in part for part in parts),
    )


def _inside(value: object) -> object:
    """Unwrap the envelopes: a list's first item, the member `error`."""
    for _ in range(_DEPTH_MAX):
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, dict) and (inner := value.get("error")):
            if isinstance(inner, str):
                # A string beside other members (a type, a status) stays among them.
                return {"message": inner, **value} if len(value) > 1 else inner
            value = inner
        else:
            break
    return value


def _parts(error: _Object) -> Iterator[_Object]:
    """The error, and what it holds that may have codes and texts of its own."""
    yield error
    for name in _PART_MEMBERS:
        for part in _objects(error.get(name)):
            yield part
            yield from _objects(part.get("violations"))  # of Google's quotas


def _objects(value: object) -> Iterator[_Object]:
    for item in value[:_PARTS_MAX] if isinstance(value, list) else (value,):
        if isinstance(item, dict):
            yield item


def _message(part: _Object, depth: int = 0) -> str:
    for name in _TEXT_MEMBERS:
        value = part.get(name)
        if isinstance(value, str):
            return value[:_MESSAGE_CHARS_MAX]
        if isinstance(value, list | dict) and depth < _DEPTH_MAX:
            texts = (_message(item, depth + 1) for item in _objects(value))
            return "; ".join(filter(None, texts))[:_MESSAGE_CHARS_MAX]
    return ""


def _words(part: _Object) -> Iterator[str]:
    for name in _WORD_MEMBERS:
        if (word := _word(part.get(name))) is not None:
            # Amazon's come as "com.amazon#ThrottlingException:http://...".
            yield word.rpartition("#")[2].partition(":")[0].lower()


def _word(value: object) -> str | None:
    return value[:_WORD_CHARS_MAX] if isinstance(value, str) and value else None


def _code(value: object) -> str | int | None:
    if isinstance(value, int) and 0 < value < _NUMBER_MAX:
        return int(value)
    return _word(value)


def _status(error: _Object) -> int | None:
    """The status that an error names, as a number or in digits."""
    for name in _STATUS_MEMBERS:
        value = error.get(name)
        if isinstance(value, str) and _STATUS_DIGITS.fullmatch(value):
            return int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None
