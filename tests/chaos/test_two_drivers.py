"""Two drivers, one transcript: given the same script, relay and simulator issue the
same commands at the same instants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_route, a_target, with_timeouts
from tests.relay.driver import (
    ROLE,
    WALL,
    FakeClient,
    a_body,
    a_request,
    a_stream,
    an_event,
)
from trio_gateway.chaos.simulation.history import History, WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending, Refusal, Script
from trio_gateway.chaos.worlds.outline import outline_of
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.supply import ScriptedSupply
from trio_gateway.chaos.worlds.world import Arrivals, Clients, World
from trio_gateway.failover.commands import Command, Dial, Refuse, WakeAt
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import (
    CommitMode,
    CommitPoint,
    Hedge,
    Patience,
    Queue,
    Route,
)
from trio_gateway.providers.table import provider_for
from trio_gateway.relay.admission import Admission
from trio_gateway.relay.exchange import Exchange
from trio_gateway.relay.record import Outcome
from trio_gateway.relay.relay import Relay
from trio_gateway.relay.upstream_request import Winner

SEED = "7"


@dataclass(frozen=True)
class Scene:
    """One policy, what its upstreams do in turn, and who asks when."""

    route: Route
    scripts: Mapping[str, Sequence[Behaviour]]
    clients: int = 1
    every_s: float = 1.0
    is_stream: bool = True
    max_tokens: int | None = None
    stays_s: float = inf
    must_see: tuple[str, ...] = field(default=())


def by_relay(scene: Scene) -> list[History]:
    async def main() -> list[History]:
        relay = Relay(
            upstream=ScriptedUpstream.by_account(scene.scripts),
            fleet=Fleet(Random(f"{SEED}/fleet")),
            recorder=lambda _: None,
            wall_clock=lambda: WALL,
            seed=SEED,
            engine=WatchedEngine,
        )
        histories: list[History] = []
        async with trio.open_nursery() as nursery:
            for number in range(scene.clients):
                nursery.start_soon(ask, relay, scene, number, histories)
        return sorted(histories, key=lambda history: history.steps[0].at)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def ask(relay: Relay, scene: Scene, number: int, into: list[History]) -> None:
    await trio.sleep_until(number * scene.every_s)
    fields = {} if scene.max_tokens is None else {"max_tokens": scene.max_tokens}
    exchange = Exchange(
        relay,
        scene.route,
        a_request(stream=scene.is_stream, **fields),
        Admission(f"0/{number + 1}/1", "req", WALL, trio.current_time()),
    )
    try:
        with trio.move_on_after(scene.stays_s):
            settled = await exchange.settle()
            if isinstance(settled, Winner):
                await exchange.deliver(settled, FakeClient())
    finally:
        exchange.conclude(status=None)
        await exchange.aclose()
    engine = exchange._engine
    assert isinstance(engine, WatchedEngine)
    assert not engine.violations
    into.append(engine.history)


def by_simulator(scene: Scene) -> list[History]:
    def outlines(account: str) -> ScriptedSupply:
        target = next(t for t in targets if t.account.name == account)
        return ScriptedSupply(
            tuple(
                outline_of(
                    behaviour,
                    is_stream=scene.is_stream,
                    provider=provider_for(target.account),
                    commit=scene.route.commit,
                    idle_s=target.timeouts.idle_s,
                    wall_now=WALL,
                )
                for behaviour in scene.scripts[account]
            )
        )

    targets = (*scene.route.targets, *scene.route.context_chain)
    histories: list[History] = []

    def keep(engine: Engine, _: Outcome) -> None:
        assert isinstance(engine, WatchedEngine)
        histories.append(engine.history)

    clients = Clients(
        scene.route.slug,
        rate_per_s=1.0 / scene.every_s,
        arrivals=Arrivals.EVEN,
        is_stream=scene.is_stream,
        max_tokens=scene.max_tokens,
        patience=None if scene.stays_s == inf else Spread.always(scene.stays_s),
    )
    world = World((scene.route,), (clients,), (scene.clients - 0.5) * scene.every_s)
    result = Simulator(
        world,
        seed=SEED,
        engine=WatchedEngine,
        supplies={t.id: outlines(t.account.name) for t in targets},
        on_over=keep,
    ).run()
    assert not result.violations
    return sorted(histories, key=lambda history: history.steps[0].at)


def transcript(history: History) -> list[tuple[object, ...]]:
    """What the engine said, times from the exchange's start rounded."""
    began_at = history.steps[0].at
    return [
        (near(at - began_at), *words(command, began_at))
        for at, command in history.commands
    ]


def near(*times: float) -> tuple[float, ...]:
    """Times as they are compared: what rounding made of a sum is no difference."""
    return tuple(round(time, 5) for time in times)


def words(command: Command, began_at: float) -> tuple[object, ...]:
    match command:
        case Dial():
            times = near(command.connect_by - began_at, command.commit_by - began_at)
            return (command.target.id, command.reason, times)
        case WakeAt(at):
            return ("wake", near(at - began_at))
        case Refuse():
            kind = command.failure and command.failure.kind
            return (command.kind, kind, command.retry_after_s, command.is_retry_welcome)
        case _:
            return (type(command).__name__, command.attempt)


GOOD = a_stream(gap_s=0.2)
QUICK = a_stream()
SICK = a_body(b'{"error": {"message": "boom"}}', status=503)
LOST = a_body(b"{}", status=401)
TOO_LONG = a_body(
    b'{"error": {"message": "long", "code": "context_length_exceeded"}}', status=400
)
WRONG = a_body(b'{"error": {"message": "no"}}', status=400)
NOT_JSON = a_body(b'{"choices": [')
ERROR_IN_200 = a_stream(ROLE, b'data: {"error": {"message": "boom"}}\n\n', gap_s=0.1)
ONE_TOKEN = a_stream(ROLE, an_event("Hel"), gap_s=0.3, ending=Ending.CUT)
ONE_TOKEN_THEN_SILENCE = a_stream(ROLE, an_event("Hel"), ending=Ending.HANG)
FIRST_TOKEN_SOON = Patience(soft_s=2.0, hard_s=20.0)


def throttled(seconds: str) -> Script:
    return a_body(
        b'{"error": {"code": "rate_limit_exceeded"}}',
        status=429,
        headers=[("content-type", "application/json"), ("retry-after", seconds)],
    )


def later(seconds: float, script: Script = QUICK) -> Script:
    return Script(script.status, script.headers, seconds, script.steps, script.ending)


SCENES = {
    "the first answers": Scene(a_route("ab"), {"a": [GOOD], "b": [GOOD]}),
    "failover": Scene(a_route("abc"), {"a": [SICK], "b": [ERROR_IN_200], "c": [GOOD]}),
    "backoff before the only target": Scene(
        a_route("a"), {"a": [SICK, GOOD]}, must_see=("retry",)
    ),
    "all fail": Scene(a_route("ab"), {"a": [SICK], "b": [LOST]}),
    "a short throttle is waited out": Scene(
        a_route("a"), {"a": [throttled("2"), GOOD]}, must_see=("wake",)
    ),
    "every target is throttled": Scene(
        a_route("ab"), {"a": [throttled("40")], "b": [throttled("20")]}
    ),
    "a refused and a hanging connection": Scene(
        a_route("abc"),
        {
            "a": [Refusal.CONNECT_REFUSED],
            "b": [Refusal.CONNECT_HANG],
            "c": [GOOD],
        },
    ),
    "a reset and a close": Scene(
        a_route("abc"), {"a": [Refusal.RESET], "b": [Refusal.CLOSE], "c": [GOOD]}
    ),
    "overlap, and the second wins": Scene(
        a_route("ab", is_overlap_on=True),
        {"a": [Refusal.SILENCE], "b": [later(1.0)]},
        must_see=("overlap", "Drop"),
    ),
    "overlap, and the first wins": Scene(
        a_route("ab", is_overlap_on=True),
        {"a": [later(9.5)], "b": [later(5.0)]},
        must_see=("overlap", "Drop"),
    ),
    "overlap, and both fail": Scene(
        a_route("abc", is_overlap_on=True),
        {"a": [later(9.0, SICK)], "b": [later(3.0, SICK)], "c": [GOOD]},
        must_see=("overlap",),
    ),
    "black holes without overlap": Scene(
        a_route("abc"), {name: [Refusal.SILENCE] for name in "abc"}
    ),
    "a context chain": Scene(
        a_route("ab", chain="xy"),
        {"a": [TOO_LONG], "b": [GOOD], "x": [SICK], "y": [GOOD]},
    ),
    "a client's own error": Scene(a_route("ab"), {"a": [WRONG], "b": [GOOD]}),
    "a client that leaves while it waits": Scene(
        a_route("ab", is_overlap_on=True),
        {"a": [Refusal.SILENCE], "b": [Refusal.SILENCE]},
        stays_s=9.0,
        must_see=("overlap",),
    ),
    "a client that leaves in mid-stream": Scene(
        a_route("ab"), {"a": [GOOD], "b": [GOOD]}, stays_s=0.5
    ),
    "a client that leaves in a backoff": Scene(
        a_route("a"), {"a": [throttled("3")]}, stays_s=1.0, must_see=("wake",)
    ),
    "a break after the commit point": Scene(
        a_route("ab"), {"a": [ONE_TOKEN], "b": [GOOD]}
    ),
    "a stream that falls silent": Scene(
        a_route("ab"), {"a": [ONE_TOKEN_THEN_SILENCE], "b": [GOOD]}
    ),
    "commit when whole": Scene(
        a_route("abc", commit=CommitPoint(CommitMode.COMPLETE)),
        {"a": [ONE_TOKEN], "b": [ONE_TOKEN_THEN_SILENCE], "c": [GOOD]},
    ),
    "commit at two tokens": Scene(
        a_route("ab", commit=CommitPoint(CommitMode.TOKENS, 2)),
        {"a": [ONE_TOKEN], "b": [GOOD]},
    ),
    "not streamed": Scene(
        a_route("abc"),
        {"a": [NOT_JSON], "b": [later(130.0, a_body())], "c": [a_body()]},
        is_stream=False,
    ),
    "not streamed, overlapping": Scene(
        a_route("ab", is_overlap_on=True),
        {"a": [later(70.0, a_body())], "b": [a_body()]},
        is_stream=False,
        max_tokens=100,
        must_see=("overlap",),
    ),
    "a target that turns black": Scene(
        a_route("abc", is_overlap_on=True),
        {
            "a": [*[later(0.4)] * 20, Refusal.SILENCE],
            "b": [later(0.43)],
            "c": [later(0.47)],
        },
        clients=60,
        every_s=0.37,
        must_see=("overlap", "failover", "probe"),
    ),
    "hedging": Scene(
        a_route("ab", hedge=Hedge(quantile=0.95, min_delay_s=0.25, max_extra=0.05)),
        {"a": [*[later(0.4)] * 60, later(3.0)], "b": [later(0.53)]},
        clients=65,
        every_s=1.13,
        must_see=("hedge", "Drop"),
    ),
    "in line for a slot": Scene(
        a_route(
            [a_target("a", max_concurrency=1), a_target("b", max_concurrency=1)],
            queue=Queue(max=3, max_wait_s=2.0),
        ),
        {"a": [later(0.91)], "b": [later(1.37)]},
        clients=30,
        every_s=0.41,
        must_see=("wake", "RefusalKind.UNAVAILABLE"),
    ),
    "a target that recovers": Scene(
        a_route("ab", timeouts=with_timeouts(first_token=FIRST_TOKEN_SOON)),
        {"a": [*[later(0.02, SICK)] * 8, later(0.3)], "b": [later(0.31)]},
        clients=80,
        every_s=0.77,
        must_see=("probe",),
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_both_drivers_issue_the_same_commands(name: str) -> None:
    scene = SCENES[name]
    relayed = [transcript(history) for history in by_relay(scene)]
    simulated = [transcript(history) for history in by_simulator(scene)]

    assert len(relayed) == scene.clients
    for number, (one, other) in enumerate(zip(relayed, simulated, strict=True)):
        assert one == other, f"exchange {number}"
    said = {str(word) for one in relayed for said in one for word in said}
    for word in scene.must_see:
        assert word in said, f"this scene shows no {word}"


@pytest.mark.parametrize("seed", range(40))
def test_both_drivers_agree_on_chance_scenes(seed: int) -> None:
    scene = a_chance_scene(Random(f"scenes/{seed}"))
    relayed = [transcript(history) for history in by_relay(scene)]
    simulated = [transcript(history) for history in by_simulator(scene)]

    assert relayed == simulated


def a_chance_scene(dice: Random) -> Scene:
    """Behaviours at times that are all different, so that nothing is a dead heat."""

    def behaviour() -> Behaviour:
        at_s = dice.uniform(0.05, 12.0)
        choices: list[Behaviour] = [
            later(at_s),
            later(at_s / 10),
            later(at_s / 10, SICK),
            later(at_s / 20, throttled("2")),
            later(at_s / 20, LOST),
            later(at_s / 10, ERROR_IN_200),
            Refusal.SILENCE,
            Refusal.CONNECT_REFUSED,
        ]
        return dice.choice(choices)

    names = "abc"[: dice.randint(1, 3)]
    route = a_route(
        names,
        is_overlap_on=dice.random() < 0.7,
        same_target=dice.choice([None, 0, 1]),
        attempts_max=dice.randint(1, 4),
    )
    scripts = {name: [behaviour() for _ in range(12)] for name in names}
    return Scene(route, scripts, clients=12, every_s=dice.uniform(0.3, 4.0))
