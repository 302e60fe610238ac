"""The failover engine: told what happened and what time it is, it says what to do.

It cannot await, reads no clock and rolls no die of its own, so the relay and the
simulator drive the very same object and a test can try every history it allows.

                    start
                      |
                      v       AttemptFailed: the next target, at once
      TimeCame,  .--------.  -------------------------------------.
      Called     |        | <-------------------------------------'
    .----------> | TRYING |
    |            |        |  TimeCame past the soft limit: the next target beside it
    |            '--------'  -- Opened ------------> COMMITTED -- AnswerEnded --> OVER
    |                |       -- nothing left ------> OVER  (Refuse)
    |                v
    '----------- WAITING     for a backoff, for a throttle's end, or in line for a slot

    ClientLeft and CutShort end it from every state.

Its questions have rooms of their own. Whom next? `candidates`, in the order of
`lineup`. When? `deadlines`, `waiting`, and the alarms below. Beside which? `doubling`.
Is it over? `refusal` says how. What they share is the `case`. A request without trouble
needs the first two alone: the others are made when something is late, or fails.

At most two attempts are alive at once. Each is alive until exactly one of these: it
failed, it was dropped, its answer ended, the client left. The fleet is informed of each
start and of each end, once.
"""

from collections.abc import Callable, Hashable
from enum import Enum
from math import inf
from random import Random
from typing import Final

from trio_gateway.failover import refusal
from trio_gateway.failover.attempts import Attempt, MisuseError
from trio_gateway.failover.case import Case
from trio_gateway.failover.classify import Verdict, meaning_of, moves_on
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Reason,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Deadlines, Wish
from trio_gateway.failover.doubling import Doubling
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    ClientLeft,
    CutShort,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.fleet import Denied, Fleet
from trio_gateway.failover.waiting import Wait, Waiter
from trio_gateway.policy.route import Route, Target

_LIVE_MAX: Final = 2


class State(Enum):
    """Where an exchange is."""

    NEW = "new"
    TRYING = "trying"
    WAITING = "waiting"
    COMMITTED = "committed"
    OVER = "over"


# Python 3.11 takes ten times as long to find a member of an enumeration as to find a
# name, and every request asks for these.
_NEW: Final = State.NEW
_TRYING: Final = State.TRYING
_WAITING: Final = State.WAITING
_COMMITTED: Final = State.COMMITTED
_OVER: Final = State.OVER
_FIRST: Final = Reason.FIRST


class Engine:
    """One exchange's decisions, from its start to its end.

    Args:
        route: what the policy says about the model that was asked for.
        fleet: the health of all targets.
        wish: what the client asked for.
        ticket: this exchange's name, by which the fleet calls it.
        random_for: dice for an actor, by its name; the same name, the same dice.
    """

    __slots__ = ("_case", "_hedge_at", "_move_at", "_waiting", "attempts", "state")

    def __init__(
        self,
        route: Route,
        fleet: Fleet,
        wish: Wish,
        *,
        ticket: Hashable,
        random_for: Callable[[str], Random],
    ) -> None:
        self._case = case = Case(route, fleet, wish, ticket, random_for)
        self.attempts = case.attempts
        self.state = _NEW
        self._waiting: Wait | None = None
        # The alarms, each at inf while it does not ring. (A soft limit's is the
        # attempt's own.)
        self._hedge_at = inf
        self._move_at = inf  # away from a target that opened while we waited there

    @property
    def deadlines(self) -> Deadlines:
        """The instants that bound this exchange; known once it has started."""
        return self._case.deadlines

    def start(self, now: float) -> tuple[Command, ...]:
        """Admit the exchange; say what to do first."""
        if self.state is not _NEW:
            raise MisuseError("an engine starts once")
        self.state = _TRYING
        case = self._case
        case.admit(now)
        commands = self._go_on(_FIRST, None, now)
        if case.route.hedge is not None and self.attempts:
            self._hedge_at = Doubling(case).hedge_due_at(self.attempts[0], now)
        return self._with_alarm(commands)

    def advance(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take one event from the driver; say what to do next.

        Without a `Dial`, `Commit` or `Refuse` it means: go on with what is running.
        """
        if self.state is _COMMITTED:
            return self._after_commit(event, now)
        if self.state is not _TRYING and self.state is not _WAITING:
            raise self._misuse(event)
        match event:
            case Opened():
                return self._commit(self.attempts.alive(event.attempt), now)
            case AttemptFailed(number, failure):
                attempt = self.attempts.alive(number)
                self.attempts.end(attempt, failure, now)
                return self._with_alarm(self._after_failure(attempt, failure, now))
            case TimeCame():
                return self._with_alarm(self._on_alarm(now))
            case Called():
                return self._with_alarm(self._on_call(now))
            case ClientLeft():
                return self._left(now)
            case CutShort():
                drops = self.attempts.drop_all("the gateway is ending", now)
                return (*drops, *self._over(now, refusal.nothing_sent(self._case)))
            case AnswerEnded():
                raise self._misuse(event)

    def _after_commit(self, event: Event, now: float) -> tuple[Command, ...]:
        """There is one winner for ever: nothing is left to decide."""
        match event:
            case AnswerEnded():
                winner = self.attempts.alive(event.attempt)
                self.attempts.end(winner, event.failure, now)
                return self._over(now)
            case ClientLeft():
                return self._left(now)
            case Called():
                return ()
            case _:
                raise self._misuse(event)

    def _left(self, now: float) -> tuple[Command, ...]:
        self.attempts.drop_all("the client left", now)  # as the driver has done
        return self._over(now)

    def _misuse(self, event: Event) -> MisuseError:
        return MisuseError(f"{event!r} cannot happen while {self.state.name}")

    # Whom next?

    def _after_failure(
        self, attempt: Attempt, failure: Failure, now: float
    ) -> tuple[Command, ...]:
        target = attempt.target
        if self._is_redial_due(attempt, failure, now):
            is_first = attempt.number == 1
            why_not = self._case.candidates.why_not
            if why_not(target, now, repeats_first=is_first) is None:
                return self._dial(target, Reason.REDIAL, now)
            # Others may have taken its slot, or been told to stay away.
            is_alone = not self.attempts.live()
            if is_alone and self._wait(
                Waiter(self._case).for_any([target], Reason.REDIAL, now)
            ):
                return ()
        moves = moves_on(failure, self._case.route.fallback_on)
        verdict = meaning_of(failure).verdict
        if verdict is Verdict.CONTEXT and not moves:
            self._case.candidates.enter_context_chain()
        elif verdict is Verdict.STOP and not moves:
            drops = self.attempts.drop_all("the request itself is wrong", now)
            return (*drops, *self._refuse(failure, now))
        elif live := self.attempts.live():
            return self._overlap(now) if all(each.is_slow for each in live) else ()
        elif self._wait(Waiter(self._case).for_retry(target, failure, now)):
            return ()
        elif not moves:
            return self._refuse(failure, now)
        return self._go_on(Reason.FAILOVER, failure, now)

    def _go_on(
        self, reason: Reason, failure: Failure | None, now: float
    ) -> tuple[Command, ...]:
        """Dial the next target; if none can be dialled now, wait, or end."""
        case, candidates = self._case, self._case.candidates
        if not candidates.attempts_left():
            return self._refuse(failure, now)
        is_again = failure is not None and candidates.targets
        if is_again and not case.deadlines.is_worth_an_attempt(now):
            return self._refuse(failure, now, out_of_time=True)
        target = candidates.choice(now)
        if target is None:
            if self.attempts.live():
                return ()  # nobody waits while another attempt may still answer
            if self._wait(Waiter(case).for_any(candidates.targets, reason, now)):
                return ()
            target = candidates.choice(now, in_despair=True)
        if target is None:
            return self._refuse(failure, now)
        return self._dial(target, reason, now)

    def _is_redial_due(self, attempt: Attempt, failure: Failure, now: float) -> bool:
        return (
            meaning_of(failure).verdict is Verdict.REDIAL
            and attempt.reason is not Reason.REDIAL
            and self._case.deadlines.is_worth_an_attempt(now)
        )

    # Waiting

    def _wait(self, wait: Wait | None) -> bool:
        if wait is None:
            return False
        self.state = _WAITING
        self._waiting = wait
        self._hedge_at = self._move_at = inf  # were about attempts that are over
        return True

    def _resume(self, now: float) -> tuple[Command, ...]:
        """Look whether the wait is over, one way or the other."""
        wait, waiter = self._waiting, Waiter(self._case)
        candidates = self._case.candidates
        assert wait is not None
        is_granted = waiter.is_granted(wait)
        if not is_granted and (longer := waiter.go_on(wait, now)):
            self._waiting = longer
            return ()
        # A slot may come from an attempt that was told to stay away, or that broke it.
        is_usable = candidates.why_not(wait.target, now) in (None, Denied.FULL)
        keeps_slot = is_granted and is_usable
        waiter.end(wait, now, keeps_slot=keeps_slot)
        self.state, self._waiting = _TRYING, None
        if keeps_slot or candidates.why_not(wait.target, now) is None:
            return self._dial(wait.target, wait.reason, now)
        candidates.remove(wait.target)
        if not self.attempts:
            return self._go_on(Reason.FIRST, None, now)
        return self._go_on(Reason.FAILOVER, self.attempts[-1].failure, now)

    # When?

    def _with_alarm(self, commands: tuple[Command, ...]) -> tuple[Command, ...]:
        """Add the alarm that is in force from now on."""
        if self._waiting is not None:
            return (*commands, WakeAt(self._waiting.until))
        if self.state is not _TRYING:
            return commands
        at = self._hedge_at
        if self._move_at < at:
            at = self._move_at
        for attempt in self.attempts:
            is_punctual = attempt.ended_at is None and not attempt.lease.sent.is_slow
            if is_punctual and attempt.soft_at < at:
                at = attempt.soft_at
        return commands if at == inf else (*commands, WakeAt(at))

    def _on_alarm(self, now: float) -> tuple[Command, ...]:
        if self._waiting is not None:
            return self._resume(now) if now >= self._waiting.until else ()
        commands: tuple[Command, ...] = ()
        if now >= self._hedge_at:
            self._hedge_at = inf
            commands += self._beside(Reason.HEDGE, Doubling(self._case).hedge(now), now)
        for attempt in self.attempts.live():
            if now >= attempt.soft_at and not attempt.is_slow:
                self.attempts.slow(attempt, now)
                commands += self._on_slow(attempt, now)
        if now >= self._move_at:
            self._move_at = inf
            commands += self._move(now)
        return commands

    def _on_call(self, now: float) -> tuple[Command, ...]:
        if self._waiting is not None:
            is_granted = Waiter(self._case).is_granted(self._waiting)
            return self._resume(now) if is_granted else ()
        for attempt in self.attempts.live():
            leaves_at = Doubling(self._case).leaves_at(attempt, now)
            self._move_at = min(self._move_at, leaves_at)
        return ()

    # Beside which?

    def _on_slow(self, attempt: Attempt, now: float) -> tuple[Command, ...]:
        """Start the next target beside a late one, or instead of it."""
        if overlap := self._overlap(now):
            return overlap
        if Doubling(self._case).is_given_up(attempt, now):
            return self._move(now)
        return ()

    def _overlap(self, now: float) -> tuple[Command, ...]:
        return self._beside(Reason.OVERLAP, Doubling(self._case).overlap(now), now)

    def _beside(
        self, reason: Reason, target: Target | None, now: float
    ) -> tuple[Command, ...]:
        """Dial beside what lives; two live at most."""
        if target is None:
            return ()
        drops: tuple[Command, ...] = ()
        live = self.attempts.live()
        if len(live) == _LIVE_MAX:
            drops = (self.attempts.drop(live[0], "a third attempt was needed", now),)
        return (*drops, *self._dial(target, reason, now))

    def _move(self, now: float) -> tuple[Command, ...]:
        """Leave a target of which nothing is expected any more, for another."""
        target = Doubling(self._case).replacement(now)
        if target is None:
            return ()
        drops = self.attempts.drop_all("its target stopped answering", now)
        return (*drops, *self._dial(target, Reason.FAILOVER, now))

    # Attempts

    def _dial(self, target: Target, reason: Reason, now: float) -> tuple[Command, ...]:
        case = self._case
        case.candidates.remove(target)
        attempt = self.attempts.begin(target, reason, now)
        attempt.lease.is_hurried = case.deadlines.is_hurried
        commit_by = case.deadlines.commit_by(
            attempt.lease.patience,
            case.candidates.later(),
            lambda other: case.fleet.patience(other, case.kind, now),
            now,
        )
        timeouts = target.timeouts
        connect_by = now + timeouts.connect_s
        if connect_by > commit_by:
            connect_by = commit_by
        number, reason, idle_s = attempt.number, attempt.reason, timeouts.idle_s
        return (Dial(number, target, reason, connect_by, commit_by, idle_s),)

    def _commit(self, winner: Attempt, now: float) -> tuple[Command, ...]:
        self.state = _COMMITTED
        self.attempts.open(winner, now)
        if len(self.attempts) == 1:
            return (Commit(winner.number),)
        drops = self.attempts.drop_all("another attempt won", now, but=winner)
        return (*drops, Commit(winner.number))

    # Is it over?

    def _refuse(
        self, failure: Failure | None, now: float, *, out_of_time: bool = False
    ) -> tuple[Command, ...]:
        if self.attempts.live():
            return ()  # another attempt may still answer
        if failure is None:
            return self._over(now, refusal.before_any_attempt(self._case, now))
        return self._over(
            now,
            refusal.after_attempts(self._case, failure, now, out_of_time=out_of_time),
        )

    def _over(self, now: float, *commands: Refuse) -> tuple[Command, ...]:
        if self._waiting is not None:
            Waiter(self._case).end(self._waiting, now)
            self._waiting = None
        self._case.fleet.left(self._case.route)
        self.state = _OVER
        return commands
