"""What a duplicate may cost: whether one more attempt may run beside a living one.

Overlap and hedging buy time with money: a prompt is paid for twice, though one answer
is used. Failover is no purchase and is never asked here.

    paid for so far   an attempt that was sent costs 1, for its prompt was read
                      one that was answered with an error status costs nothing,
                      nor does one that was never connected
    + 1               must stay within the policy's max_cost_multiplier

Long prompts are never doubled, and a whole answer only where it is a short one: there
the price is highest and the gain least.
"""

from collections.abc import Iterable
from typing import Final

from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route

# A prompt of 32k tokens costs more than most answers.
PROMPT_TOKENS_MAX: Final = 32_000
_BYTES_PER_TOKEN: Final = 4
# A whole answer beyond this takes so long that its double comes no sooner.
_OVERLAP_TOKENS_MAX: Final = 1_000
_HEDGE_TOKENS_MAX: Final = 256

_UNSENT: Final = frozenset(
    {FailureClass.CONNECT, FailureClass.NOT_PROCESSED, FailureClass.SHED}
)


def may_overlap(
    route: Route, wish: Wish, ends: Iterable[Failure | None], *, commits_whole: bool
) -> bool:
    """Whether the next target may start beside one that is late.

    `ends` are this exchange's attempts: how each failed, None while it lives.
    """
    is_short = 0 < (wish.max_tokens or 0) <= _OVERLAP_TOKENS_MAX
    if not route.is_overlap_on or (commits_whole and not is_short):
        return False
    return _is_affordable(route, wish, ends)


def may_hedge(
    route: Route, wish: Wish, ends: Iterable[Failure | None], *, commits_whole: bool
) -> bool:
    """Whether the next target may start beside one that may become late."""
    is_short = 0 < (wish.max_tokens or 0) <= _HEDGE_TOKENS_MAX
    if wish.choices > 1 or (commits_whole and not is_short):
        return False
    return _is_affordable(route, wish, ends)


def _is_affordable(route: Route, wish: Wish, ends: Iterable[Failure | None]) -> bool:
    if wish.request_bytes > PROMPT_TOKENS_MAX * _BYTES_PER_TOKEN:
        return False
    paid = sum(_is_paid(failure) for failure in ends)
    return paid + 1 <= route.max_cost_multiplier


def _is_paid(failure: Failure | None) -> bool:
    if failure is None:
        return True
    is_error = failure.status is not None and failure.status >= 400
    return not is_error and failure.kind not in _UNSENT
