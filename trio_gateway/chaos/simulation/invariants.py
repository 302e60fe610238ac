"""What must hold in every history of every exchange, stated once.

A `Watch` stands beside one engine and is shown each event with the commands that
answered it. The exhaustive tests, the simulator and the socket tests all use it, so a
rule that is broken anywhere is broken against the same sentence. Each violation is
that sentence, with what was seen.
"""

from typing import Final

from trio_gateway.failover.classify import Verdict, is_throttle, meaning_of, pause_s
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    Reason,
    RefusalKind,
    Refuse,
    WakeAt,
)
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
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route

LIVE_ATTEMPTS_MAX: Final = 2

# Found more quickly than unions and members, in Python 3.11.
_GONE: Final = (ClientLeft, CutShort)
_DOUBLES: Final = (Reason.OVERLAP, Reason.HEDGE)
_FIRST: Final = Reason.FIRST
_REDIAL: Final = Reason.REDIAL
_RETRY: Final = Reason.RETRY
_FAILOVER: Final = Reason.FAILOVER

# Float arithmetic on instants: far below anything that a client could notice.
_EPSILON_S: Final = 1e-9


class Watch:
    """One exchange's history, checked as it grows.

    Args:
        route: what the policy said.
        started_at: when the exchange was admitted.
        is_stream: what the client wanted.
        is_alone: whether no other exchange shares the fleet, so that health cannot be
            a reason to leave a target out.
    """

    __slots__ = (
        "_counted",
        "_live",
        "_not_before",
        "_wakes_at",
        "dials",
        "ended",
        "is_alone",
        "is_over",
        "precommit_by",
        "refusal",
        "route",
        "violations",
        "winner",
    )

    def __init__(
        self,
        route: Route,
        started_at: float,
        *,
        is_stream: bool,
        is_alone: bool = False,
    ) -> None:
        self.route = route
        self.is_alone = is_alone
        self.violations: list[str] = []
        self.dials: dict[int, Dial] = {}
        self.ended: dict[int, Failure | None] = {}
        self.winner: int | None = None
        self.refusal: Refuse | None = None
        self.is_over = False
        most_s = route.timeouts.total_s
        if is_stream and route.timeouts.precommit_s < most_s:
            most_s = route.timeouts.precommit_s
        self.precommit_by = started_at + most_s  # when the commit point must have come
        self._live: list[int] = []  # dialled, and not ended
        self._counted = 0  # dialled, but for redials
        self._wakes_at: float | None = None
        self._not_before: dict[str, float] = {}

    def saw(
        self, event: Event | None, commands: tuple[Command, ...], now: float
    ) -> None:
        """Show one event (None: the start) and what the engine answered."""
        if self.is_over:
            self._broke("nothing happens after the end", event)
        if event is not None:
            self._take(event, now)
        self._wakes_at = None  # an alarm holds until the next answer
        for command in commands:
            self._obey(command, event, now)
        if self._live or self._wakes_at is not None:
            return
        if not self.is_over and self.winner is None:
            self._broke("an exchange that is not over waits for something", event)

    def close(self) -> list[str]:
        """Say that the history is complete, once; return every violation."""
        if not self.is_over:
            self._broke("every exchange ends", None)
        for number in self.dials:
            if number not in self.ended:
                self._broke("every attempt ends", number)
        return self.violations

    def _broke(self, rule: str, what: object) -> None:
        self.violations.append(f"{rule}: {what!r}")

    # What happened

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Opened():
                if self.winner is not None:
                    self._broke("one winner for ever", event)
                self.winner = event.attempt
            case AnswerEnded():
                if event.attempt != self.winner:
                    self._broke("only the winner's answer ends", event)
                self._end(event.attempt, event.failure)
                self.is_over = True
            case AttemptFailed(number, failure):
                self._end(number, failure)
                self._remember_hint(number, failure, now)
            case ClientLeft():
                for number in tuple(self._live):
                    self._end(number, Failure(FailureClass.CANCELLED, "left"))
                self.is_over = True
            case TimeCame() | Called() | CutShort():
                pass

    def _end(self, number: int, failure: Failure | None) -> None:
        if number in self.ended:
            self._broke("every attempt ends once", number)
        self.ended[number] = failure
        if number in self._live:
            self._live.remove(number)

    def _remember_hint(self, number: int, failure: Failure, now: float) -> None:
        if not is_throttle(failure):
            return
        wanted_s = pause_s(failure, cap_s=self.route.retry.hint_cap_s) or 0.0
        target = self.dials[number].target.id
        until = max(self._not_before.get(target, 0.0), now + wanted_s)
        self._not_before[target] = until

    # What the engine said

    def _obey(self, command: Command, event: Event | None, now: float) -> None:
        match command:
            case Dial():
                self._check_dial(command, event, now)
                self._begin(command)
            case WakeAt():
                if not self._live and not now <= command.at <= self.precommit_by:
                    self._broke("no wait passes the deadline", command)
                self._wakes_at = command.at
            case Commit():
                if command.attempt != self.winner:
                    self._broke("the attempt that opened is the one committed", command)
                if self._live != [command.attempt]:
                    self._broke("losers are dropped at the commit", command)
            case Drop(number):
                self._end(number, Failure(FailureClass.CANCELLED, "dropped"))
            case Refuse():
                self._check_refusal(command, event, now)
                self.refusal = command
                self.is_over = True
                if self._live:
                    self._broke("a refusal leaves nothing running", command)

    def _begin(self, dial: Dial) -> None:
        self.dials[dial.attempt] = dial
        self._counted += dial.reason is not _REDIAL
        if dial.attempt not in self.ended and dial.attempt not in self._live:
            self._live.append(dial.attempt)

    def _check_dial(self, dial: Dial, event: Event | None, now: float) -> None:
        if self.winner is not None:
            self._broke("no attempt after the commit point", dial)
        if event is not None:
            self._check_cause(dial, event)
        if dial.attempt != len(self.dials) + 1:
            self._broke("attempts are counted from 1, without gaps", dial)
        if len(self._live) >= LIVE_ATTEMPTS_MAX:
            self._broke("at most two attempts are alive", dial)
        more = dial.reason is not _REDIAL
        if self._counted + more > self.route.attempts.max:
            self._broke("attempts stay within attempts.max", dial)
        if dial.commit_by > self.precommit_by + _EPSILON_S or dial.commit_by <= now:
            self._broke(
                "an attempt ends by the deadline, and not before it starts", dial
            )
        if dial.connect_by > dial.commit_by:
            self._broke("connecting ends before committing must", dial)
        if now + _EPSILON_S < self._not_before.get(dial.target.id, 0.0):
            self._broke("no request before a target's own hint", dial)
        if dial.reason is not _FIRST:
            self._check_reason(dial)

    def _check_reason(self, dial: Dial) -> None:
        if dial.reason is _RETRY and dial.target.id not in self._tried():
            self._broke("only the same target is waited for in a backoff", dial)
        if dial.reason is _FAILOVER and dial.target.id in self._tried():
            self._broke("failover is to another target", dial)
        if dial.reason in _DOUBLES:
            self._check_double(dial)

    def _check_cause(self, dial: Dial, event: Event) -> None:
        if isinstance(event, _GONE):
            self._broke("no attempt for a client that left", dial)
        if isinstance(event, AttemptFailed):
            self._check_step(dial, event)

    def _check_double(self, dial: Dial) -> None:
        alive = {self.dials[number].target.id for number in self._live}
        if not alive:
            self._broke("a duplicate runs beside another attempt", dial)
        if dial.target.id in alive:
            self._broke("a duplicate is for another target", dial)
        if dial.reason is Reason.OVERLAP and not self.route.is_overlap_on:
            self._broke("no overlap where the policy says off", dial)
        if dial.reason is Reason.HEDGE and self.route.hedge is None:
            self._broke("no hedge where the policy says off", dial)
        paid = sum(self._is_paid(number) for number in self.dials) + 1
        if paid > self.route.max_cost_multiplier:
            self._broke("duplicates stay within max_cost_multiplier", dial)

    def _is_paid(self, number: int) -> bool:
        failure = self.ended.get(number)
        if failure is None:
            return True
        is_error = failure.status is not None and failure.status >= 400
        unsent = (FailureClass.CONNECT, FailureClass.NOT_PROCESSED)
        return not is_error and failure.kind not in unsent

    def _check_step(self, dial: Dial, event: AttemptFailed) -> None:
        failed = self.dials[event.attempt]
        verdict = meaning_of(event.failure).verdict
        is_same = dial.target is failed.target
        if dial.reason is Reason.REDIAL:
            if verdict is not Verdict.REDIAL or not is_same:
                self._broke("a redial repeats what was not processed", dial)
            if failed.reason is Reason.REDIAL:
                self._broke("one redial at most", dial)
        elif is_same and len(self.route.targets) > 1:
            self._broke("the same target is asked again only after a wait", dial)
        moves = (
            event.failure.kind in self.route.fallback_on.classes
            or event.failure.status in self.route.fallback_on.statuses
        )
        if verdict is Verdict.STOP and not moves:
            self._broke("a client's own error is final after one attempt", dial)
        is_chained = dial.target in self.route.context_chain
        if verdict is Verdict.CONTEXT and not moves and not is_chained:
            self._broke("a context-length error goes to its chain only", dial)

    def _check_refusal(self, refuse: Refuse, event: Event | None, now: float) -> None:
        failures = [
            failure
            for failure in self.ended.values()
            if failure is not None
            and failure.kind not in (FailureClass.CANCELLED, FailureClass.NOT_PROCESSED)
        ]
        last = event.failure if isinstance(event, AttemptFailed) else None
        match refuse.kind:
            case RefusalKind.CLIENT_ERROR:
                said = refuse.failure
                if said not in failures or meaning_of(said).verdict not in (
                    Verdict.STOP,
                    Verdict.CONTEXT,
                ):
                    self._broke("only a client's own error is passed on", refuse)
            case RefusalKind.RATE_LIMITED:
                if not all(map(is_throttle, failures)):
                    self._broke("429 only if every target was throttled", refuse)
            case RefusalKind.DEADLINE_EXCEEDED:
                is_late = all(f.kind is FailureClass.TIMEOUT for f in failures)
                if not is_late and now + 0.5 < self.precommit_by:
                    self._broke("504 only if time ended it", refuse)
            case RefusalKind.UNAVAILABLE:
                if self.dials and not isinstance(event, CutShort):
                    self._broke("503 only if nothing was sent", refuse)
            case RefusalKind.UPSTREAM_FAILED:
                if failures and all(map(is_throttle, failures)):
                    self._broke("throttled targets are told as 429", refuse)
        if last is not None and self.is_alone:
            self._check_not_given_up(refuse, last, now)

    def _check_not_given_up(self, refuse: Refuse, last: Failure, now: float) -> None:
        """A target that could still be tried is tried."""
        moves = (
            last.kind in self.route.fallback_on.classes
            or last.status in self.route.fallback_on.statuses
        )
        wanted = self.route.targets
        if (
            any(
                failure is not None and failure.kind is FailureClass.CONTEXT_LENGTH
                for failure in self.ended.values()
            )
            and FailureClass.CONTEXT_LENGTH not in self.route.fallback_on.classes
        ):
            wanted = self.route.context_chain
            moves = moves or last.kind is FailureClass.CONTEXT_LENGTH
        untried = [target for target in wanted if target.id not in self._tried()]
        has_time = now + 0.5 <= self.precommit_by
        has_attempts = self._counted < self.route.attempts.max
        if moves and untried and has_time and has_attempts:
            self._broke("never gives up while a target is untried", refuse)

    def _tried(self) -> set[str]:
        return {dial.target.id for dial in self.dials.values()}
