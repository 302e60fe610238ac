"""Worlds to measure in, and what is measured in them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.factories import a_route
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Clients,
    Effect,
    Library,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.failover.commands import Reason, Refuse
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route
from trio_gateway.relay.record import Outcome

# As the specification's own figures: a fast, a middling and a slow model.
MODELS = ("sonnet-4.6", "gpt-4.1", "opus-4.6")
SICK = Fails(Failure(FailureClass.SERVER_ERROR, "503", 503), 0.02)
BLACK = Hangs()

SERVICE_FAILURES: dict[str, Effect] = {
    "connect": Fails(Failure(FailureClass.CONNECT, "connection refused")),
    "reset": Fails(Failure(FailureClass.RESET, "connection reset"), 0.05),
    "server_error": SICK,
    "overloaded": Fails(Failure(FailureClass.OVERLOADED, "529", 529), 0.05),
    "rate_limit": Fails(
        Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=20.0), 0.05
    ),
    "quota": Fails(Failure(FailureClass.QUOTA, "no money", 429), 0.05),
    "auth": Fails(Failure(FailureClass.AUTH, "401", 401), 0.05),
    "not_found": Fails(Failure(FailureClass.NOT_FOUND, "404", 404), 0.05),
    "timeout": BLACK,
    "bad_answer": Fails(Failure(FailureClass.BAD_ANSWER, "HTML", 200), 0.05),
}
"""Every class that moves on and that a target can have for long."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, as it was."""

    exchange: int
    number: int
    target: str
    reason: Reason
    started_at: float
    opened_at: float | None
    ended_at: float
    failure: FailureClass | None
    hint_s: float | None


@dataclass(slots=True)
class Seen:
    """One run, with all its attempts."""

    result: Result
    simulator: Simulator
    tries: list[Try] = field(default_factory=list)
    began_at: list[float] = field(default_factory=list)  # by exchange
    outcomes: list[Outcome] = field(default_factory=list)
    ended_at: list[float] = field(default_factory=list)
    refusals: list[Refuse | None] = field(default_factory=list)

    def sent(
        self, target: str, from_s: float, until_s: float, *, firsts: bool = False
    ) -> list[Try]:
        """The attempts at a target that were sent in a time."""
        return [
            each
            for each in self.tries
            if each.target == target
            and from_s <= each.started_at < until_s
            and (each.number == 1 or not firsts)
        ]

    def exchanges(self) -> Iterator[list[Try]]:
        """The attempts of each exchange that had any."""
        ours: list[Try] = []
        for each in self.tries:
            if ours and each.exchange != ours[0].exchange:
                yield ours
                ours = []
            ours.append(each)
        if ours:
            yield ours

    def began_between(self, from_s: float, until_s: float) -> list[int]:
        """The numbers of the exchanges that began in a time."""
        return [n for n, at in enumerate(self.began_at) if from_s <= at < until_s]


def run(world: World, *, seed: str = "1", is_watched: bool = True) -> Seen:
    """Run a world and keep every attempt; watched, no invariant may break."""
    tries: list[Try] = []
    began_at: list[float] = []
    outcomes: list[Outcome] = []
    ended_at: list[float] = []
    refusals: list[Refuse | None] = []

    def keep(engine: Engine, outcome: Outcome) -> None:
        exchange = len(outcomes)
        outcomes.append(outcome)
        limit_s = engine._case.route.timeouts.total_s
        began_at.append(engine.deadlines.total_by - limit_s)
        ended_at.append(simulator.now)
        if isinstance(engine, WatchedEngine):
            refusals.append(engine.watch.refusal)
        for each in engine.attempts:
            assert each.ended_at is not None
            tries.append(
                Try(
                    exchange,
                    each.number,
                    each.target.id,
                    each.reason,
                    each.started_at,
                    each.opened_at,
                    each.ended_at,
                    each.failure.kind if each.failure else None,
                    each.failure.retry_after_s if each.failure else None,
                )
            )

    simulator = Simulator(
        world,
        seed=seed,
        engine=WatchedEngine if is_watched else Engine,
        on_over=keep,
    )
    result = simulator.run()
    assert result.violations == (), f"seed {seed}: {result.violations[0]}"
    return Seen(result, simulator, tries, began_at, outcomes, ended_at, refusals)


def spells(**by_target: Sequence[Spell]) -> dict[str, SimulatedTarget]:
    """Targets a, b, c of three models' speed, with their spells."""
    return {
        f"{name}/m": SimulatedTarget(
            FIRST_TOKENS[model], spells=tuple(by_target.get(name, ()))
        )
        for name, model in zip("abc", MODELS, strict=True)
    }


def a_world(
    route: Route | None = None,
    *,
    rate_per_s: float = 20.0,
    duration_s: float = 60.0,
    arrivals: Arrivals = Arrivals.POISSON,
    library: Library | None = None,
    a: Sequence[Spell] = (),
    b: Sequence[Spell] = (),
    c: Sequence[Spell] = (),
) -> World:
    """Three targets of three models and their spells; overlap on."""
    route = route or a_route("abc", is_overlap_on=True)
    clients = Clients(route.slug, rate_per_s, arrivals=arrivals, library=library)
    return World((route,), (clients,), duration_s, spells(a=a, b=b, c=c))


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
