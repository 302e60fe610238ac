"""Chat completions: requests, whole answers and streamed ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class RequestErrorKind(Enum):
    """How a request can be wrong."""

    BLANK = "blank"  # a field is missing or empty: 400
    UNREADABLE = "unreadable"  # it cannot be parsed, or has wrong types: 422


class RequestError(Exception):
    """The client's request is wrong."""

    def __init__(self, kind: RequestErrorKind, details: dict[str, str]) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.details = details


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the gateway reads in a request; all else passes as it came."""

    model: str
    is_stream: bool
    choices: int
    max_tokens: int | None
    size: int

    @classmethod
    def parse(cls, raw: bytes) -> "ChatRequest":
        """Read a request body, or raise `RequestError`."""
        raise NotImplementedError

    def encode(self, *, model: str, overrides: Mapping[str, object]) -> bytes:
        """Return the body for a target."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A body that answers the request."""

    choices: int


@dataclass(frozen=True, slots=True)
class EmbeddedError:
    """A body that holds an error, whatever its status said."""

    error: object


@dataclass(frozen=True, slots=True)
class NotAnAnswer:
    """A body that is something else; `cause` is one of our fixed phrases."""

    cause: str


def judge_answer(body: bytes) -> WholeAnswer | EmbeddedError | NotAnAnswer:
    """Say what the body of a 200 is, by its content alone."""
    raise NotImplementedError


class Meaning(Enum):
    """What one event of a stream means to the client."""

    NOTHING = "nothing"
    TOKEN = "token"
    DONE = "done"
    ERROR = "error"
    MALFORMED = "malformed"


class AnswerReader:
    """Follows a stream's events, to know its first token and its end."""

    def __init__(self, *, choices: int) -> None:
        self.error: object = None
        self._asked = choices

    @property
    def is_whole(self) -> bool:
        """Whether every choice has its `finish_reason`."""
        raise NotImplementedError

    def read(self, data: bytes, name: bytes = b"") -> Meaning:
        """Take the data of the next event."""
        raise NotImplementedError


def as_events(body: bytes) -> bytes:
    """Turn a whole answer into the stream that the client asked for."""
    raise NotImplementedError
