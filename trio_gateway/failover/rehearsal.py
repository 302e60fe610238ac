"""One exchange driven through a history that is made up, in no time.

The engine is the production one; only its world is told. So whoever asks "what would
happen if" (`explain`, tests of what `check` states) gets the engine's own answer, and
no second opinion. The fleet given here is changed as by a real exchange: give it a new
one, or a `shadow` of one at work.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final, assert_never

from trio_gateway.failover.attempts import MisuseError
from trio_gateway.failover.commands import Command, Commit, Dial, Drop, Refuse, WakeAt
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route

# An exchange has at most ten attempts, each with a handful of events; a wait in line
# looks again four times a second.
_MOMENTS_MAX: Final = 100_000

_LATE: Final = Failure(FailureClass.TIMEOUT, "first token late")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an attempt so long after its start: a failure, or its opening."""

    after_s: float
    failure: Failure | None


Fates = Callable[[Dial, float], Fate | None]
"""Decides about an attempt that starts now; None: it stays silent."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One event (None: the start), and what the engine made of it."""

    at: float
    event: Event | None
    commands: tuple[Command, ...]


class LongestDice(Random):
    """Dice that always fall as high as they can: the longest of all possible waits."""

    def random(self) -> float:
        """Just below one."""
        return 1.0 - 2.0**-53

    def uniform(self, a: float, b: float) -> float:
        """The upper end."""
        return b


def rehearse(
    route: Route,
    fleet: Fleet,
    wish: Wish,
    fates: Fates,
    *,
    at: float = 0.0,
    random_for: Callable[[str], Random] = lambda actor: Random(f"rehearsal/{actor}"),
) -> list[Moment]:
    """Drive one exchange from its start to its commit point or its refusal.

    Args:
        route: What it asks for.
        fleet: The health of all targets; changed by it.
        wish: How it asks.
        fates: What becomes of each attempt. Whatever is not over by the attempt's
            limit is late.
        at: When it starts, on the fleet's clock.
        random_for: The dice of an actor, by its name.
    """
    ticket: Hashable = object()
    engine = Engine(route, fleet, wish, ticket=ticket, random_for=random_for)
    stage = _Stage(fates)
    event: Event | None = None
    commands = engine.start(at)
    moments = [Moment(at, None, commands)]
    while not stage.perform(commands, at):
        at, event = _next_event(stage, fleet, ticket, at)
        commands = engine.advance(event, at)
        moments.append(Moment(at, event, commands))
        if len(moments) > _MOMENTS_MAX:
            raise MisuseError("the exchange does not end")
    if stage.winner is not None:
        engine.advance(AnswerEnded(stage.winner), at)
    return moments


def _next_event(
    stage: "_Stage", fleet: Fleet, ticket: Hashable, now: float
) -> tuple[float, Event]:
    if ticket in fleet.calls:
        fleet.calls.clear()
        return now, Called()
    return stage.next_event()


class _Stage:
    """What is under way in one rehearsal."""

    def __init__(self, fates: Fates) -> None:
        self.winner: int | None = None
        self._fates = fates
        self._ends: dict[int, tuple[float, Event]] = {}
        self._alarm_at = inf

    def perform(self, commands: tuple[Command, ...], now: float) -> bool:
        """Do what the engine says; whether that was the last of it."""
        self._alarm_at = inf
        for command in commands:
            match command:
                case Dial():
                    self._ends[command.attempt] = self._end_of(command, now)
                case WakeAt(at):
                    self._alarm_at = at
                case Drop(number):
                    del self._ends[number]
                case Commit(number):
                    self.winner = number
                    return True
                case Refuse():
                    return True
                case _:
                    assert_never(command)
        return False

    def next_event(self) -> tuple[float, Event]:
        """What comes next, and when."""
        number = min(self._ends, key=lambda n: self._ends[n][0], default=None)
        if number is None or self._alarm_at < self._ends[number][0]:
            if self._alarm_at == inf:
                raise MisuseError("nothing is under way, and nothing was decided")
            return self._alarm_at, TimeCame()
        return self._ends.pop(number)

    def _end_of(self, dial: Dial, now: float) -> tuple[float, Event]:
        fate = self._fates(dial, now)
        if fate is None or now + fate.after_s > dial.commit_by:
            return dial.commit_by, AttemptFailed(dial.attempt, _LATE)
        at = now + fate.after_s
        if fate.failure is None:
            return at, Opened(dial.attempt)
        return at, AttemptFailed(dial.attempt, fate.failure)
