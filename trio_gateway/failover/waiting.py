"""Waiting before an attempt: for a backoff, for a throttle's end, in line for a slot.

    backoff     the same target again: how long, and whether, says `retry`
    cooldown    it said when to come back, and that is near: waited out in a short line,
                from which each goes at a moment of its own
    line        it has as many attempts as it may have: whoever ends one calls the next

An exchange waits for one target at a time. Each wait is left exactly once, however it
ends, and gives back the place that it took.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from trio_gateway.failover.attempts import Attempts
from trio_gateway.failover.candidates import Candidates
from trio_gateway.failover.classify import is_throttle
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.deadlines import Deadlines
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.fleet import LINE_CHECK_S, Denied, Fleet
from trio_gateway.failover.retry import SameTarget
from trio_gateway.policy.route import OnHint, Route, Target


class Place(Enum):
    """What a wait has taken and must give back."""

    NONE = "none"
    COOLDOWN = "cooldown"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait: for whom, why, until when to look again, in which place."""

    target: Target
    reason: Reason  # of the attempt that will follow
    until: float
    place: Place = field(default=Place.NONE)


@dataclass(frozen=True, slots=True)
class Waiter:
    """Makes, checks and ends the waits of one exchange."""

    fleet: Fleet
    route: Route
    deadlines: Deadlines
    attempts: Attempts
    candidates: Candidates
    ticket: Hashable
    random_for: Callable[[str], Random]

    def for_any(
        self, targets: Iterable[Target], reason: Reason, now: float
    ) -> Wait | None:
        """Wait for the first target that may be free, or may be asked, in time."""
        for target in targets:
            wait = None
            match self.candidates.why_not(target, now):
                case Denied.FULL:
                    wait = self._for_slot(target, reason, now)
                case Denied.COOLING:
                    wait = self._for_cooldown(target, reason, now)
                case _:
                    pass
            if wait is not None:
                return wait
        return None

    def for_retry(self, target: Target, failure: Failure, now: float) -> Wait | None:
        """Wait before the same target again; None: not worth it, or not allowed."""
        retries_max = self.route.attempts.same_target
        if retries_max is None:
            retries_max = int(self.candidates.is_alone)
        if self.route.retry.on_hint is OnHint.WAIT and is_throttle(failure):
            retries_max = max(retries_max, 1)
        if retries_max == 0 or not self.candidates.attempts_left():
            return None
        random = self.random_for(f"{target.id}/{len(self.attempts)}")
        tries = self.attempts.counted(target)
        wait_s = SameTarget(
            rules=self.route.retry,
            retries_max=retries_max,
            precommit_by=self.deadlines.precommit_by,
            useful_s=self.deadlines.min_useful_s,
            random=random,
        ).wait_s(failure, tries=tries, now=now)
        if wait_s is None:
            return None
        cooldown = self.fleet.health(target, now).cooldown
        until = max(now + wait_s, cooldown.resume_at(now, random.random()))
        budget = self.fleet.budgets(self.route).retries
        if not self.deadlines.is_worth_an_attempt(until):
            return None
        place = Place.NONE
        if cooldown.is_active(now):
            if not cooldown.join():
                return None
            place = Place.COOLDOWN
        wait = Wait(target, Reason.RETRY, until, place)
        if not budget.try_withdraw(now):
            self.end(wait, now)
            return None
        return wait

    def _for_cooldown(self, target: Target, reason: Reason, now: float) -> Wait | None:
        """Wait for the end of a throttle, if it is near and not too many do."""
        cooldown = self.fleet.health(target, now).cooldown
        if cooldown.left_s(now) > self.route.retry.hint_wait_max_s:
            return None
        draw = self.random_for(f"{target.id}/resume").random()
        until = cooldown.resume_at(now, draw)
        if not self.deadlines.is_worth_an_attempt(until) or not cooldown.join():
            return None
        return Wait(target, reason, until, Place.COOLDOWN)

    def _for_slot(self, target: Target, reason: Reason, now: float) -> Wait | None:
        """Stand in line for a slot, if the line has room."""
        by = self._line_by
        until = self.fleet.join_line(self.route, target, self.ticket, by=by, now=now)
        return None if until is None else Wait(target, reason, until, Place.LINE)

    @property
    def _line_by(self) -> float:
        """When a slot would come too late."""
        return self.deadlines.precommit_by - self.deadlines.min_useful_s

    def is_granted(self, wait: Wait) -> bool:
        """Whether a slot is kept for this exchange."""
        is_line = wait.place is Place.LINE
        return is_line and self.fleet.is_granted(wait.target, self.ticket)

    def go_on(self, wait: Wait, now: float) -> Wait | None:
        """The same wait for some longer, where its place in line still stands."""
        if wait.place is not Place.LINE:
            return None
        if not self.fleet.is_in_line(wait.target, self.ticket, now):
            return None
        until = min(now + LINE_CHECK_S, self._line_by)
        return Wait(wait.target, wait.reason, until, Place.LINE)

    def end(self, wait: Wait, now: float, *, keeps_slot: bool = False) -> None:
        """Give back the place; `keeps_slot` where an attempt uses the slot it got."""
        match wait.place:
            case Place.COOLDOWN:
                self.fleet.health(wait.target, now).cooldown.leave()
            case Place.LINE if not keeps_slot:
                self.fleet.leave_line(wait.target, self.ticket, now)
            case _:
                pass
