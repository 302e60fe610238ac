"""What the engine tells its driver to do; each command names its attempt.

They are values, and nobody changes one. Those that every request needs are not frozen
all the same: Python takes four times as long to make what is.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Target


class Reason(StrEnum):
    """Why an attempt is made."""

    FIRST = "first"
    FAILOVER = "failover"  # another target, after a failure
    RETRY = "retry"  # the same target again
    OVERLAP = "overlap"  # another target beside one that is late
    HEDGE = "hedge"  # another target beside one that may be late
    PROBE = "probe"  # a target that is being tested for recovery
    REDIAL = "redial"  # the same request on a new connection; not counted


@dataclass(slots=True)
class Dial:
    """Start an attempt: send the request to this target and read its opening.

    The driver keeps the limits: not connected by `connect_by` is a `connect` failure,
    not committed by `commit_by` a `timeout`. In a body that commits when whole,
    `idle_s` without a byte is a `timeout` too.
    """

    attempt: int  # counts from 1
    target: Target
    reason: Reason
    connect_by: float
    commit_by: float
    idle_s: float


@dataclass(slots=True)
class WakeAt:
    """Send `TimeCame` at this instant, unless another event comes first.

    It holds until the next answer of the engine; one without it means: no alarm.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Cancel an attempt and close what it holds; no event answers."""

    attempt: int


@dataclass(slots=True)
class Commit:
    """This attempt is the winner: its answer may flow to the client."""

    attempt: int


class RefusalKind(Enum):
    """How an exchange without an answer ends."""

    CLIENT_ERROR = "client_error"  # the upstream says the request is wrong
    RATE_LIMITED = "rate_limited"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UNAVAILABLE = "unavailable"  # nothing could be sent
    UPSTREAM_FAILED = "upstream_failed"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the client with an error.

    `failure` is the one to pass on for `CLIENT_ERROR`, else the last one if any.
    """

    kind: RefusalKind
    failure: Failure | None = None
    retry_after_s: float | None = None
    is_retry_welcome: bool = False  # what `x-should-retry` says
    is_full: bool = False  # nothing could be sent for want of a free slot


Command = Dial | WakeAt | Drop | Commit | Refuse
