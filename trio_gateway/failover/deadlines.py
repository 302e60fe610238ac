"""When each wait must end: policy's durations turned into instants, once.

The time before the commit point is split so that every later target keeps a fair
chance: an attempt gets its own hard limit, or less where the reserves of the targets
after it would not be left.

    admitted                                                     precommit_by
    |----- attempt 1: at most its hard limit -----|-- reserve --|-- reserve --|
                                                   (target 2)     (target 3)

Where the reserves do not fit, what is left is shared equally.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trio_gateway.policy.route import Patience, Route, Target

# A later target's fair chance, while nothing is known about its speed: half its hard
# limit, within these bounds (1.5 x p95 of common models' first tokens is 1.2-4.4 s).
_RESERVE_MIN_S: Final = 2.0
_RESERVE_MAX_S: Final = 10.0
# Below this an attempt is hardly worth its price: half the p50 of a fast model's
# first token. A policy whose whole patience is short speaks of faster upstreams.
_MIN_USEFUL_S: Final = 0.5
_MIN_USEFUL_SHARE: Final = 0.1
# A long answer takes longer to be whole: 30 ms a token is a slow model's pace.
_ANSWER_PER_TOKEN_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The instants that bound one exchange, and the rules that divide them."""

    precommit_by: float
    total_by: float
    min_useful_s: float
    is_stream: bool
    max_tokens: int

    @classmethod
    def of(
        cls, route: Route, *, is_stream: bool, max_tokens: int | None, now: float
    ) -> "Deadlines":
        """Fix the deadlines of an exchange that is admitted now.

        An answer that commits when whole has no other precommit than the total.
        """
        total_by = now + route.timeouts.total_s
        precommit_s = route.timeouts.precommit_s
        precommit_by = min(now + precommit_s, total_by) if is_stream else total_by
        useful_s = min(_MIN_USEFUL_S, _MIN_USEFUL_SHARE * (precommit_by - now))
        return cls(precommit_by, total_by, useful_s, is_stream, max_tokens or 0)

    def is_worth_an_attempt(self, at: float) -> bool:
        """Whether an attempt that starts at this instant could still be of use."""
        return at + self.min_useful_s <= self.precommit_by

    def connect_by(self, target: Target, *, commit_by: float, now: float) -> float:
        """When a connection must stand."""
        return min(now + target.timeouts.connect_s, commit_by)

    def commit_by(self, target: Target, later: Sequence[Target], now: float) -> float:
        """When an attempt that starts now must have reached its commit point.

        `later` are the targets that may still be tried after this one.
        """
        left_s = self.precommit_by - now
        patience = self._patience(target)
        if not later:
            # Nobody is kept waiting by more patience, so an unwritten limit is none.
            wanted_s = patience.hard_s if patience.is_hard_written else left_s
            return now + min(wanted_s, left_s)
        spare_s = left_s - sum(self._reserve_s(other) for other in later)
        if spare_s < _RESERVE_MIN_S:
            spare_s = left_s / (len(later) + 1)
        return now + min(patience.hard_s, spare_s)

    def _patience(self, target: Target) -> Patience:
        if self.is_stream:
            return target.timeouts.first_token
        answer = target.timeouts.answer
        if answer.is_hard_written:
            return answer
        return Patience(
            soft_s=answer.soft_s,
            hard_s=answer.hard_s + _ANSWER_PER_TOKEN_S * self.max_tokens,
            is_soft_written=answer.is_soft_written,
        )

    def _reserve_s(self, target: Target) -> float:
        hard_s = self._patience(target).hard_s
        return min(hard_s, max(_RESERVE_MIN_S, min(hard_s / 2, _RESERVE_MAX_S)))
