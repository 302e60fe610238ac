"""What `check` and `explain` state of a policy, against what the simulator then does.

Each random route is played through weather that is made to hurt. What is stated is
exceeded by no exchange, and for most routes some exchange comes within a tenth of it.
`test_bounds` does the same with histories that no weather has.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

from tests.policy.random_routes import random_route
from tests.policy.worst_weather import (
    DEAD,
    SERVER_ERROR,
    Weather,
    play,
    weathers,
)
from trio_gateway.chaos.simulation.history import History
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.failover.commands import Commit, Dial, Reason, Refuse
from trio_gateway.failover.events import AttemptFailed
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.explanation.explain import Asked, explain
from trio_gateway.policy.judgement.bounds import bounds_of
from trio_gateway.policy.route import Route

ROUTES = 1_000
# A silent world is the same for both; not every weather is played without streams.
PLAYED_WHOLE = ("silence", "by dice")
CLOSE = 0.9

# By the names of `explain`'s histories: the weather in which they are to happen.
EXPLAINED = {
    "silent": (Weather("silence", Hangs()), True),
    "silent-whole": (Weather("silence", Hangs()), False),
    "failing": (Weather("errors", Fails(SERVER_ERROR)), True),
}


def seen_in(history: History, *, is_stream: bool) -> Iterator[tuple[str, float]]:
    """What became of one exchange, by the names of `Bounds`."""
    began_at = history.steps[0].at
    dials: list[Dial] = []
    failures: dict[int, Failure] = {}
    for step in history.steps:
        if isinstance(step.event, AttemptFailed):
            failures[step.event.attempt] = step.event.failure
        for command in step.commands:
            match command:
                case Dial(reason=Reason.OVERLAP | Reason.HEDGE):
                    dials.append(command)
                    yield "cost_for_speed", cost(dials, failures)
                case Dial():
                    dials.append(command)
                case Commit() | Refuse():
                    yield f"{'stream' if is_stream else 'answer'}_s", step.at - began_at
                case _:
                    pass
    yield "attempts", sum(dial.reason is not Reason.REDIAL for dial in dials)
    yield "requests", len(dials)
    yield "cost", cost(dials, failures)
    if is_stream:
        yield "total_s", history.steps[-1].at - began_at


def cost(dials: list[Dial], failures: dict[int, Failure]) -> int:
    """How many prompts were read, by who was reached and answered no error."""

    def is_paid(dial: Dial) -> bool:
        failure = failures.get(dial.attempt)
        if failure is None:
            return True
        if failure == DEAD or failure.kind is FailureClass.CONNECT:
            return False
        return failure.status is None or failure.status < 400

    return sum(map(is_paid, dials))


def worst_of(route: Route, seed: int) -> dict[str, tuple[float, str]]:
    """The worst that any exchange met, and in which weather."""
    worst: dict[str, tuple[float, str]] = {}
    for weather in weathers(route, Random(f"weather/{seed}")):
        for is_stream in (True, False):
            if not is_stream and weather.name not in PLAYED_WHOLE:
                continue
            for history in play(route, weather, is_stream=is_stream):
                for name, value in seen_in(history, is_stream=is_stream):
                    if name not in worst or value > worst[name][0]:
                        worst[name] = value, weather.name
    return worst


def test_no_weather_exceeds_what_check_states_and_most_come_close() -> None:
    reached: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for seed in range(ROUTES):
        route = random_route(seed)
        bounds = bounds_of(route)
        for name, (worst, weather) in worst_of(route, seed).items():
            stated = getattr(bounds, name)
            assert worst <= stated + 1e-6, f"random_route({seed}): {name}, {weather}"
            of[name] += 1
            reached[name] += worst >= CLOSE * stated
    shares = {name: reached[name] / of[name] for name in of}
    assert len(shares) == 7
    assert all(share >= 0.5 for share in shares.values()), shares


def test_whom_explain_tells_the_simulator_asks_and_nobody_waits_longer() -> None:
    as_told: Counter[str] = Counter()
    reached: Counter[str] = Counter()
    of: Counter[str] = Counter()
    for seed in range(ROUTES):
        route = random_route(seed)
        for timeline in explain(route, Fleet(Random("fleet"))).timelines:
            weather, is_stream = EXPLAINED[timeline.name]
            (history,) = play(route, weather, is_stream=is_stream)
            asked = [
                (command.target.id, command.reason)
                for _, command in history.commands
                if isinstance(command, Dial)
            ]
            waited_s, told_s = history.steps[-1].at, timeline.steps[-1].at_s
            of[timeline.name] += 1
            if asked != [
                (step.target, step.reason)
                for step in timeline.steps
                if isinstance(step, Asked)
            ]:
                # A backoff is told as long as it can be, and where that does not fit
                # into what is left, nobody is asked again: luckier dice may fit.
                continue
            as_told[timeline.name] += 1
            assert waited_s <= told_s + 1e-6, f"random_route({seed}): {timeline.name}"
            reached[timeline.name] += waited_s >= CLOSE * told_s
    assert set(of) == set(EXPLAINED)
    assert all(as_told[name] >= 0.9 * of[name] for name in of), as_told
    assert all(reached[name] >= 0.5 * of[name] for name in of), reached
