"""What `check` states of a policy, against what the engine then does at its worst.

Each random route is driven through histories that are made to hurt: silence, failures
at the last moment, connections that had died, throttles that other requests met. What
is stated is never exceeded, and it is no idle talk: for most routes, some history comes
close to it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.policy.random_routes import random_route
from trio_gateway.failover.commands import Commit, Dial, Reason
from trio_gateway.failover.cooldown import Disabled, Disablement
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.events import AttemptFailed
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.rehearsal import Fate, LongestDice, Moment, rehearse
from trio_gateway.policy.explanation.explain import Asked, explain
from trio_gateway.policy.explanation.given import Ill, impose, parse_given
from trio_gateway.policy.judgement.bounds import bounds_of
from trio_gateway.policy.route import Route, Target

ROUTES = 1_000
WHIMS = 4
EXPLAINED = 200
# A hair before a limit, so that what happens there still counts.
A_HAIR = 1e-9

STREAM = Wish(is_stream=True)
WHOLE = Wish(is_stream=False, max_tokens=200)

SERVER_ERROR = Failure(FailureClass.SERVER_ERROR, "made up", 500)
NONSENSE = Failure(FailureClass.BAD_ANSWER, "made up", 200)
IN_STREAM = Failure(FailureClass.SERVER_ERROR, "error inside a 200", 200)
THROTTLED = Failure(FailureClass.RATE_LIMIT, "made up", 429, retry_after_s=0.01)
DEAD = Failure(FailureClass.NOT_PROCESSED, "reused connection was closed")
TOO_LONG = Failure(FailureClass.CONTEXT_LENGTH, "too long", 400)


@dataclass(frozen=True)
class Manner:
    """How all attempts of one exchange go.

    Args:
        ends: how each fails; None: it stays silent.
        is_late: whether it fails just before its limit, rather than at once.
        meets_dead: whether each first meets a connection that had died.
        others_throttle: whether each failure comes when other requests have just been
            throttled, here and elsewhere, for as long as hurts most.
        is_alone: whether all other targets are disabled.
        opens_at: the attempt that is answered just before its limit, if any.
    """

    ends: Failure | None = None
    is_late: bool = False
    meets_dead: bool = False
    others_throttle: bool = False
    is_alone: bool = False
    opens_at: int = 0


def manners(attempts: int) -> list[Manner]:
    late_and_dead = {"is_late": True, "meets_dead": True}
    return [
        Manner(),
        Manner(opens_at=attempts),
        Manner(SERVER_ERROR, meets_dead=True),
        Manner(SERVER_ERROR, meets_dead=True, is_alone=True),
        Manner(IN_STREAM),
        Manner(IN_STREAM, is_alone=True),
        Manner(NONSENSE),
        Manner(NONSENSE, **late_and_dead, others_throttle=True),
        Manner(NONSENSE, **late_and_dead, others_throttle=True, opens_at=attempts),
        Manner(SERVER_ERROR, **late_and_dead, others_throttle=True),
        Manner(SERVER_ERROR, is_alone=True, others_throttle=True, opens_at=2),
        Manner(THROTTLED, meets_dead=True),
    ]


class Villain:
    """Decides what becomes of each attempt of one exchange."""

    def __init__(self, route: Route, fleet: Fleet, wish: Wish, manner: Manner) -> None:
        self._route = route
        self._fleet = fleet
        self._manner = manner
        timeouts = route.timeouts
        self._ends_by = timeouts.total_s
        if wish.is_stream:
            self._ends_by = min(timeouts.total_s, timeouts.precommit_s)
        self._counted = 0
        if manner.is_alone:
            for other in route.targets[1:]:
                out_of_use = Disablement.begin(Disabled.OPERATOR, 0.0)
                fleet.health(other, 0.0).disable(out_of_use)

    def __call__(self, dial: Dial, now: float) -> Fate | None:
        manner = self._manner
        self._counted += dial.reason is not Reason.REDIAL
        left_s = dial.commit_by - now - A_HAIR
        after_s = max(0.0, left_s) if manner.is_late else 0.0
        if manner.meets_dead and dial.reason is not Reason.REDIAL:
            return Fate(after_s, DEAD)
        if self._counted == manner.opens_at:
            return Fate(left_s, None)
        if manner.others_throttle:
            self._throttle(dial.target, now + after_s)
        if self._is_too_long(dial.target):
            return Fate(after_s, TOO_LONG)
        return None if manner.ends is None else Fate(after_s, manner.ends)

    def _is_too_long(self, target: Target) -> bool:
        """Whether the prompt is: at the last of the usual targets, the last time."""
        route = self._route
        usual = 1 if self._manner.is_alone else len(route.targets)
        tries = 1 + (route.attempts.same_target or 0)
        if self._manner.is_alone and route.attempts.same_target is None:
            tries = 2
        is_usual = any(target is each for each in route.targets)
        return bool(route.context_chain) and is_usual and self._counted >= usual * tries

    def _throttle(self, here: Target, at: float) -> None:
        """Let every target ask for rest, from this moment on."""
        rules = self._route.retry
        # A waiter resumes up to half of the rest later, and must then have some time.
        here_s = min(rules.hint_cap_s, max(0.0, self._ends_by - at) * 0.62)
        for target in (*self._route.targets, *self._route.context_chain):
            rest_s = here_s if target is here else rules.hint_wait_max_s - A_HAIR
            cooldown = self._fleet.health(target, at).cooldown
            cooldown.hint(at, rest_s, default_s=rest_s, cap_s=rest_s)


class Whim:
    """Decides by dice, and lets other requests be throttled now and then."""

    def __init__(self, fleet: Fleet, route: Route, dice: Random) -> None:
        self._fleet = fleet
        self._targets = (*route.targets, *route.context_chain)
        self._dice = dice

    def __call__(self, dial: Dial, now: float) -> Fate | None:
        dice = self._dice
        after_s = (dial.commit_by - now) * dice.choice((0.0, dice.random(), 1.0))
        for target in self._targets:
            if dice.random() < 0.3:
                rest_s = dice.choice((0.5, 5.0, 100.0)) * dice.random()
                cooldown = self._fleet.health(target, now).cooldown
                cooldown.hint(now + after_s, rest_s, default_s=1.0, cap_s=300.0)
        ends = (None, SERVER_ERROR, NONSENSE, IN_STREAM, THROTTLED, DEAD, TOO_LONG)
        failure = dice.choice(ends)
        if failure is None and dice.random() < 0.9:
            return None
        return Fate(after_s, failure)


def worst_of(route: Route) -> dict[str, float]:
    """The worst that any history does to a route, by the names of `Bounds`."""
    worst: dict[str, float] = {}
    for wish, moments in histories(route):
        for name, value in seen_in(moments, wish):
            worst[name] = max(worst.get(name, 0.0), value)
    return worst


def longest(_actor: str) -> Random:
    return LongestDice()


def histories(route: Route) -> Iterator[tuple[Wish, list[Moment]]]:
    for wish in (STREAM, WHOLE):
        for manner in manners(bounds_of(route).attempts):
            fleet = Fleet(Random("fleet"))
            fates = Villain(route, fleet, wish, manner)
            yield wish, rehearse(route, fleet, wish, fates, random_for=longest)
        for number in range(WHIMS):
            fleet = Fleet(Random("fleet"))
            whim = Whim(fleet, route, Random(f"{route.timeouts}/{number}"))
            yield wish, rehearse(route, fleet, wish, whim)


def seen_in(moments: list[Moment], wish: Wish) -> Iterator[tuple[str, float]]:
    dials: list[Dial] = []
    failures: dict[int, Failure] = {}
    for moment in moments:
        if isinstance(moment.event, AttemptFailed):
            failures[moment.event.attempt] = moment.event.failure
        for command in moment.commands:
            if isinstance(command, Dial):
                dials.append(command)
                if command.reason in (Reason.OVERLAP, Reason.HEDGE):
                    yield "cost_for_speed", cost(dials, failures)
    last = moments[-1]
    yield "attempts", sum(dial.reason is not Reason.REDIAL for dial in dials)
    yield "requests", len(dials)
    yield "cost", cost(dials, failures)
    how = "stream" if wish.is_stream else "answer"
    yield f"{how}_s", last.at
    if any(isinstance(command, Commit) for command in last.commands):
        yield f"{how}_opened_s", last.at


def cost(dials: list[Dial], failures: dict[int, Failure]) -> int:
    """How many prompts were read, by who answered no error and was reached at all."""

    def is_paid(dial: Dial) -> bool:
        failure = failures.get(dial.attempt)
        if failure is None or failure.status is None:
            return failure is not DEAD
        return failure.status < 400

    return sum(map(is_paid, dials))


STATED = {
    "attempts": "attempts",
    "requests": "requests",
    "cost": "cost",
    "cost_for_speed": "cost_for_speed",
    "stream_s": "stream_s",
    "answer_s": "answer_s",
    "stream_opened_s": "stream_s",
    "answer_opened_s": "answer_s",
}


def test_no_explanation_exceeds_what_is_stated() -> None:
    for seed in range(EXPLAINED):
        route, dice = random_route(seed), Random(f"given/{seed}")
        fleet = Fleet(Random("fleet"))
        ills = [f"t0/m={dice.choice(list(Ill))}", "t1/m=throttled:2s", "t2/m=open"]
        known = [ill for ill in ills if any(t.id in ill for t in route.targets)]
        impose(parse_given(",".join(known)), route, fleet, 0.0)
        bounds = bounds_of(route)
        for timeline in explain(route, fleet).timelines:
            is_whole = timeline.name == "silent-whole"
            most_s = bounds.answer_s if is_whole else bounds.stream_s
            assert timeline.steps[-1].at_s <= most_s + 1e-6, (seed, timeline)
            asked = [step for step in timeline.steps if isinstance(step, Asked)]
            assert len(asked) <= bounds.attempts, (seed, timeline)


def test_no_history_exceeds_what_is_stated_and_most_come_close() -> None:
    reached: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for seed in range(ROUTES):
        route = random_route(seed)
        bounds = bounds_of(route)
        for name, worst in worst_of(route).items():
            stated = getattr(bounds, STATED[name])
            assert worst <= stated + 1e-6, f"random_route({seed}): {name}"
            of[name] += 1
            reached[name] += worst >= 0.9 * stated
    shares = {name: reached[name] / of[name] for name in STATED}
    assert all(share >= 0.5 for share in shares.values()), shares
