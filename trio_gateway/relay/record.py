"""What happened, frozen: the one source of log lines, metrics and `details.attempts`.

A record never holds a prompt, a completion, a header's value or a key.
"""

from dataclasses import dataclass
from enum import StrEnum

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import FailureClass


class Outcome(StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"  # the whole answer was delivered
    INTERRUPTED = "interrupted"  # it broke after the commit point, visibly
    REFUSED = "refused"  # the client got an error answer
    CANCELLED = "cancelled"  # the client left


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One upstream request. Times are seconds since the exchange was admitted."""

    number: int
    target: str
    reason: Reason
    started_s: float
    ended_s: float
    opened_s: float | None  # when its commit point came
    failure: FailureClass | None  # None: it won and was whole
    status: int | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class ExchangeRecord:
    """One client's request and all that came of it."""

    id: str  # our UUID
    request_id: str  # what `x-request-id` says
    key: str | None  # the access key's name
    org: str | None
    project: str | None
    model: str  # the slug
    is_stream: bool
    admitted_at: float  # wall time
    duration_s: float
    first_token_s: float | None
    outcome: Outcome
    status: int | None  # what the client got; None: it left before
    target: str | None  # the winner, else the last one tried
    attempts: tuple[AttemptRecord, ...]
    bytes_out: int = 0
    detail: str | None = None  # why it was refused or interrupted, one of our phrases
