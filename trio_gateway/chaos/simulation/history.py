"""One exchange's transcript: what was told to its engine, and what the engine said.

Both drivers can be given the class of their engines, so that one that keeps its history
and is held to the invariants can stand in for the plain one.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from typing import Final

from trio_gateway.chaos.simulation.invariants import Watch
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine, State
from trio_gateway.failover.events import AnswerEnded, AttemptFailed, Event, Opened
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route

_OVER: Final = State.OVER  # found more quickly than the member, in Python 3.11


# Not frozen: that would take four times as long to make, for every step.
@dataclass(slots=True)
class Step:
    """One event (None: the start) and its answer."""

    at: float
    event: Event | None
    commands: tuple[Command, ...]


class History:
    """All steps of one exchange so far."""

    __slots__ = ("denied", "steps", "ticket")

    def __init__(self, ticket: Hashable) -> None:
        self.ticket = ticket
        self.steps: list[Step] = []
        self.denied: dict[str, str] = {}
        """Where it was refused: the targets that could not be asked then, and why."""

    @property
    def commands(self) -> list[tuple[float, Command]]:
        """What the engine said, with when."""
        return [(step.at, command) for step in self.steps for command in step.commands]

    def lines(self) -> list[str]:
        """The history for people, a step a line; times from its start."""
        began_at = self.steps[0].at if self.steps else 0.0
        lines = [
            f"{step.at - began_at:9.3f}  {_event_text(step.event):32} -> "
            + (", ".join(_text(command, began_at) for command in step.commands) or "-")
            for step in self.steps
        ]
        if self.denied:
            named = ", ".join(f"{target}: {why}" for target, why in self.denied.items())
            lines.append(f"{'':11}not asked: {named}")
        return lines


class WatchedEngine(Engine):
    """An engine that keeps its history and is held to the invariants.

    Its one base is called by its name: until Python 3.12, `super()` takes longer than
    the call itself.
    """

    __slots__ = ("history", "watch")

    def __init__(
        self,
        route: Route,
        fleet: Fleet,
        wish: Wish,
        *,
        ticket: Hashable,
        random_for: Callable[[str], Random],
    ) -> None:
        Engine.__init__(self, route, fleet, wish, ticket=ticket, random_for=random_for)
        self.history = History(ticket)
        self.watch: Watch  # once it has started

    def start(self, now: float) -> tuple[Command, ...]:
        """As `Engine.start`."""
        commands = Engine.start(self, now)
        case = self._case
        is_stream = not case.kind.commits_whole
        self.watch = watch = Watch(case.route, now, is_stream=is_stream)
        if case.wish.patience_s is not None:  # which the route does not know
            total_by = now + case.route.timeouts.total_s
            watch.precommit_by = min(case.deadlines.precommit_by, total_by)
        self.history.steps.append(Step(now, None, commands))
        watch.saw(None, commands, now)
        if self.state is _OVER:
            watch.close()
        return commands

    def advance(self, event: Event, now: float) -> tuple[Command, ...]:
        """As `Engine.advance`."""
        commands = Engine.advance(self, event, now)
        self.history.steps.append(Step(now, event, commands))
        self.watch.saw(event, commands, now)
        if self.state is _OVER:
            self.watch.close()
        return commands

    def note_denied(self, now: float) -> None:
        """Note which targets cannot be asked now, and why: for one just refused."""
        case, is_first = self._case, not self.attempts
        for target in case.route.targets:
            why = case.fleet.why_not(case.route, target, is_first=is_first, now=now)
            if why is not None:
                self.history.denied[target.id] = why.value

    @property
    def violations(self) -> list[str]:
        """What was broken so far; all that was, once the exchange is over."""
        return self.watch.violations


def _event_text(event: Event | None) -> str:
    match event:
        case None:
            return "start"
        case AttemptFailed(number, failure):
            return f"{number} failed: {failure.kind}"
        case Opened(number) | AnswerEnded(number):
            return f"{number} {type(event).__name__}"
        case _:
            return type(event).__name__


def _text(command: Command, began_at: float) -> str:
    match command:
        case Dial():
            within_s = command.commit_by - began_at
            return (
                f"dial {command.attempt} {command.target.id} ({command.reason}) "
                f"until {within_s:.3f}"
            )
        case WakeAt(at):
            return f"wake at {at - began_at:.3f}"
        case Drop(number):
            return f"drop {number}"
        case Commit(number):
            return f"commit {number}"
        case Refuse():
            return f"refuse: {command.kind.value}"
