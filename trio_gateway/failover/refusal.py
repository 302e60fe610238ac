"""How an exchange without an answer ends: which error, and whether to come back.

An error must be honest about whose turn it is. "Rate limited" is said only when every
target was throttled, "deadline exceeded" only when time ended it; a client's own error
is passed on as the upstream said it. Clients of OpenAI's and Anthropic's kind retry by
themselves: they are asked not to, once we have tried for them.
"""

import math
from typing import Final

from trio_gateway.failover.case import Case
from trio_gateway.failover.classify import (
    UNHINTED_S,
    Verdict,
    is_throttle,
    meaning_of,
)
from trio_gateway.failover.commands import RefusalKind, Refuse
from trio_gateway.failover.failures import Failure, FailureClass

# openai-python gives up on hints above 120 s, some others above 60 s.
_WELCOME_WITHIN_S: Final = 60.0
# Clients that were refused in the same second must not return in the same second.
_RETRY_JITTER: Final = 0.2
# Long enough for a process to be replaced behind its balancer.
_ENDING_RETRY_S: Final = 1.0


def before_any_attempt(case: Case, now: float) -> Refuse:
    """The end of an exchange of whose targets none could be dialled."""
    outlook = case.fleet.outlook(case.route, now)
    soonest_s = outlook.soonest_s
    if not outlook.is_throttled or soonest_s is None:
        return nothing_sent(case, soonest_s=soonest_s, is_full=outlook.is_full)
    return _rate_limited(case, None, soonest_s)


def after_attempts(
    case: Case, failure: Failure, now: float, *, out_of_time: bool
) -> Refuse:
    """The end of an exchange whose last attempt failed so.

    `out_of_time`: time ended it although something could still have been tried.
    """
    if meaning_of(failure).verdict in (Verdict.STOP, Verdict.CONTEXT):
        return Refuse(RefusalKind.CLIENT_ERROR, failure)  # as the upstream judged it
    failures = case.attempts.failures() or [failure]
    last = failures[-1]
    if all(map(is_throttle, failures)):
        return _rate_limited(case, last, _soonest_s(case, failures, now))
    is_late = failure.kind is FailureClass.TIMEOUT
    out_of_time |= is_late and now >= case.deadlines.precommit_by
    if out_of_time or all(each.kind is FailureClass.TIMEOUT for each in failures):
        return Refuse(RefusalKind.DEADLINE_EXCEEDED, last)
    return Refuse(RefusalKind.UPSTREAM_FAILED, last)


def nothing_sent(
    case: Case, *, soonest_s: float | None = None, is_full: bool = False
) -> Refuse:
    """The end of an exchange that reached no upstream: coming back is safe.

    It is in vain, too, where all targets are out of use for longer.
    """
    return Refuse(
        RefusalKind.UNAVAILABLE,
        retry_after_s=_spread(case, soonest_s or _ENDING_RETRY_S),
        is_retry_welcome=(soonest_s or 0.0) <= _WELCOME_WITHIN_S,
        is_full=is_full,
    )


def _soonest_s(case: Case, failures: list[Failure], now: float) -> float:
    """Until the first target that could serve the client may be asked again.

    An overload without a hint keeps nobody away from its target, and yet a client that
    came back at once would come too soon.
    """
    soonest_s = case.fleet.outlook(case.route, now).soonest_s or 0.0
    if all(map(_is_unhinted_overload, failures)):
        return max(soonest_s, UNHINTED_S[FailureClass.OVERLOADED])
    return soonest_s


def _is_unhinted_overload(failure: Failure) -> bool:
    is_overload = failure.kind is FailureClass.OVERLOADED
    return is_overload and failure.retry_after_s is None


def _rate_limited(case: Case, last: Failure | None, soonest_s: float) -> Refuse:
    return Refuse(
        RefusalKind.RATE_LIMITED,
        last,
        retry_after_s=_spread(case, soonest_s),
        is_retry_welcome=soonest_s <= _WELCOME_WITHIN_S,
    )


def _spread(case: Case, seconds: float) -> float:
    """Whole seconds, at least one, and up to a fifth more."""
    # What rounding made of the difference of two instants is no further second.
    whole_s = math.ceil(round(max(1.0, seconds), 6))
    random = case.random_for("refusal")
    return whole_s + int(random.uniform(0.0, whole_s * _RETRY_JITTER))
