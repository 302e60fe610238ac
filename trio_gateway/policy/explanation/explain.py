"""What becomes of a request to one model: who is tried, when, on what, until when.

Nothing here knows a rule of failover. The production engine is driven, with the health
that is given, through the histories that matter, and what it then did is told:

    silent       no attempt ever says a word       (streamed, and not)
    failing      every attempt fails at once
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from trio_gateway.failover.commands import (
    Dial,
    Drop,
    Reason,
    RefusalKind,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.events import AttemptFailed
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.rehearsal import (
    Fate,
    Fates,
    LongestDice,
    Moment,
    rehearse,
)
from trio_gateway.failover.view import TargetView, describe
from trio_gateway.policy.judgement.bounds import Bounds, bounds_of
from trio_gateway.policy.route import CommitMode, OnHint, Route

_SERVER_ERROR: Final = Failure(FailureClass.SERVER_ERROR, "server error", 500)
# A chat's usual question: short, and its answer neither.
_STREAM: Final = Wish(is_stream=True)
_WHOLE: Final = Wish(is_stream=False)

# What the client gets, in the words of the API.
REFUSALS: Final = {
    RefusalKind.CLIENT_ERROR: "the provider's own error",
    RefusalKind.RATE_LIMITED: "429 rate_limited",
    RefusalKind.DEADLINE_EXCEEDED: "504 deadline_exceeded",
    RefusalKind.UNAVAILABLE: "503 unavailable",
    RefusalKind.UPSTREAM_FAILED: "502 upstream_failed",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A target is asked."""

    at_s: float
    attempt: int
    target: str
    reason: Reason
    until_s: float  # when the attempt is given up


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over: it failed, or was dropped for another one (no failure)."""

    at_s: float
    attempt: int
    target: str
    failure: FailureClass | None


@dataclass(frozen=True, slots=True)
class Waited:
    """Nothing is under way until then."""

    at_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The client gets an error; a hint when to come back may stand in it."""

    at_s: float
    client_gets: str
    retry_after_s: float | None


Step = Asked | Ended | Waited | Refused


@dataclass(frozen=True, slots=True)
class Timeline:
    """One history: what it is called, what is assumed, what then happens."""

    name: str
    assumed: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is to be said of one route, with the health that was given."""

    route: Route
    targets: tuple[TargetView, ...]  # instants are those of `now`'s clock
    now: float
    bounds: Bounds
    timelines: tuple[Timeline, ...]


def explain(route: Route, fleet: Fleet, now: float = 0.0) -> Explanation:
    """Explain a route. Each history is driven on a copy of the fleet."""

    def at_once(_: Dial, __: float) -> Fate:
        return Fate(0.0, _SERVER_ERROR)

    def never(_: Dial, __: float) -> None:
        return None

    scenes: Sequence[tuple[str, str, Wish, Fates]] = (
        ("silent", "every attempt stays silent (streamed)", _STREAM, never),
        ("silent-whole", "every attempt stays silent (not streamed)", _WHOLE, never),
        ("failing", "every attempt fails at once (server_error)", _STREAM, at_once),
    )
    if route.commit.mode is CommitMode.COMPLETE:
        scenes = scenes[1:]  # a streamed answer is then held like a whole one

    def history(wish: Wish, fates: Fates) -> tuple[Step, ...]:
        stage = fleet.shadow(route, now)
        moments = rehearse(route, stage, wish, fates, at=now, random_for=_dice)
        return _steps(moments, now)

    return Explanation(
        route=route,
        targets=describe(fleet.shadow(route, now), [route], now).targets,
        now=now,
        bounds=bounds_of(route),
        timelines=tuple(
            Timeline(name, assumed, history(wish, fates))
            for name, assumed, wish, fates in scenes
        ),
    )


def _dice(actor: str) -> Random:
    """Waits are as long as they may be; the order of targets is one of the likely."""
    return Random("explain") if actor == "lineup" else LongestDice()


def _steps(moments: Sequence[Moment], began_at: float) -> tuple[Step, ...]:
    """What happened; one wait for all the looks at a line in a row."""
    steps: list[Step] = []
    for step in _all_steps(moments, began_at):
        last = steps[-1] if steps else None
        if isinstance(step, Waited) and isinstance(last, Waited):
            step = Waited(last.at_s, step.until_s)
            steps.pop()
        steps.append(step)
    return tuple(steps)


def _all_steps(moments: Sequence[Moment], began_at: float) -> Iterator[Step]:
    targets: dict[int, str] = {}
    alive: set[int] = set()
    for moment in moments:
        at_s = moment.at - began_at
        event = moment.event
        if isinstance(event, AttemptFailed):
            number = event.attempt
            alive.discard(number)
            yield Ended(at_s, number, targets[number], event.failure.kind)
        wakes_at = None
        for command in moment.commands:
            match command:
                case Dial(number, target, reason):
                    targets[number] = target.id
                    alive.add(number)
                    until_s = command.commit_by - began_at
                    yield Asked(at_s, number, target.id, reason, until_s)
                case Drop(number):
                    alive.discard(number)
                    yield Ended(at_s, number, targets[number], None)
                case Refuse(kind):
                    yield Refused(at_s, REFUSALS[kind], command.retry_after_s)
                case WakeAt(at):
                    wakes_at = at
                case _:
                    pass
        if wakes_at is not None and not alive:
            yield Waited(at_s, wakes_at - began_at)


def moves_on(route: Route) -> list[str]:
    """The failures after which the next target is tried, as a policy writes them."""
    movers = [kind for kind in FailureClass if kind in route.fallback_on.classes]
    return [*movers, *map(str, sorted(route.fallback_on.statuses))]


def is_asked_again(route: Route) -> str:
    """How often one target is tried, in words."""
    rules = route.retry
    match route.attempts.same_target:
        case None:
            again = "once more if it is the only one that can be asked"
        case 0:
            again = "never a second time"
        case 1:
            again = "once more"
        case times:
            again = f"up to {times} times more"
    if route.attempts.same_target != 0:
        again += f", after up to {_backoff(route)}"
    if rules.on_hint is OnHint.WAIT:
        again += (
            f"; if it says when to come back, and that is within "
            f"{rules.hint_wait_max_s:g}s, it is waited for first"
        )
    return again


def _backoff(route: Route) -> str:
    rules = route.retry
    return f"{rules.backoff_initial_s:g}s, doubled to {rules.backoff_max_s:g}s at most"
