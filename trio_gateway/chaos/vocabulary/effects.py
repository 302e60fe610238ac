"""What may go wrong with one answer, as values; `faults` names them, `distortion` acts.

An effect knows nothing of chance or time: it is what happens once a fault has struck.
Numbers of tokens and events count from the start of a stream, bytes from the start of a
body, before HTTP's framing.
"""

from dataclasses import dataclass
from enum import StrEnum

from trio_gateway.chaos.vocabulary.errors import Hint
from trio_gateway.chaos.vocabulary.script import Aftermath, Ending, Refusal


@dataclass(frozen=True, slots=True)
class Status:
    """An error instead of the answer."""

    code: int | None = None  # None: the error's own
    error: str | None = None  # a name in ERRORS; None: what this status usually says
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """The head comes later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DripHead:
    """The head comes byte by byte, and is whole so much later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SlowFirstToken:
    """The first token comes later than it should after the head."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TokenGap:
    """The time between two tokens, whatever it should be."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stall:
    """A stream stands still after some tokens, then goes on."""

    seconds: float
    after_tokens: int | None = None  # None: in the middle


@dataclass(frozen=True, slots=True)
class Slow:
    """Everything takes so many times as long."""

    factor: float


@dataclass(frozen=True, slots=True)
class Slices:
    """The body comes in pieces of so many bytes, wherever events or letters end."""

    size: int


@dataclass(frozen=True, slots=True)
class Break:
    """The body ends after some bytes, and not as it should."""

    ending: Ending
    at: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """There is no answer at all."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ErrorIn200:
    """An error where a good answer was announced; in a stream, as event `at`."""

    at: int = 0


@dataclass(frozen=True, slots=True)
class RoleOnly:
    """A stream that says who speaks, and no word."""

    ending: Ending = Ending.HANG


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Signs of life, and no answer."""

    every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class NoFinish:
    """A stream that ends well, but without a `finish_reason`."""

    says_done: bool = False


@dataclass(frozen=True, slots=True)
class Filtered:
    """An answer that a content filter ends after some tokens, with a 200."""

    after_tokens: int = 0


@dataclass(frozen=True, slots=True)
class HugeToken:
    """A token of so many bytes among the others."""

    size: int = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WrongLength:
    """A `content-length` that is so many bytes too long, or too short if negative."""

    by: int = 100


@dataclass(frozen=True, slots=True)
class StrayBytes:
    """Bytes that nobody asked for, after an answer that is complete."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InterimHead:
    """A 1xx head before the head."""

    status: int = 103


@dataclass(frozen=True, slots=True)
class WrongContentType:
    """The right answer under a wrong label."""

    content_type: str = "text/plain"


class WrongBody(StrEnum):
    """A 200 that is not the answer asked for."""

    MALFORMED_SSE = "malformed_sse"
    MALFORMED_JSON = "malformed_json"
    HTML = "html"
    EMPTY_STREAM = "empty_stream"
    BROKEN_GZIP = "broken_gzip"
    JSON_FOR_STREAM = "json_for_stream"
    STREAM_FOR_JSON = "stream_for_json"


class Disorder(StrEnum):
    """A stream whose events are good, but too many or too few."""

    DUPLICATE_EVENTS = "duplicate_events"  # every token twice
    DONE_TWICE = "done_twice"
    EVENTS_AFTER_DONE = "events_after_done"  # the last token once more
    NO_DONE = "no_done"  # ends after its `finish_reason`


Effect = (
    Status
    | Delay
    | DripHead
    | SlowFirstToken
    | TokenGap
    | Stall
    | Slow
    | Slices
    | Break
    | Refuse
    | ErrorIn200
    | RoleOnly
    | Heartbeats
    | NoFinish
    | Filtered
    | HugeToken
    | WrongLength
    | StrayBytes
    | InterimHead
    | Aftermath
    | WrongContentType
    | WrongBody
    | Disorder
)
"""One thing that goes wrong with an answer; `distortion` says how."""
