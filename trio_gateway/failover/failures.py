"""How an attempt can fail: the classes that policies, labels and answers share."""

from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    """What went wrong, by what it means for the next step."""

    CONNECT = "connect"  # DNS, refused, TLS, not connected in time
    NOT_PROCESSED = "not_processed"  # a reused connection died before any answer
    RESET = "reset"  # the connection broke after the request was sent, without a head
    SERVER_ERROR = "server_error"  # 5xx, 408, and 409 or 424 where they mean it
    OVERLOADED = "overloaded"  # the provider has no capacity: 529, 498, some 429
    RATE_LIMIT = "rate_limit"  # we asked too much of our own allowance
    QUOTA = "quota"  # no money or allowance left: waiting does not help
    AUTH = "auth"  # our credential was refused
    NOT_FOUND = "not_found"  # no such model or deployment there
    TIMEOUT = "timeout"  # a hard limit came before the commit point
    BAD_ANSWER = "bad_answer"  # a 200 that is not an answer; a redirect
    INTERRUPTED = "interrupted"  # broken after the commit point
    CLIENT_ERROR = "client_error"  # the request itself is wrong
    CONTEXT_LENGTH = "context_length"  # the prompt does not fit this model
    CONTENT_FILTER = "content_filter"  # refused for its content
    CANCELLED = "cancelled"  # the client left, or another attempt won
    SHED = "shed"  # we did not send it: too much at once


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An upstream's own words about an error, as OpenAI's shape has them."""

    message: str
    code: str | int | None = None
    type: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one attempt gave no answer.

    `cause` is one of our own fixed phrases ("first token late", "HTML"), fit for a
    log; `said` is what the upstream said, and reaches a client only where the
    contract passes it through.
    """

    kind: FailureClass
    cause: str
    status: int | None = None
    retry_after_s: float | None = None  # when it said to come back, from its answer on
    said: UpstreamError | None = None
