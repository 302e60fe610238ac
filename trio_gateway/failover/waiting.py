"""Waiting before an attempt: for a backoff, for a throttle's end, in line for a slot.

    backoff     the same target again: how long, and whether, says `retry`
    cooldown    it said when to come back, and that is near: waited out in a short line,
                from which each goes at a moment of its own
    line        it has as many attempts as it may have: whoever ends one calls the next

An exchange waits for one target at a time. Each wait is left exactly once, however it
ends, and gives back the place that it took.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from trio_gateway.failover.case import Case
from trio_gateway.failover.classify import is_throttle
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.fleet import Denied
from trio_gateway.failover.lines import LINE_CHECK_S
from trio_gateway.failover.retry import SameTarget
from trio_gateway.policy.route import OnHint, Target


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


class Waiter:
    """Makes, checks and ends the waits of one exchange."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def for_any(
        self, targets: Iterable[Target], reason: Reason, now: float
    ) -> Wait | None:
        """Wait for the first target that may be free, or may be asked, in time."""
        for target in targets:
            wait = None
            match self._case.candidates.why_not(target, now):
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
        retries_max = self._case.route.attempts.same_target
        if retries_max is None:
            retries_max = int(self._case.candidates.is_alone)
        if self._case.route.retry.on_hint is OnHint.WAIT and is_throttle(failure):
            retries_max = max(retries_max, 1)
        if retries_max == 0 or not self._case.candidates.attempts_left():
            return None
        random = self._case.random_for(f"{target.id}/{len(self._case.attempts)}")
        tries = self._case.attempts.counted_at(target)
        wait_s = SameTarget(
            rules=self._case.route.retry,
            retries_max=retries_max,
            precommit_by=self._case.deadlines.precommit_by,
            useful_s=self._case.deadlines.min_useful_s,
            random=random,
        ).wait_s(failure, tries=tries, now=now)
        if wait_s is None:
            return None
        cooldown = self._case.fleet.health(target, now).cooldown
        soon = now + self._case.route.retry.hint_wait_max_s
        if cooldown.is_active(now) and cooldown.until > soon:
            return None  # it did not say when, but was throttled again, or for others
        until = max(now + wait_s, cooldown.resume_at(now, random.random()))
        budget = self._case.fleet.budgets(self._case.route).retries
        if not self._case.deadlines.is_worth_an_attempt(until):
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
        cooldown = self._case.fleet.health(target, now).cooldown
        if cooldown.left_s(now) > self._case.route.retry.hint_wait_max_s:
            return None
        draw = self._case.random_for(f"{target.id}/resume").random()
        until = cooldown.resume_at(now, draw)
        if not self._case.deadlines.is_worth_an_attempt(until) or not cooldown.join():
            return None
        return Wait(target, reason, until, Place.COOLDOWN)

    def _for_slot(self, target: Target, reason: Reason, now: float) -> Wait | None:
        """Stand in line for a slot, if the line has room."""
        case = self._case
        until = case.fleet.lines.join(
            case.route.queue, target.id, case.ticket, by=self._line_by, now=now
        )
        return None if until is None else Wait(target, reason, until, Place.LINE)

    @property
    def _line_by(self) -> float:
        """When a slot would come too late."""
        return self._case.deadlines.precommit_by - self._case.deadlines.min_useful_s

    def is_granted(self, wait: Wait) -> bool:
        """Whether a slot is kept for this exchange."""
        is_line, lines = wait.place is Place.LINE, self._case.fleet.lines
        return is_line and lines.keeps(wait.target.id, self._case.ticket)

    def go_on(self, wait: Wait, now: float) -> Wait | None:
        """The same wait for some longer, where its place in line still stands."""
        if wait.place is not Place.LINE:
            return None
        lines = self._case.fleet.lines
        if not lines.holds(wait.target.id, self._case.ticket, now):
            return None
        until = min(now + LINE_CHECK_S, self._line_by)
        return Wait(wait.target, wait.reason, until, Place.LINE)

    def end(self, wait: Wait, now: float, *, keeps_slot: bool = False) -> None:
        """Give back the place; `keeps_slot` where an attempt uses the slot it got."""
        match wait.place:
            case Place.COOLDOWN:
                self._case.fleet.health(wait.target, now).cooldown.leave()
            case Place.LINE if not keeps_slot:
                lines = self._case.fleet.lines
                lines.leave(wait.target.id, self._case.ticket, now)
            case _:
                pass
