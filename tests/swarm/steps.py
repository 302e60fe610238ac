"""What must hold of one step of an exchange, seen together with the fleet.

The engine alone could not be blamed for these: they are about whom it could have asked
instead, by what the fleet says of the targets at that moment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from tests.swarm.books import MAY_PASS
from tests.swarm.shown import ShownEngine
from trio_gateway.failover.commands import Command, Dial, Reason, Refuse, WakeAt
from trio_gateway.failover.engine import State
from trio_gateway.failover.failures import FailureClass
from trio_gateway.failover.fleet import Denied
from trio_gateway.failover.waiting import Wait
from trio_gateway.policy.route import OnHint, Target

# Float arithmetic on instants.
EPSILON_S: Final = 1e-6
# How late a step may be told of in bytes, through a network.
_GRACE_S: Final = 0.05
# Less time than this is no chance, unless the policy gives a target less at all.
_FAIR_S: Final = 2.0


@dataclass(slots=True)
class Seen:
    """What was seen of one exchange so far."""

    eligible: list[Target]  # whom it could ask when it began
    alive: set[int] = field(default_factory=set)  # attempts, by their numbers
    slow: set[int] = field(default_factory=set)
    had_chance: set[str] = field(default_factory=set)  # was dialled, or waited for
    _is_waiting: bool = False

    @classmethod
    def begin(cls, engine: ShownEngine, now: float) -> "Seen":
        """See an exchange that has just begun."""
        fleet, route = engine.fleet, engine.route
        barred = (Denied.DISABLED, Denied.COOLING)
        return cls(
            [
                target
                for target in route.targets
                if fleet.why_not(route, target, is_first=True, now=now) not in barred
            ]
        )

    def new_wait(self, engine: ShownEngine) -> Wait | None:
        """A wait that this step has begun."""
        was_waiting, self._is_waiting = self._is_waiting, engine.state is State.WAITING
        wait = engine.wait
        if wait is not None:
            self.had_chance.add(wait.target.id)
        return wait if self._is_waiting and not was_waiting else None

    def later(self, engine: ShownEngine) -> Sequence[Target]:
        """Who may still be asked, as far as that is sure."""
        ends = [attempt.failure for attempt in engine.attempts]
        is_chained = any(
            end is not None and end.kind is FailureClass.CONTEXT_LENGTH for end in ends
        )
        is_enough = engine.wish.is_client_retry and engine.attempts.has_despaired
        if is_chained or is_enough:
            return ()
        left = engine.route.attempts.max - engine.attempts.counted
        later = [each for each in self.eligible if each.id not in self.had_chance]
        return later[: max(0, left)]


def broken_rules(
    engine: ShownEngine,
    commands: Sequence[Command],
    wait: Wait | None,
    seen: Seen,
    now: float,
) -> Iterator[str]:
    """Every rule that a step breaks; `wait` is the one that it has begun."""
    for command in commands:
        if isinstance(command, Dial):
            yield from _chances(engine, command, seen, now)
        elif isinstance(command, Refuse):
            yield from _refusal(engine, command, seen, now)
    if wait is not None and engine.attempts.live():
        yield "(14) nobody waits for another while an attempt may still answer"
    if wait is not None and wait.reason is Reason.RETRY:
        yield from _retry(engine, wait.target, seen)
    elif wait is not None and wait.reason is not Reason.REDIAL:
        yield from _wait(engine, seen, now)
    if engine.state is State.TRYING:
        yield from _alarm(engine, commands, now)


def _chances(engine: ShownEngine, dial: Dial, seen: Seen, now: float) -> Iterator[str]:
    later = seen.later(engine)
    left_s = engine.deadlines.precommit_by - now
    untried = [each for each in seen.eligible if each.id not in seen.had_chance]
    # Which of them are meant is the fleet's to say: those that need least are sure.
    needed_s = sorted(min(_FAIR_S, engine.limits(each).hard_s) for each in untried)
    kept_s = sum(needed_s[: len(later)])
    # Of a client in haste, all may go to one that can use it.
    sharers = 1 if engine.deadlines.is_hurried else len(later) + 1
    most_s = max(left_s - kept_s, left_s / sharers)
    over_s = dial.commit_by - now - most_s
    if over_s > EPSILON_S:
        yield (
            f"(15) later targets keep a fair chance: {over_s:g} s too much for "
            f"{dial.target.id}"
        )


def _refusal(
    engine: ShownEngine, refuse: Refuse, seen: Seen, now: float
) -> Iterator[str]:
    route, fleet = engine.route, engine.fleet
    ends = [each.failure for each in engine.attempts if each.failure is not None]
    is_final = any(
        end.kind not in route.fallback_on.classes
        and end.status not in route.fallback_on.statuses
        for end in ends
    )
    if is_final or not engine.deadlines.is_worth_an_attempt(now):
        return
    is_first = not engine.attempts
    for target in seen.later(engine):
        denied = fleet.why_not(route, target, is_first=is_first, now=now)
        breaker = fleet.health(target, now).breaker
        is_well = denied is None and not fleet.is_last_resort(target, now)
        if is_well or (denied is Denied.BUDGET and breaker.is_probe_free(now)):
            yield (
                f"(23) nobody is refused while a target could be asked, if only as a "
                f"probe: {refuse.kind.value} instead of {target.id}"
            )


def _wait(engine: ShownEngine, seen: Seen, now: float) -> Iterator[str]:
    fleet, route = engine.fleet, engine.route
    is_first = not engine.attempts
    for target in seen.later(engine):
        if fleet.is_last_resort(target, now):
            continue
        if fleet.why_not(route, target, is_first=is_first, now=now) is None:
            yield f"(14) nobody waits while another target is free: {target.id}"


def _retry(engine: ShownEngine, target: Target, seen: Seen) -> Iterator[str]:
    last = [each for each in engine.attempts if each.target is target][-1].failure
    if last is None or last.kind not in MAY_PASS:
        yield "(6) only what may pass is tried again at one target"
    route = engine.route
    is_hinted = route.retry.on_hint is OnHint.WAIT
    is_free = len(seen.eligible) > 1
    if route.attempts.same_target is None and not is_hinted and is_free:
        yield "(14) nobody waits for one target of several"


def _alarm(
    engine: ShownEngine, commands: Sequence[Command], now: float
) -> Iterator[str]:
    alarm = min((c.at for c in commands if isinstance(c, WakeAt)), default=inf)
    if alarm < now - _GRACE_S:
        yield "(5) what is set to ring is not overdue"
    for attempt in engine.attempts.live():
        if not attempt.is_slow and alarm > max(now, attempt.soft_at) + EPSILON_S:
            yield f"(5) nobody is late unseen: attempt {attempt.number}"
