"""The failover engine: told what happened and what time it is, it says what to do.

It cannot await, reads no clock and rolls no die of its own, so the relay and the
simulator drive the very same object and a test can try every history it allows.

                    start
                      |
                      v      AttemptFailed: next target, at once
      TimeCame   .--------.  ------------------------------------.
    .----------> | TRYING | <------------------------------------'
    |            '--------'  -- Opened ------------> COMMITTED -- AnswerEnded --> OVER
    |                |       -- nothing left ------> OVER  (Refuse)
    |                v
    '----------- WAITING     before the same target is tried again

    ClientLeft and CutShort end it from every state.

Whom next? The fleet's order, a context-length chain after a context-length error.
When? At once at another target; at the same one as `retry` says. Is it over? When the
attempts, the targets or the time are used up; `refusal` then says how.

Each attempt is alive until exactly one of these: it failed, it was dropped, its answer
ended, the client left. The fleet is informed of each start and of each end, once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from trio_gateway.failover import refusal
from trio_gateway.failover.classify import Verdict, is_throttle, meaning_of
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    Reason,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Deadlines
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    ClientLeft,
    CutShort,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.retry import SameTarget
from trio_gateway.policy.route import OnHint, Route, Target


class MisuseError(Exception):
    """A driver broke the engine's rules: our bug, never caught and carried on."""


class State(Enum):
    """Where an exchange is."""

    NEW = "new"
    TRYING = "trying"
    WAITING = "waiting"
    COMMITTED = "committed"
    OVER = "over"


@dataclass(slots=True)
class Attempt:
    """One upstream request, as the engine remembers it."""

    number: int
    target: Target
    reason: Reason
    started_at: float
    opened_at: float | None = None
    ended_at: float | None = None
    failure: Failure | None = None

    @property
    def is_alive(self) -> bool:
        """Whether something may still be running for it."""
        return self.ended_at is None


class Engine:
    """One exchange's decisions, from its start to its end.

    Args:
        route: what the policy says about the model that was asked for.
        fleet: the health of all targets.
        is_stream: whether the client wants events.
        max_tokens: the answer's length as the client bounds it, if it does.
        random_for: dice for an actor, by its name; the same name, the same dice.
    """

    def __init__(
        self,
        route: Route,
        fleet: Fleet,
        *,
        is_stream: bool,
        max_tokens: int | None = None,
        random_for: Callable[[str], Random],
    ) -> None:
        self.attempts: list[Attempt] = []
        self.state = State.NEW
        self._route = route
        self._fleet = fleet
        self._is_stream = is_stream
        self._max_tokens = max_tokens
        self._random_for = random_for
        self._deadlines: Deadlines
        self._next: list[Target] = []  # targets still to be tried, the best first
        self._in_context_chain = False
        self._attempts_max = 0
        self._retries_max = 0
        self._again: Target | None = None  # whom to try when the wait is over

    @property
    def deadlines(self) -> Deadlines:
        """The instants that bound this exchange; known once it has started."""
        return self._deadlines

    @property
    def winner(self) -> Attempt | None:
        """The attempt whose answer the client gets, once there is one."""
        for attempt in self.attempts:
            if attempt.opened_at is not None:
                return attempt
        return None

    def start(self, now: float) -> tuple[Command, ...]:
        """Admit the exchange; say what to do first."""
        if self.state is not State.NEW:
            raise MisuseError("an engine starts once")
        route = self._route
        self.state = State.TRYING
        self._deadlines = Deadlines.of(
            route, is_stream=self._is_stream, max_tokens=self._max_tokens, now=now
        )
        self._next = list(self._fleet.order(route.targets, now=now))
        self._set_limits(len(self._next))
        if not self._next:
            return self._over(refusal.nothing_sent(self._random_for("refusal")))
        return self._dial_next(Reason.FIRST, now)

    def advance(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take one event from the driver; say what to do next.

        An empty answer means: go on with what is running.
        """
        match self.state, event:
            case State.TRYING | State.WAITING, Opened(number):
                return self._commit(self._alive(number), now)
            case State.TRYING | State.WAITING, AttemptFailed(number, failure):
                attempt = self._alive(number)
                self._end(attempt, failure, now)
                return self._after_failure(attempt, failure, now)
            case State.WAITING, TimeCame():
                assert self._again is not None
                self.state = State.TRYING
                return self._dial(self._again, Reason.RETRY, now)
            case State.COMMITTED, AnswerEnded(number, ending):
                self._end(self._alive(number), ending, now)
                return self._over()
            case State.OVER | State.NEW, _:
                raise MisuseError(f"{event!r} cannot happen while {self.state.name}")
            case _, ClientLeft():  # the driver has cancelled everything by itself
                self._drop_all("the client left", now)
                return self._over()
            case State.TRYING | State.WAITING, CutShort():
                drops = self._drop_all("the gateway is ending", now)
                random = self._random_for("refusal")
                return (*drops, *self._over(refusal.nothing_sent(random)))
            case _:
                raise MisuseError(f"{event!r} cannot happen while {self.state.name}")

    # Whom next?

    def _after_failure(
        self, attempt: Attempt, failure: Failure, now: float
    ) -> tuple[Command, ...]:
        target = attempt.target
        if self._is_redial_due(attempt, failure):
            return self._dial(target, Reason.REDIAL, now)
        verdict = meaning_of(failure).verdict
        if verdict is Verdict.CONTEXT and not self._moves_on(failure):
            self._enter_context_chain()
        elif self._attempts_left() and (again := self._retry(target, failure, now)):
            return again
        elif not self._moves_on(failure):
            return self._refuse(failure, now)
        if self._next and self._attempts_left():
            if self._deadlines.is_worth_an_attempt(now):
                return self._dial_next(Reason.FAILOVER, now)
            return self._refuse(failure, now, out_of_time=True)
        return self._refuse(failure, now)

    def _is_redial_due(self, attempt: Attempt, failure: Failure) -> bool:
        is_first_time = attempt.reason is not Reason.REDIAL
        return meaning_of(failure).verdict is Verdict.REDIAL and is_first_time

    def _moves_on(self, failure: Failure) -> bool:
        fallback_on = self._route.fallback_on
        return (
            failure.kind in fallback_on.classes
            or failure.status in fallback_on.statuses
        )

    def _enter_context_chain(self) -> None:
        if not self._in_context_chain:
            self._in_context_chain = True
            self._next = list(self._route.context_chain)

    def _retry(
        self, target: Target, failure: Failure, now: float
    ) -> tuple[Command, ...]:
        """Wait before the same target, where the policy and the failure allow it."""
        retries_max = self._retries_max
        if self._route.retry.on_hint is OnHint.WAIT and is_throttle(failure):
            retries_max = max(retries_max, 1)
        if retries_max == 0:
            return ()
        counted = [
            attempt
            for attempt in self.attempts
            if attempt.target is target and attempt.reason is not Reason.REDIAL
        ]
        wait_s = SameTarget(
            rules=self._route.retry,
            retries_max=retries_max,
            precommit_by=self._deadlines.precommit_by,
            useful_s=self._deadlines.min_useful_s,
            random=self._random_for(f"{target.id}/{len(self.attempts)}"),
        ).wait_s(failure, tries=len(counted), now=now)
        if wait_s is None:
            return ()
        self.state = State.WAITING
        self._again = target
        return (WakeAt(now + wait_s),)

    # When?

    def _dial_next(self, reason: Reason, now: float) -> tuple[Command, ...]:
        return self._dial(self._next.pop(0), reason, now)

    def _dial(self, target: Target, reason: Reason, now: float) -> tuple[Command, ...]:
        number = len(self.attempts) + 1
        self.attempts.append(Attempt(number, target, reason, now))
        self._fleet.dialled(target, reason, now=now)
        commit_by = self._deadlines.commit_by(
            target, self._next[: self._attempts_left()], now
        )
        return (
            Dial(
                attempt=number,
                target=target,
                reason=reason,
                connect_by=self._deadlines.connect_by(
                    target, commit_by=commit_by, now=now
                ),
                commit_by=commit_by,
                idle_s=target.timeouts.idle_s,
            ),
        )

    def _commit(self, winner: Attempt, now: float) -> tuple[Command, ...]:
        self.state = State.COMMITTED
        winner.opened_at = now
        self._fleet.opened(winner.target, after_s=now - winner.started_at, now=now)
        drops = self._drop_all("another attempt won", now, but=winner)
        return (*drops, Commit(winner.number))

    # Is it over?

    def _set_limits(self, eligible: int) -> None:
        """Fix how many attempts, and how many at one target, there may be."""
        limits = self._route.attempts
        if limits.same_target is None:
            self._retries_max = 1 if eligible == 1 else 0
        else:
            self._retries_max = limits.same_target
        self._attempts_max = limits.max

    def _attempts_left(self) -> int:
        counted = sum(attempt.reason is not Reason.REDIAL for attempt in self.attempts)
        return self._attempts_max - counted

    def _refuse(
        self, failure: Failure, now: float, *, out_of_time: bool = False
    ) -> tuple[Command, ...]:
        if any(attempt.is_alive for attempt in self.attempts):
            return ()  # another attempt may still answer
        failures = [
            attempt.failure
            for attempt in self.attempts
            if attempt.failure is not None
            and attempt.failure.kind is not FailureClass.NOT_PROCESSED
        ]
        if self._is_the_clients_own(failure):
            return self._over(refusal.passed_on(failure))
        ended_by_deadline = (
            failure.kind is FailureClass.TIMEOUT and now >= self._deadlines.precommit_by
        )
        return self._over(
            refusal.refusal_for(
                failures or [failure],
                out_of_time=out_of_time or ended_by_deadline,
                hint_cap_s=self._route.retry.hint_cap_s,
                random=self._random_for("refusal"),
            )
        )

    def _is_the_clients_own(self, failure: Failure) -> bool:
        return meaning_of(failure).verdict in (Verdict.STOP, Verdict.CONTEXT)

    # Accounting

    def _alive(self, number: int) -> Attempt:
        if not 1 <= number <= len(self.attempts):
            raise MisuseError(f"there is no attempt {number}")
        attempt = self.attempts[number - 1]
        if not attempt.is_alive:
            raise MisuseError(f"attempt {number} has ended")
        return attempt

    def _end(self, attempt: Attempt, failure: Failure | None, now: float) -> None:
        attempt.ended_at = now
        attempt.failure = failure
        self._fleet.ended(attempt.target, failure, now=now)

    def _drop_all(
        self, cause: str, now: float, *, but: Attempt | None = None
    ) -> tuple[Command, ...]:
        alive = [each for each in self.attempts if each.is_alive and each is not but]
        for attempt in alive:
            self._end(attempt, Failure(FailureClass.CANCELLED, cause), now)
        return tuple(Drop(attempt.number) for attempt in alive)

    def _over(self, *commands: Refuse) -> tuple[Command, ...]:
        self.state = State.OVER
        return commands
