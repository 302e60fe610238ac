"""An exchange's attempts, told as records: what the engine knows and what was heard.

The engine knows when each attempt began and how it ended; only the driver knows when
the head of an answer came, with which status, and how much of a body.
"""

from dataclasses import dataclass

from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.opening import Body
from trio_gateway.relay.record import AttemptRecord, Outcome


@dataclass(slots=True)
class Heard:
    """What came from one attempt's upstream."""

    head_at: float
    status: int
    body: Body | None = None  # None: not an answer that was read


def attempt_record(
    attempt: Attempt,
    heard: Heard | None,
    *,
    admitted_at: float,
    commit_by: float,
    now: float,
) -> AttemptRecord:
    """One attempt, as far as it has come.

    Args:
        attempt: what the engine knows of it.
        heard: what came, once a head has.
        admitted_at: when its exchange was admitted.
        commit_by: when its exchange had to have an answer, at the latest.
        now: the end of an attempt that has not ended.
    """
    failure = attempt.failure
    status = None if failure is None else failure.status
    if heard is not None and (status is None or attempt.opened_at is not None):
        status = heard.status
    ended_at = now if attempt.ended_at is None else attempt.ended_at
    opened_at = attempt.opened_at
    body = None if heard is None else heard.body
    return AttemptRecord(
        number=attempt.number,
        target=attempt.target.id,
        reason=attempt.reason,
        started_s=attempt.started_at - admitted_at,
        ended_s=ended_at - admitted_at,
        opened_s=None if opened_at is None else opened_at - admitted_at,
        failure=None if failure is None else failure.kind,
        status=status,
        cause=None if failure is None else failure.cause,
        head_s=None if heard is None else heard.head_at - admitted_at,
        bytes_in=None if body is None else body.bytes_in,
        in_flight=attempt.lease.in_flight,
        left_s=commit_by - attempt.started_at,
    )


def outcome_of(winner: Attempt | None, *, status: int | None) -> Outcome:
    """How an exchange ended, of which the client got a status, or none."""
    if winner is None:
        return Outcome.CANCELLED if status is None else Outcome.REFUSED
    if winner.failure is None:
        return Outcome.COMPLETED
    if winner.failure.kind is FailureClass.CANCELLED:
        return Outcome.CANCELLED
    return Outcome.INTERRUPTED
