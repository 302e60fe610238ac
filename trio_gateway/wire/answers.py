"""Chat completions: what an answer, or an event of a streamed one, means.

Answers are judged by what they say, not by their label or their status. What is in a
completion is never looked at, only whether there is something.
"""

import json
from dataclasses import dataclass
from enum import Enum
from types import NoneType
from typing import Final

from trio_gateway.wire.mould import Mould
from trio_gateway.wire.values import values_of

# What makes a message or a delta more than a frame: something for the client to read or
# to act on. The last ones are the names that reasoning models' servers use.
_SUBSTANCE: Final = (
    "content",
    "tool_calls",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "refusal",
    "function_call",
    "audio",
)

# Of these, the ones that come word by word, an event for each.
_SPOKEN: Final = ("content", "reasoning_content", "reasoning", "refusal")

# A stream whose events are all cast differently is not worth looking for moulds in.
_MOULDS_MAX: Final = 16

# OpenAI gives at most this many choices; what claims more is counting something else.
_CHOICES_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A body that answers the request."""

    choices: int


@dataclass(frozen=True, slots=True)
class EmbeddedError:
    """A body that holds an error, whatever its status said; `error` is parsed JSON."""

    error: object


@dataclass(frozen=True, slots=True)
class NotAnAnswer:
    """A body that is something else; `cause` is one of our fixed phrases."""

    cause: str


def judge_answer(body: bytes) -> WholeAnswer | EmbeddedError | NotAnAnswer:
    """Say what the body of a 200 is, by its content alone. Never raises."""
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return NotAnAnswer("empty")
    if text.startswith(b"<"):
        return NotAnAnswer("HTML")
    try:
        answer = _values(text)
    except (ValueError, RecursionError):
        is_stream = text.startswith((b"data:", b"event:", b":"))
        return NotAnAnswer("a stream" if is_stream else "not JSON")
    if not isinstance(answer, dict):
        return NotAnAnswer("not an object")
    if error := _error_in(answer):
        return EmbeddedError(error)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        return NotAnAnswer("no choices")
    for choice in choices:
        if not isinstance(choice, dict):
            return NotAnAnswer("malformed choices")
        if error := _error_in_choice(choice):
            return EmbeddedError(error)
        message = choice.get("message")
        if not isinstance(message, (dict, NoneType)):
            return NotAnAnswer("malformed choices")
        if not _has_substance(message) and not choice.get("finish_reason"):
            return NotAnAnswer("no content and no finish_reason")
    return WholeAnswer(choices=len(choices))


def _values(text: bytes) -> object:
    """Parse all of an answer: one that is cut off anywhere is no JSON."""
    try:
        return values_of(text, are_nans_allowed=True)
    except ValueError:
        return json.loads(text.decode())


class Meaning(Enum):
    """What one event of a stream means to the client."""

    NOTHING = "nothing"  # a role, no choices, usage, a ping: nothing to read yet
    TOKEN = "token"  # something to read or to act on, or a `finish_reason`
    DONE = "done"  # [DONE]
    ERROR = "error"  # the upstream says that it failed
    MALFORMED = "malformed"  # not a chunk of a chat completion


class AnswerReader:
    """Follows a stream's events, to know its first token and its end.

    Args:
        choices: how many the client asked for.
    """

    __slots__ = (
        "_asked",
        "_choices",
        "_is_done",
        "_mould",
        "_moulds_left",
        "error",
    )

    def __init__(self, *, choices: int) -> None:
        self.error: object = None  # what the last `ERROR` said, parsed
        self._asked = choices
        self._choices: dict[int, bool] = {}  # those seen: whether each is finished
        self._is_done = False
        self._mould: Mould | None = None
        self._moulds_left = _MOULDS_MAX

    @property
    def is_whole(self) -> bool:
        """Whether every choice has its `finish_reason`.

        Choices that were asked for and never seen count as missing, unless `[DONE]`
        says that there are no more.
        """
        return (
            bool(self._choices)
            and all(self._choices.values())
            and (len(self._choices) >= self._asked or self._is_done)
        )

    def is_another_word(self, block: bytes) -> bool:
        """Whether some of a stream is one whole event that means `TOKEN`, as the last.

        Where it is, nothing else need be read of it; where not, it is nothing certain.
        """
        return self._mould is not None and self._mould.fits_block(block)

    def read(self, data: bytes, name: bytes = b"") -> Meaning:
        """Take the next event's data and its type, as `sse.Event` has them."""
        if not name and self._mould is not None and self._mould.fits(data):
            return Meaning.TOKEN
        if name == b"error":
            self.error = _error_event_says(data)
            return Meaning.ERROR
        if data == b"[DONE]" or data.strip() == b"[DONE]":
            self._is_done = True
            return Meaning.DONE
        if not data.strip():
            return Meaning.NOTHING
        try:
            chunk = _values(data)
        except (ValueError, RecursionError):
            return Meaning.MALFORMED
        if not isinstance(chunk, dict):
            return Meaning.MALFORMED
        if error := _error_in(chunk):
            self.error = error
            return Meaning.ERROR
        choices = chunk.get("choices")
        if choices is None:
            return Meaning.NOTHING
        if not isinstance(choices, list):
            return Meaning.MALFORMED
        meaning = Meaning.NOTHING
        for choice in choices:
            match self._read_choice(choice):
                case Meaning.NOTHING:
                    pass
                case Meaning.TOKEN:
                    meaning = Meaning.TOKEN
                case worse:
                    return worse
        if meaning is Meaning.TOKEN and self._moulds_left:
            self._moulds_left -= 1
            self._mould = _mould_of(data, choices[0])
        return meaning

    def _read_choice(self, choice: object) -> Meaning:
        if not isinstance(choice, dict):
            return Meaning.MALFORMED
        if error := _error_in_choice(choice):
            self.error = error
            return Meaning.ERROR
        delta, index = choice.get("delta"), choice.get("index") or 0
        if not isinstance(delta, (dict, NoneType)) or not isinstance(index, int):
            return Meaning.MALFORMED
        self._choices.setdefault(index, False)
        if len(self._choices) > max(self._asked, _CHOICES_MAX):
            return Meaning.MALFORMED
        if choice.get("finish_reason"):
            self._choices[index] = True
            return Meaning.TOKEN
        return Meaning.TOKEN if _has_substance(delta) else Meaning.NOTHING


def _mould_of(data: bytes, choice: dict[str, object]) -> Mould | None:
    """The mould of an event that says a word of a choice, if it is one."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        for name in _SPOKEN:
            if isinstance(delta.get(name), str) and delta[name]:
                return Mould.of(data, name)
    return None


def as_events(body: bytes) -> bytes:
    """Turn a whole answer into the stream that the client asked for.

    All of it goes into one chunk: members that we do not know stay where they were.

    Raises:
        ValueError: `judge_answer` does not call this a whole answer.
    """
    if not isinstance(judge_answer(body), WholeAnswer):
        raise ValueError("not a whole answer")  # noqa: TRY004 - its type is right
    answer = json.loads(body.decode("utf-8-sig"))
    choices = [
        _as_chunk_choice(choice, position)
        for position, choice in enumerate(answer["choices"])
    ]
    chunk = {**answer, "object": "chat.completion.chunk", "choices": choices}
    return b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode("ascii")


def _as_chunk_choice(choice: dict[str, object], position: int) -> dict[str, object]:
    message = choice.get("message")
    delta = dict(message) if isinstance(message, dict) else {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta["tool_calls"] = [
            {"index": index, **call} if isinstance(call, dict) else call
            for index, call in enumerate(calls)
        ]
    rest = {name: value for name, value in choice.items() if name != "message"}
    return {"index": position, "delta": delta, "finish_reason": None, **rest}


def _has_substance(message: dict[str, object] | None) -> bool:
    if message is not None:
        for name in _SUBSTANCE:  # `any` would make a generator each time
            if message.get(name):
                return True
    return False


def _error_in(answer: dict[str, object]) -> object:
    """The error that an answer or a chunk holds; false where there is none."""
    if error := answer.get("error"):
        return error
    return answer if answer.get("object") == "error" else None  # flat, as Mistral's


def _error_in_choice(choice: dict[str, object]) -> object:
    """As `_error_in`; routers of other providers report an error in the choice."""
    if error := choice.get("error"):
        return error
    return "finish_reason: error" if choice.get("finish_reason") == "error" else None


def _error_event_says(data: bytes) -> object:
    """What an event of type `error` says, in whatever shape."""
    text = data.decode(errors="replace")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return (_error_in(said) if isinstance(said, dict) else None) or said
