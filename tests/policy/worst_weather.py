"""A route in the simulator, under weather that is made to hurt."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from trio_gateway.chaos.simulation.history import History, WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.worlds.outline import Fails, Hangs, Outline
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.supply import DrawnSupply, Supply
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Breaks,
    Clients,
    Effect,
    SimulatedTarget,
    Slows,
    Spell,
    World,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route, Target

# Each run ends with the last exchange. A simulated second costs as much as ten events.
DURATION_S = 10.0
ALONE = Clients("", rate_per_s=1.0, until_s=0.5, arrivals=Arrivals.EVEN)
ENDLESS = replace(ALONE, answer_tokens=Spread.always(1e6))
# They stand in line where few are served.
AT_ONCE = Clients("", rate_per_s=20.0, until_s=0.2, arrivals=Arrivals.EVEN)
# The later ones meet what the fleet has learned of the first.
ONE_BY_ONE = Clients("", rate_per_s=0.5, until_s=9.0, arrivals=Arrivals.EVEN)

SERVER_ERROR = Failure(FailureClass.SERVER_ERROR, "made up", 500)
NONSENSE = Failure(FailureClass.BAD_ANSWER, "made up", 200)
IN_STREAM = Failure(FailureClass.SERVER_ERROR, "error inside a 200", 200)
DEAD = Failure(FailureClass.NOT_PROCESSED, "reused connection was closed")
TOO_LONG = Failure(FailureClass.CONTEXT_LENGTH, "too long", 400)
UNREACHABLE = Failure(FailureClass.CONNECT, "connection refused")


@dataclass(frozen=True)
class Weather:
    """How all targets fare in one run.

    Args:
        name: what a failed test calls it.
        effect: what strikes every request; None: `of` says it all.
        of: spells of single targets, in place of that.
        is_dead_first: whether each attempt first meets a connection that had died.
        clients: who comes.
    """

    name: str
    effect: Effect | None = None
    of: dict[str, tuple[Spell, ...]] = field(default_factory=dict)
    is_dead_first: bool = False
    clients: Clients = ALONE


def weathers(route: Route, dice: Random) -> Iterator[Weather]:
    """The worst for a route, and one by dice."""
    hint_s = 0.99 * route.retry.hint_wait_max_s
    throttled = Failure(FailureClass.RATE_LIMIT, "made up", 429, retry_after_s=hint_s)
    yield Weather("silence", Hangs())
    yield Weather("errors, each after a dead connection", Fails(SERVER_ERROR), {}, True)
    yield Weather("errors inside answers", Fails(IN_STREAM, 0.2))
    yield Weather("throttled", Fails(throttled, 0.05))
    yield Weather("silence, and few slots", Hangs(), clients=AT_ONCE)
    yield Weather("answers without end", clients=ENDLESS)
    of = {t.id: by_dice(dice) for t in targets_of(route)}
    yield Weather("by dice", of=of, clients=ONE_BY_ONE)
    if route.context_chain:
        spells: dict[str, tuple[Spell, ...]] = {
            target.id: (Spell(Hangs()),) for target in route.context_chain
        }
        spells[route.targets[-1].id] = (Spell(Fails(TOO_LONG, 0.1)),)
        yield Weather("too long for the last", Fails(NONSENSE, 0.2), spells)


def targets_of(route: Route) -> tuple[Target, ...]:
    return (*route.targets, *route.context_chain)


def by_dice(dice: Random) -> tuple[Spell, ...]:
    """A few spells, on and off, on some of the requests."""
    ways = (SERVER_ERROR, NONSENSE, UNREACHABLE, DEAD)
    effects: list[Effect] = [
        Hangs(),
        Hangs(is_connected=False),
        Slows(dice.choice((3.0, 30.0))),
        Breaks(),
        *(Fails(failure, dice.choice((0.0, 0.3, 3.0))) for failure in ways),
    ]
    return tuple(
        Spell(
            dice.choice(effects),
            share=dice.choice((0.3, 0.6, 1.0)),
            flaps=dice.choice((None, (dice.uniform(0.5, 9.0), dice.uniform(0.5, 9.0)))),
        )
        for _ in range(dice.choice((1, 2, 3)))
    )


class DeadFirst:
    """A supply whose every other connection had died before it was used."""

    def __init__(self, living: Supply) -> None:
        self._living = living
        self.line = living.line

    def outline(
        self, name: str, *, tokens: int, opens_at_token: int, now: float
    ) -> Outline:
        turn = int(name.rpartition("/")[2])
        if turn % 2:
            return Fails(DEAD)
        return self._living.outline(
            name, tokens=tokens, opens_at_token=opens_at_token, now=now
        )


def play(route: Route, weather: Weather, *, is_stream: bool) -> list[History]:
    """Run it; what became of each exchange, none of which broke an invariant."""
    everywhere = () if weather.effect is None else (Spell(weather.effect),)
    specs = {
        target.id: SimulatedTarget(spells=weather.of.get(target.id, everywhere))
        for target in targets_of(route)
    }
    clients = replace(weather.clients, slug=route.slug, is_stream=is_stream)
    world = World((route,), (clients,), DURATION_S, specs)
    supplies: dict[str, Supply] = {}
    if weather.is_dead_first:
        supplies = {name: DeadFirst(DrawnSupply(spec)) for name, spec in specs.items()}
    engines: list[WatchedEngine] = []

    def over(engine: object, _: object) -> None:
        assert isinstance(engine, WatchedEngine)
        assert not engine.violations
        engines.append(engine)

    simulator = Simulator(
        world, seed="worst", engine=WatchedEngine, supplies=supplies, on_over=over
    )
    simulator.run()
    return [engine.history for engine in engines]
