"""One target's health: the machines that watch it, put together.

Each machine has its own file and its own theory; this one only says which news goes to
which. A failure is news for the breaker only where it is the target's fault:

    blame         breaker   cooldown   disablement   budget   estimate
    target        failed    if hinted       -        failed    failed
    throttle      neutral   hint            -          -       failed
    credential    neutral      -       the account's   -         -
    setup         neutral      -       the target's    -         -
    nobody        neutral      -            -          -         -

What it says of too much (an overload, a throttle without a hint) reaches its limiter
and its cooldown only where it is more than `noise`.
"""

from collections.abc import Container, Hashable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from trio_gateway.failover.balancer import PeakEwma
from trio_gateway.failover.breaker import Breaker, BreakerState, Sent
from trio_gateway.failover.budget import DestinationBudget
from trio_gateway.failover.classify import UNHINTED_S, Blame, meaning_of
from trio_gateway.failover.cooldown import Cooldown, Disabled, Disablement
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.limiter import Limiter
from trio_gateway.failover.noise import noise_of_overloads, noise_of_throttles
from trio_gateway.failover.quantile import (
    PROMPT_BUCKETS,
    AdaptivePatience,
    Quantiles,
    prompt_bucket,
)
from trio_gateway.policy.route import Patience, Target

# So many attempts past their soft limit, and none that came through since, and the
# next one is not waited for: three in a row are no accident of one in a hundred.
LATE_IN_A_ROW: Final = 3
# Learning stops where more than this share of requests fails: what is measured then
# says something about the outage, not about the target.
_FREEZE_FROM: Final = 0.2
_THROTTLED_S: Final = UNHINTED_S[FailureClass.RATE_LIMIT]

_CLOSED: Final = BreakerState.CLOSED  # found more quickly, in Python 3.11
_BOOKS: Final = (
    "breaker",
    "cooldown",
    "budget",
    "limiter",
    "overloads",
    "throttles",
    "estimate",
    "_speeds",
)
_OPERATORS: Final = (Disabled.OPERATOR, Disabled.DRAINED)

_OVERLOADS: Final = frozenset(
    {FailureClass.SERVER_ERROR, FailureClass.OVERLOADED, FailureClass.TIMEOUT}
)


class Kind(NamedTuple):
    """What may be compared in time: streamed or not, and the prompt's size."""

    commits_whole: bool
    prompt_bucket: int


_KINDS: Final = tuple(
    tuple(Kind(whole, bucket) for bucket in range(len(PROMPT_BUCKETS)))
    for whole in (False, True)
)


def kind_of(request_bytes: int, *, commits_whole: bool) -> Kind:
    """The kind of a request."""
    return _KINDS[commits_whole][prompt_bucket(request_bytes)]


class Speed:
    """How long answers of one kind take at one target, and the limits from that.

    Models that share a target may each have limits of their own; what is measured is
    the target's.
    """

    __slots__ = ("_latest", "_patiences", "quantiles")

    def __init__(self, now: float) -> None:
        self.quantiles = Quantiles(now)
        # Whom was asked about last: nearly always the one who is asked about again.
        self._latest: tuple[Patience, AdaptivePatience] | None = None
        self._patiences: dict[Patience, AdaptivePatience] = {}

    def patience(self, written: Patience, now: float) -> AdaptivePatience:
        """The limits in force where these are written."""
        if self._latest is not None and self._latest[0] is written:
            return self._latest[1]
        known = self._patiences.get(written)
        if known is None:
            known = AdaptivePatience(written, self.quantiles, now)
            self._patiences[written] = known
        self._latest = (written, known)
        return known

    def keep(self, written: Container[Patience]) -> None:
        """Drop the limits that no policy writes any more, not what was measured."""
        self._latest = None
        for gone in [limits for limits in self._patiences if limits not in written]:
            del self._patiences[gone]


def written_limits(target: Target, kind: Kind) -> Patience:
    """What the policy says about one kind of request."""
    timeouts = target.timeouts
    return timeouts.answer if kind.commits_whole else timeouts.first_token


@dataclass(slots=True, eq=False)
class Lease:
    """One attempt at one target, from its start to its end."""

    health: "Health"
    speed: Speed  # of its kind of request
    patience: AdaptivePatience
    sent: Sent
    ticket: Hashable  # whose attempt it is
    started_at: float
    in_flight: int  # how many there were at the target when it began, with itself
    is_panic: bool  # a last resort, counted by the route's panic budget
    is_open: bool = False  # past its commit point
    is_hurried: bool = False  # its client waits for less than the policy would

    def is_cut_short(self, failure: Failure, now: float) -> bool:
        """Whether its client's haste ended it before 19 in 20 would have answered.

        That is no evidence: else a client with a short timeout would open breakers of
        targets that are well, for everybody.
        """
        if not self.is_hurried or failure.kind is not FailureClass.TIMEOUT:
            return False
        return now - self.started_at < self.patience.p95_s(now)


class Health:
    """All that is known of one target, and where to ask about its account."""

    def __init__(
        self,
        target: Target,
        account: "AccountHealth",
        random: Random,
        *,
        seed_s: float,
        now: float,
    ) -> None:
        self.target = target
        self.account = account
        self.breaker = Breaker(target.breaker, random)
        self.cooldown = Cooldown()
        self.budget = DestinationBudget()
        self.limiter = Limiter(target.max_concurrency)
        self.overloads = noise_of_overloads()
        self.throttles = noise_of_throttles()
        self.estimate = PeakEwma(seed_s, now)
        self.disablement: Disablement | None = None
        self.waiting: set[Lease] = set()  # attempts before their commit point
        self.late_in_a_row = 0
        self._speeds: dict[Kind, Speed] = {}

    def speed(self, kind: Kind, now: float) -> Speed:
        """What is measured of one kind of request."""
        speed = self._speeds.get(kind)
        if speed is None:
            speed = self._speeds[kind] = Speed(now)
        return speed

    @property
    def speeds(self) -> Mapping[Kind, Speed]:
        """What is measured, of the kinds of requests that there were."""
        return self._speeds

    def is_disabled(self, now: float) -> bool:
        """Whether it is out of use, by an operator or by what it said."""
        return self.disablement is not None and self.disablement.is_active(now)

    def is_out_of_use(self, now: float) -> bool:
        """Whether it, or its account, is disabled."""
        own, account = self.disablement, self.account.disablement
        return (own is not None and own.is_active(now)) or (
            account is not None and account.is_active(now)
        )

    def out_of_use_s(self, now: float) -> float | None:
        """The seconds until it may be used again; None where time does not decide."""
        left_s = 0.0
        for out in (self.disablement, self.account.disablement):
            if out is not None and out.is_active(now):
                if out.until is None:
                    return None
                left_s = max(left_s, out.until - now)
        return left_s

    @property
    def is_switched_off(self) -> bool:
        """Whether an operator wants nobody to wait there any more."""
        disablement = self.disablement
        return disablement is not None and disablement.reason is Disabled.OPERATOR

    def is_untroubled(self, now: float) -> bool:
        """Whether nothing at all was heard against it or its account.

        A cheap `is_well`: almost always true, and then there is nothing else to ask.
        """
        return (
            now < self.breaker.plain_until
            and self.disablement is None
            and self.account.disablement is None
            and now >= self.cooldown.until
        )

    def has_room(self, now: float) -> bool:
        """Whether it and its account may have one more attempt."""
        return self.limiter.has_room(now) and self.account.limiter.has_room(now)

    def is_well(self, now: float) -> bool:
        """Whether nothing speaks against it or its account."""
        return self.is_untroubled(now) or (
            self.breaker.state(now) is _CLOSED
            and self.breaker.skip_share(now) == 0.0
            and not self.cooldown.is_active(now)
            and not self.is_out_of_use(now)
        )

    def shadow(self) -> "Health":
        """A copy on which nothing is under way: its news do not come back here."""
        twin = copy(self)
        twin.waiting = set()
        for name in _BOOKS:
            setattr(twin, name, deepcopy(getattr(self, name)))
        return twin

    # Another policy

    @property
    def is_in_use(self) -> bool:
        """Whether anything is under way there, or waits for it."""
        return self.limiter.in_flight > 0 or self.cooldown.waiters > 0

    def keep_limits(self, written: Container[Patience]) -> None:
        """Drop the limits on waiting that no policy writes any more."""
        for speed in self._speeds.values():
            speed.keep(written)

    def inherit(self, other: "Health") -> None:
        """Take over from a target of this name that was elsewhere: books, no verdicts.

        Attempts that are under way there give their slots back here, and who waits for
        the end of its cooldown is still counted. What an operator has disabled stays
        so; whatever was learned is forgotten.
        """
        self.limiter = other.limiter
        self.limiter.forget()
        self.cooldown.waiters = other.cooldown.waiters
        self.disablement = by_operator(other.disablement)

    # News

    def slow(self, lease: Lease, now: float) -> None:
        """An attempt passed its soft limit."""
        self.late_in_a_row += 1
        self.breaker.was_slow(now, lease.sent)

    def opened(self, lease: Lease, now: float) -> None:
        """An attempt reached its commit point."""
        took_s = now - lease.started_at
        lease.is_open = True
        self.waiting.discard(lease)
        self.late_in_a_row = 0
        if now < self.breaker.plain_until:
            self.breaker.committed(now, lease.sent)
        else:
            before = self.breaker.state(now)
            self.breaker.committed(now, lease.sent)
            if before is not _CLOSED:
                self._refill_on_ramp(before, now)
        self.budget.succeeded()
        self.cooldown.succeeded(now)
        self.limiter.succeeded(now)
        for noise in (self.overloads, self.throttles):
            if noise.answers < noise.most:
                noise.answered()
        self.account.limiter.succeeded(now)
        self.estimate.observe(took_s, now)
        self._learn(lease.speed, now).observe(took_s, now)

    def began(self) -> None:
        """An attempt takes a slot, or one is kept for it."""
        self.limiter.in_flight += 1
        self.account.limiter.in_flight += 1

    def ended(self) -> None:
        """An attempt is over, well or `failed` before, and gives its slots back."""
        self.limiter.leave()
        self.account.limiter.leave()

    def failed(
        self, lease: Lease, failure: Failure, *, cap_s: float, now: float
    ) -> None:
        """An attempt ended otherwise than well; `failure` as the engine has it.

        What concerns the credential, its account is told by the fleet.
        """
        self.waiting.discard(lease)
        blame = meaning_of(failure).blame
        if lease.is_cut_short(failure, now):
            blame = Blame.NOBODY
        if blame is Blame.TARGET:
            self.blamed(lease, failure, now)
        else:
            self.breaker.neutral(lease.sent)
        hint_s = failure.retry_after_s
        if self._should_rest(blame, hint_s):
            self.cooldown.hint(now, hint_s, default_s=_THROTTLED_S, cap_s=cap_s)
            self.estimate.failed(now, retry_after_s=self.cooldown.left_s(now))
        if blame is Blame.SETUP:
            self.disable(Disablement.begin(Disabled.MISCONFIGURED, now))
        is_cut_off = failure.kind in (FailureClass.TIMEOUT, FailureClass.CANCELLED)
        if is_cut_off and not lease.is_open:
            waited_s = now - lease.started_at
            self._learn(lease.speed, now).censored(waited_s, now)

    def blamed(self, lease: Lease, failure: Failure, now: float) -> None:
        """A failure that is evidence against the target."""
        self.breaker.failed(now, lease.sent, failure.cause)
        self.budget.failed(is_overload=failure.kind in _OVERLOADS)
        self.estimate.failed(now)
        if failure.kind is FailureClass.OVERLOADED and not self.overloads.excuses():
            self.limiter.overloaded(now)

    def disable(self, disablement: Disablement) -> None:
        """Put it out of use, or keep it so if it is for longer already."""
        self.disablement = disablement.or_later(self.disablement)

    def _should_rest(self, blame: Blame, hint_s: float | None) -> bool:
        if hint_s is not None:
            return blame in (Blame.THROTTLE, Blame.TARGET)
        return blame is Blame.THROTTLE and not self.throttles.excuses()

    def _refill_on_ramp(self, before: BreakerState, now: float) -> None:
        after = self.breaker.state(now)
        if after is BreakerState.RAMP and before is not BreakerState.RAMP:
            self.budget.refill()

    def _learn(self, speed: Speed, now: float) -> Quantiles:
        quantiles = speed.quantiles
        quantiles.is_frozen = now >= self.breaker.plain_until and (
            self.breaker.state(now) is not _CLOSED
            or self.breaker.skip_share(now) > _FREEZE_FROM
        )
        return quantiles


def by_operator(disablement: Disablement | None) -> Disablement | None:
    """The same if an operator said so; None where it was our own conclusion."""
    if disablement is None or disablement.reason in _OPERATORS:
        return disablement
    return None


class AccountHealth:
    """What is known of one account: its slots, and whether it may be used."""

    def __init__(self, most: int | None) -> None:
        self.limiter = Limiter(most)
        self.disablement: Disablement | None = None

    def is_disabled(self, now: float) -> bool:
        """Whether its credential or its money is out of use."""
        return self.disablement is not None and self.disablement.is_active(now)

    def is_out_of_quota(self, now: float) -> bool:
        """Whether it is out of use for want of money or allowance."""
        disablement = self.disablement
        return (
            self.is_disabled(now)
            and disablement is not None
            and disablement.reason is Disabled.QUOTA
        )

    def left_s(self, now: float) -> float:
        """The seconds until it may be used again, as far as time alone decides."""
        if self.disablement is None or self.disablement.until is None:
            return 0.0
        return max(0.0, self.disablement.until - now)
