"""When each wait must end: policy's durations turned into instants, once.

The time before the commit point is split so that every later target keeps a fair
chance: an attempt gets its own hard limit, or less where the reserves of the targets
after it would not be left.

    admitted                                                     precommit_by
    |----- attempt 1: at most its hard limit -----|-- reserve --|-- reserve --|
                                                   (target 2)     (target 3)

Where the reserves do not fit, what is left is shared equally by all, so that no policy
leaves a target out. The time of a client in haste is shared by as many as make it
likeliest that one answers: three targets of which each takes a second are worth nothing
to somebody who waits for one second, unless one gets all of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from trio_gateway.failover.quantile import AdaptivePatience
from trio_gateway.policy.route import CommitMode, CommitPoint, Route, Target

# Less than this is no fair chance for a target: it is what a reserve holds at least,
# and at most.
_RESERVE_MIN_S: Final = 2.0
_RESERVE_MAX_S: Final = 10.0
# For a client in haste, one target in three counts as having just gone silent. So two
# share its time where each can use a half, and an outage is felt less: at one in twenty
# nearly all went to the first.
_STILL_ANSWERS: Final = 0.65
# Below this an attempt is hardly worth its price: half the p50 of a fast model's
# first token. A policy whose whole patience is short speaks of faster upstreams.
_MIN_USEFUL_S: Final = 0.5
_MIN_USEFUL_SHARE: Final = 0.1
# A long answer takes longer to be whole: 30 ms a token is a slow model's pace.
_ANSWER_PER_TOKEN_S: Final = 0.03
# That is more than a day, which no limit exceeds; a float cannot hold all integers.
_ANSWER_TOKENS_MAX: Final = 10_000_000
# openai-python's own read timeout must not come first: answer two seconds before it,
# or at half of it where it is short.
_CLIENT_MARGIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asked for, as far as it bears on waiting and trying.

    `patience_s` is how long the client itself waits for an answer, if it said so.
    """

    is_stream: bool
    max_tokens: int | None = None
    choices: int = 1
    request_bytes: int = 0
    is_client_retry: bool = False  # it has asked before, and was refused
    patience_s: float | None = None


# Not frozen: that would take four times as long to make, for every request.
@dataclass(slots=True)
class Deadlines:
    """The instants that bound one exchange, and the rules that divide them."""

    precommit_by: float
    total_by: float
    min_useful_s: float
    extra_s: float  # on top of an unwritten limit, for a long answer
    is_hurried: bool = False  # the client itself waits for less than the policy would

    @classmethod
    def of(
        cls, route: Route, wish: Wish, *, commits_whole: bool, now: float
    ) -> "Deadlines":
        """Fix the deadlines of an exchange that is admitted now.

        An answer that commits when whole has no other precommit than the total.
        """
        total_by = precommit_by = now + route.timeouts.total_s
        extra_s = 0.0
        is_hurried = False
        if commits_whole:
            # A negative number means "as many as you like" to some servers; it must
            # not take away from a target's time.
            tokens = wish.max_tokens
            if tokens is not None and tokens > 0:
                extra_s = _ANSWER_PER_TOKEN_S * min(tokens, _ANSWER_TOKENS_MAX)
        else:
            precommit_by = min(total_by, now + route.timeouts.precommit_s)
        if wish.patience_s is not None:
            client_s = max(wish.patience_s / 2, wish.patience_s - _CLIENT_MARGIN_S)
            client_by = now + client_s
            is_hurried = client_by < precommit_by
            precommit_by = min(precommit_by, client_by)
        useful_s = min(_MIN_USEFUL_S, _MIN_USEFUL_SHARE * (precommit_by - now))
        return cls(precommit_by, total_by, useful_s, extra_s, is_hurried)

    def is_worth_an_attempt(self, at: float) -> bool:
        """Whether an attempt that starts at this instant could still be of use."""
        return at + self.min_useful_s <= self.precommit_by

    def commit_by(
        self,
        patience: AdaptivePatience,
        later: Sequence[Target],
        patience_of: Callable[[Target], AdaptivePatience],
        now: float,
    ) -> float:
        """When an attempt that starts now must have reached its commit point.

        `later` are the targets that may still be tried after this one. Their patience
        is asked for only where the reserves might not fit.
        """
        left_s = self.precommit_by - now
        hard_s = patience.hard_s(now)
        if not patience.is_hard_written:
            if not later:  # nobody is kept waiting, so an unwritten limit is none
                return now + left_s
            hard_s += self.extra_s
        if later and hard_s + _RESERVE_MAX_S * len(later) > left_s:
            spare_s = left_s - sum(patience_of(t).reserve_s(now) for t in later)
            if spare_s < _RESERVE_MIN_S:
                sharers = len(later) + 1
                if self.is_hurried:
                    others = [patience_of(target) for target in later]
                    sharers = _likeliest(patience, others, left_s, now)
                spare_s = left_s / sharers
            return now + min(hard_s, spare_s)
        return now + min(hard_s, left_s)


def _likeliest(
    own: AdaptivePatience,
    later: Sequence[AdaptivePatience],
    left_s: float,
    now: float,
) -> int:
    """By how many to share what is left, so that it is likeliest that one answers.

    Of a later target of which nothing is known, the same is expected as of this one.
    """
    best, least_miss = 1, inf
    for sharers in range(len(later) + 1, 0, -1):
        share_s = left_s / sharers
        likely = own.chance_within(share_s, now)
        if likely is None:
            likely = own.guess_within(share_s)
        miss = 1.0 - _STILL_ANSWERS * likely
        for patience in later[: sharers - 1]:
            known = patience.chance_within(share_s, now)
            miss *= 1.0 - _STILL_ANSWERS * (likely if known is None else known)
        if miss <= least_miss:
            best, least_miss = sharers, miss
    return best


def what_is_late(commit: CommitPoint, *, is_stream: bool) -> str:
    """Name what a hard limit finds missing, in one of our phrases."""
    if not is_stream or commit.mode is CommitMode.COMPLETE:
        return "answer late"
    return "tokens late" if commit.mode is CommitMode.TOKENS else "first token late"
