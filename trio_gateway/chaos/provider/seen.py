"""What a simulated provider saw of one request: an entry of its log."""

from dataclasses import dataclass, field
from enum import Enum


class RequestEnding(Enum):
    """How a request ended, as its provider saw it."""

    ANSWERED = "answered"  # with whatever status, and properly framed
    FAULT = "fault"  # broken, closed or reset by us, on purpose
    CLIENT_LEFT = "client_left"
    STOPPED = "stopped"  # the provider was stopped in the middle


@dataclass(slots=True, eq=False)
class SeenRequest:
    """One request and what has become of it so far. Times are on Trio's clock.

    It changes until `ended_at` is set: it is a log that is read while it is written.
    """

    number: int  # among this provider's chat completions, from 1; 0: something else
    method: str
    path: str
    has_key: bool
    body: bytes | None = field(repr=False)  # None: too large to be kept
    started_at: float  # when the request was whole
    head_at: float | None = None
    ended_at: float | None = None
    status: int | None = None  # None: no head was sent
    ending: RequestEnding | None = None
    bytes_sent: int = 0  # of the body, without framing
    model: str | None = None  # the asked one, of a chat completion
    is_control: bool = False  # about the provider, not for it: never in the log
