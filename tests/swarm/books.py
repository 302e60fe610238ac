"""What somebody would know of targets and routes who only heard what happened.

These books are kept beside the machines of `failover`, from the same news, and share
nothing with them but the constants that are a policy's or a specification's. They are
simpler: they know what may never be, not what is best. Whose fault a failure is stands
here once more, because a table must not vouch for itself.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.budget import (
    BURST,
    EXTRA_RATIO,
    FAILURE_COST,
    OVERLOAD_COST,
    RETRY_RATIO,
    RETRY_RESERVE_PER_S,
    SUCCESS_GAIN,
    TOKENS_MAX,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route, Target

FAULTS: Final = frozenset(
    {
        FailureClass.CONNECT,
        FailureClass.RESET,
        FailureClass.SERVER_ERROR,
        FailureClass.OVERLOADED,
        FailureClass.TIMEOUT,
        FailureClass.BAD_ANSWER,
        FailureClass.INTERRUPTED,
    }
)
"""Evidence against a target."""

MAY_PASS: Final = frozenset(
    {
        FailureClass.CONNECT,
        FailureClass.SERVER_ERROR,
        FailureClass.OVERLOADED,
        FailureClass.RATE_LIMIT,
    }
)
"""What may be sent to the same target again; all else was sent, and may be billed."""

_OVERLOADS: Final = (
    FailureClass.SERVER_ERROR,
    FailureClass.OVERLOADED,
    FailureClass.TIMEOUT,
)
# So many answers excuse a throttle without a hint, and so many excuses may be saved up.
_ANSWERS_AN_EXCUSE: Final = 10
_EXCUSES_MOST: Final = 5
# How long without other word. A throttle without a hint is doubled, up to a minute.
_UNHINTED_S: Final = 5.0
LONGEST_UNHINTED_S: Final = 60.0
QUOTA_S: Final = 3600.0
NOT_FOUND_S: Final = 300.0
AUTH_S: Final = 600.0


@dataclass(slots=True)
class TargetBook:
    """One target."""

    target: Target
    not_before: float = -inf  # by its own hint
    out_until: float = -inf  # by money, or because it does not exist
    is_off: bool = False  # an operator said so
    rests_until: float = -inf  # when the last thing that keeps it away is over
    answers: int = 0  # that may excuse a throttle yet
    failed_in_a_row: int = 0  # sent since it last answered
    good_at: float = -inf
    tokens: float = TOKENS_MAX
    evidence: float = 0.0  # against it, since its breaker last opened
    # What was last seen of its breaker.
    opened_at: float = -inf
    state: BreakerState = BreakerState.CLOSED

    def was_slow(self) -> None:
        """An attempt passed its soft limit."""
        self.evidence += 0.5

    def opened(self, now: float) -> None:
        """An attempt reached its commit point."""
        self.failed_in_a_row = 0
        self.good_at = now
        self.answers = min(_EXCUSES_MOST * _ANSWERS_AN_EXCUSE, self.answers + 1)
        self.tokens = min(TOKENS_MAX, self.tokens + SUCCESS_GAIN)

    def blamed(self, failure: Failure, *, was_slow: bool, is_news: bool) -> None:
        """A failure is its fault; a request weighs no more than 1, however it fails.

        What was sent before its last good answer says nothing new of it.
        """
        self.evidence += 0.5 if was_slow else 1.0
        cost = OVERLOAD_COST if failure.kind in _OVERLOADS else FAILURE_COST
        self.tokens = max(0.0, self.tokens - cost)
        self.failed_in_a_row += is_news

    def may_excuse(self) -> bool:
        """Whether a throttle without a hint may be taken for noise."""
        if self.answers < _ANSWERS_AN_EXCUSE:
            return False
        self.answers -= _ANSWERS_AN_EXCUSE
        return True

    def rests(self, until: float) -> None:
        """Something may keep it away so long."""
        self.rests_until = max(self.rests_until, until)

    def is_out(self, until: float) -> None:
        """It must not be asked until then."""
        self.out_until = max(self.out_until, until)
        self.rests(until)


@dataclass(slots=True)
class RouteBook:
    """One route's spending, in attempts."""

    extra_ratio: float
    extras: float = BURST
    retries: float = BURST
    accrued_at: float | None = None
    in_flight: int = 0
    peak: int = 0
    panics: int = 0
    first: str = ""  # whom the last exchange asked first

    @classmethod
    def of(cls, route: Route) -> "RouteBook":
        return cls(EXTRA_RATIO if route.hedge is None else route.hedge.max_extra)

    def admitted(self, *, is_client_retry: bool, now: float) -> None:
        """An exchange begins; what a client itself tries again earns nothing."""
        self.accrue(now)
        if not is_client_retry:
            self.extras = min(BURST, self.extras + self.extra_ratio)
            self.retries = min(BURST, self.retries + RETRY_RATIO)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def accrue(self, now: float) -> None:
        """Time alone earns retries."""
        if self.accrued_at is not None:
            earned = (now - self.accrued_at) * RETRY_RESERVE_PER_S
            self.retries = min(BURST, self.retries + earned)
        self.accrued_at = now


class Books:
    """All targets and routes of one gateway."""

    def __init__(self) -> None:
        self.targets: dict[str, TargetBook] = {}
        self._routes: dict[str, RouteBook] = {}

    def target(self, target: Target) -> TargetBook:
        """A target's book, begun when it is first asked for."""
        known = self.targets.get(target.id)
        if known is None:
            known = self.targets[target.id] = TargetBook(target)
        return known

    def route(self, route: Route) -> RouteBook:
        """A route's, likewise."""
        known = self._routes.get(route.slug)
        if known is None:
            known = self._routes[route.slug] = RouteBook.of(route)
        return known

    def heed(self, route: Route, target: Target, failure: Failure, now: float) -> None:
        """Note until when a failure keeps its target away, or its whole account."""
        book, hint_s = self.target(target), failure.retry_after_s
        is_throttle = failure.kind is FailureClass.RATE_LIMIT
        if failure.kind is FailureClass.QUOTA:
            believed_s = min(hint_s or 0.0, route.retry.hint_cap_s)
            for other in self._of_account(target):
                other.is_out(now + max(QUOTA_S, believed_s))
        elif failure.kind is FailureClass.NOT_FOUND:
            book.is_out(now + NOT_FOUND_S)
        elif failure.kind is FailureClass.AUTH:
            # It may be the vendor's outage; then nobody is told to stay away.
            for other in self._of_account(target):
                other.rests(now + AUTH_S)
        elif is_throttle or (failure.kind in FAULTS and hint_s is not None):
            least_s = _UNHINTED_S if hint_s is None else hint_s
            most_s = LONGEST_UNHINTED_S if hint_s is None else hint_s
            cap_s = route.retry.hint_cap_s
            if hint_s is not None or not book.may_excuse():
                book.not_before = max(book.not_before, now + min(least_s, cap_s))
            book.rests(now + min(most_s, cap_s))

    def ordered(self, target: Target, *, is_off: bool, now: float) -> None:
        """An operator has taken a target out of use, or has given it back.

        Who gives it back ends what it said itself, and what was said of its account.
        """
        book = self.target(target)
        book.is_off = is_off
        book.rests(now)
        if not is_off:
            for other in self._of_account(target):
                if other is book or not other.is_off:
                    other.out_until = min(other.out_until, now)

    def _of_account(self, target: Target) -> list[TargetBook]:
        name = target.account.name
        self.target(target)
        return [
            book for book in self.targets.values() if book.target.account.name == name
        ]
