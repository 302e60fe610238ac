"""What a failure means: what to do next, and whose health should suffer.

The two answers are separate on purpose. A refused prompt is final, but the target is
well; a throttled target is well too, yet the next one is tried at once; a broken
credential sends us elsewhere and is the operator's to mend.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from trio_gateway.failover.cooldown import DISABLED_FOR_S, Disabled
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import FallbackOn


class Verdict(Enum):
    """What the failure of one attempt allows."""

    STOP = "stop"  # no target would say otherwise
    CONTEXT = "context"  # only a model with a larger context would
    MOVE = "move"  # another target may answer; this one must not be asked again
    RETRY = "retry"  # another target may answer, and so may this one later
    REDIAL = "redial"  # nothing was processed: the same again, on a new connection


class Blame(Enum):
    """Whose health a failure speaks about."""

    NOBODY = "nobody"
    TARGET = "target"  # evidence that it is unwell
    THROTTLE = "throttle"  # it is well and told us to come back later
    CREDENTIAL = "credential"  # our key or its money: an operator must act
    SETUP = "setup"  # our policy names what does not exist there


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    verdict: Verdict
    blame: Blame


MEANINGS: Final = {
    FailureClass.CONNECT: Meaning(Verdict.RETRY, Blame.TARGET),
    FailureClass.NOT_PROCESSED: Meaning(Verdict.REDIAL, Blame.NOBODY),
    # The request was sent and may have been billed: not twice at the same place.
    FailureClass.RESET: Meaning(Verdict.MOVE, Blame.TARGET),
    FailureClass.SERVER_ERROR: Meaning(Verdict.RETRY, Blame.TARGET),
    FailureClass.OVERLOADED: Meaning(Verdict.RETRY, Blame.TARGET),
    FailureClass.RATE_LIMIT: Meaning(Verdict.RETRY, Blame.THROTTLE),
    FailureClass.QUOTA: Meaning(Verdict.MOVE, Blame.CREDENTIAL),
    FailureClass.AUTH: Meaning(Verdict.MOVE, Blame.CREDENTIAL),
    FailureClass.NOT_FOUND: Meaning(Verdict.MOVE, Blame.SETUP),
    FailureClass.TIMEOUT: Meaning(Verdict.MOVE, Blame.TARGET),
    FailureClass.BAD_ANSWER: Meaning(Verdict.MOVE, Blame.TARGET),
    FailureClass.INTERRUPTED: Meaning(Verdict.STOP, Blame.TARGET),
    FailureClass.CLIENT_ERROR: Meaning(Verdict.STOP, Blame.NOBODY),
    FailureClass.CONTEXT_LENGTH: Meaning(Verdict.CONTEXT, Blame.NOBODY),
    FailureClass.CONTENT_FILTER: Meaning(Verdict.STOP, Blame.NOBODY),
    FailureClass.CANCELLED: Meaning(Verdict.STOP, Blame.NOBODY),
    FailureClass.SHED: Meaning(Verdict.MOVE, Blame.NOBODY),
}

# How long a target that said no hint is left alone. Rate limits are counted by the
# minute, and in large providers' practice replenished within seconds; capacity comes
# and goes by the second. Both as in their retry guides.
UNHINTED_S: Final = {
    FailureClass.RATE_LIMIT: 5.0,
    FailureClass.OVERLOADED: 2.0,
}


def meaning_of(failure: Failure) -> Meaning:
    """The row of a failure's class."""
    return MEANINGS[failure.kind]


def moves_on(failure: Failure, fallback_on: FallbackOn) -> bool:
    """Whether the policy wants the next target to be tried after it."""
    return failure.kind in fallback_on.classes or failure.status in fallback_on.statuses


def is_throttle(failure: Failure) -> bool:
    """Whether the target said "not now", rather than failed.

    An overloaded target counts only where it said so as a 429: a 503 or 529 is a
    failure of the provider that the client should see as one.
    """
    match failure.kind:
        case FailureClass.RATE_LIMIT | FailureClass.QUOTA:
            return True
        case FailureClass.OVERLOADED:
            return failure.status == 429
        case _:
            return False


def pause_s(failure: Failure, *, cap_s: float) -> float | None:
    """How long the target wants to be left alone; None where it said nothing of it.

    A hint is kept up to `cap_s`: one above it means "not soon", and is looked at anew.
    Money needs a person, whatever the hint says: it is out for its usual time at least.
    """
    hint_s = failure.retry_after_s
    if hint_s is None:
        hint_s = UNHINTED_S.get(failure.kind)
    believed_s = None if hint_s is None else min(hint_s, cap_s)
    if failure.kind is FailureClass.QUOTA:
        return max(DISABLED_FOR_S[Disabled.QUOTA], believed_s or 0.0)
    return believed_s
