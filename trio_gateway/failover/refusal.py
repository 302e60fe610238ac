"""How an exchange without an answer ends: which error, and whether to come back.

An error must be honest about whose turn it is. "Rate limited" is said only when every
target was throttled, "deadline exceeded" only when time ended it; a client's own error
is passed on as the upstream said it. Clients of OpenAI's and Anthropic's kind retry by
themselves: they are asked not to, once we have tried for them.
"""

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from trio_gateway.failover.classify import Verdict, is_throttle, meaning_of, pause_s
from trio_gateway.failover.commands import RefusalKind, Refuse
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Outlook

# openai-python gives up on hints above 120 s, some others above 60 s.
_WELCOME_WITHIN_S: Final = 60.0
# Clients that were refused in the same second must not return in the same second.
_RETRY_JITTER: Final = 0.2
# Long enough for a process to be replaced behind its balancer.
_ENDING_RETRY_S: Final = 1.0


def after_attempts(
    last: Failure,
    failures: Sequence[Failure],
    *,
    out_of_time: bool,
    hint_cap_s: float,
    dice: Callable[[], Random],
) -> Refuse:
    """The end of an exchange whose attempts all failed, in the order of `failures`.

    `out_of_time`: a deadline ended it although something could still have been tried.
    """
    if meaning_of(last).verdict in (Verdict.STOP, Verdict.CONTEXT):
        return Refuse(RefusalKind.CLIENT_ERROR, last)  # as the upstream judged it
    last = failures[-1]
    if all(is_throttle(failure) for failure in failures):
        soonest_s = min(pause_s(failure, cap_s=hint_cap_s) or 0 for failure in failures)
        return Refuse(
            RefusalKind.RATE_LIMITED,
            last,
            retry_after_s=_spread(soonest_s, dice),
            is_retry_welcome=soonest_s <= _WELCOME_WITHIN_S,
        )
    timed_out = all(failure.kind is FailureClass.TIMEOUT for failure in failures)
    if timed_out or out_of_time:
        return Refuse(RefusalKind.DEADLINE_EXCEEDED, last)
    return Refuse(RefusalKind.UPSTREAM_FAILED, last)


def nothing_sent(
    dice: Callable[[], Random], *, soonest_s: float | None = None
) -> Refuse:
    """The end of an exchange that reached no upstream: coming back is safe."""
    return Refuse(
        RefusalKind.UNAVAILABLE,
        retry_after_s=_spread(soonest_s or _ENDING_RETRY_S, dice),
        is_retry_welcome=True,
    )


def before_any_attempt(outlook: Outlook, dice: Callable[[], Random]) -> Refuse:
    """The end of an exchange of whose targets none could be dialled."""
    soonest_s = outlook.soonest_s
    if not outlook.is_throttled or soonest_s is None:
        return nothing_sent(dice, soonest_s=soonest_s)
    return Refuse(
        RefusalKind.RATE_LIMITED,
        retry_after_s=_spread(soonest_s, dice),
        is_retry_welcome=soonest_s <= _WELCOME_WITHIN_S,
    )


def _spread(seconds: float, dice: Callable[[], Random]) -> float:
    """Whole seconds, at least one, and up to a fifth more."""
    whole_s = math.ceil(max(1.0, seconds))
    return whole_s + int(dice().uniform(0.0, whole_s * _RETRY_JITTER))
