"""Beside which? A second target beside one that is late, or instead of it.

    overlap       its soft limit has passed: the next one starts beside it
    hedge         it will soon be late, and everybody is well: likewise
    replacement   its target has just opened: nothing is expected of it any more

What a duplicate may cost is `spend`'s to say, and how many there may be the route's
budget. Here it is decided whom to ask; who is dropped for it, the engine knows.
"""

from math import inf
from typing import Final

from trio_gateway.failover.attempts import Attempt
from trio_gateway.failover.case import Case
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.spend import may_hedge, may_overlap
from trio_gateway.policy.route import Target

# Those who waited at a target that has just opened leave it within a second, spread.
_EVACUATION_S: Final = 1.0


class Doubling:
    """What one exchange may do about attempts that are late."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def overlap(self, now: float) -> Target | None:
        """Whom to ask beside what lives and is late."""
        case = self._case
        whole = case.kind.commits_whole
        if not may_overlap(case.route, case.wish, self._ends(), commits_whole=whole):
            return None
        return self._paid(self._case.candidates.choice(now), now)

    def hedge(self, now: float) -> Target | None:
        """Whom to ask beside the first, while every target is well."""
        case = self._case
        live, whole = case.attempts.live(), case.kind.commits_whole
        if len(live) != 1:
            return None
        if not may_hedge(case.route, case.wish, self._ends(), commits_whole=whole):
            return None
        if not self._case.fleet.are_well(self._case.route, now):
            return None
        return self._paid(self._elsewhere(live[0], now), now)

    def hedge_due_at(self, first: Attempt, now: float) -> float:
        """When to start a second attempt although the first is not late; or never."""
        rules = self._case.route.hedge
        if rules is None:
            return inf
        usual_s = first.lease.speed.quantiles.quantile(rules.quantile, now)
        return inf if usual_s is None else now + max(rules.min_delay_s, usual_s)

    def replacement(self, now: float) -> Target | None:
        """Whom to ask instead of the only attempt, if nothing is expected of it."""
        live = self._case.attempts.live()
        if len(live) != 1 or not self.is_given_up(live[0], now):
            return None
        if not self._is_worth_another(now):
            return None
        return self._case.candidates.choice(now)

    def is_given_up(self, attempt: Attempt, now: float) -> bool:
        """Whether nothing is expected of an attempt any more, as of others there."""
        return self._case.fleet.is_given_up(attempt.target, now)

    def leaves_at(self, attempt: Attempt, now: float) -> float:
        """When to look for a replacement of one that is given up; never for others.

        Not before it had its usual time, and not in step with all others there.
        """
        if not self.is_given_up(attempt, now):
            return inf
        draw = self._case.random_for(f"{attempt.target.id}/move").random()
        patience = self._case.fleet.patience(attempt.target, self._case.kind, now)
        soonest_at = attempt.started_at + patience.p95_s(now)
        return max(now + draw * _EVACUATION_S, soonest_at)

    def _elsewhere(self, first: Attempt, now: float) -> Target | None:
        """Of another failure domain, if there is one: what delays it is not shared."""
        domain = first.target.account.failure_domain
        for target in self._case.candidates.targets:
            if (
                target.account.failure_domain != domain
                and self._case.candidates.why_not(target, now) is None
            ):
                return target
        return self._case.candidates.choice(now)

    def _paid(self, target: Target | None, now: float) -> Target | None:
        """The same if the exchange and the route's budget have an attempt left."""
        if target is None or not self._is_worth_another(now):
            return None
        is_paid = self._case.fleet.budgets(self._case.route).extras.try_withdraw(now)
        return target if is_paid else None

    def _is_worth_another(self, now: float) -> bool:
        has_left = self._case.candidates.attempts_left() > 0
        return has_left and self._case.deadlines.is_worth_an_attempt(now)

    def _ends(self) -> list[Failure | None]:
        return [attempt.failure for attempt in self._case.attempts]
