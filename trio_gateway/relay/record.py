"""What happened, frozen: the one source of log lines, metrics and `details.attempts`.

A record never holds a prompt, a completion, a header's value or a key.

Records are named tuples because they have many fields and every request makes two: a
frozen dataclass takes three times as long to make.
"""

from enum import StrEnum
from typing import NamedTuple

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import FailureClass


class Outcome(StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"  # the whole answer was delivered
    INTERRUPTED = "interrupted"  # it broke after the commit point, visibly
    REFUSED = "refused"  # the client got an error answer
    CANCELLED = "cancelled"  # the client left


class Shed(StrEnum):
    """Why we turned an exchange away: too much at once, and no failure of anybody."""

    IN_FLIGHT = "in_flight"  # the gateway holds as many as it may
    LAG = "lag"  # its event loop falls behind
    LINE = "line"  # every slot was taken, and the line too long or too slow


class AttemptRecord(NamedTuple):
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
    head_s: float | None = None  # when the head of the answer came
    bytes_in: int | None = None  # of the answer's body; None where none was read
    in_flight: int = 1  # attempts at the target when this one began, itself included
    left_s: float | None = None  # from its start until the exchange's commit deadline


class ExchangeRecord(NamedTuple):
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
    # Why it was refused or interrupted, or what broke when it was whole; our phrases.
    detail: str | None = None
    winner: int | None = None  # the number of the attempt that committed
    shed: Shed | None = None  # why it was turned away, if it was for our own sake
