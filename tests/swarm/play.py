"""One seed played at one depth, and what was found.

Both depths are the production drivers with production engines; a seed's world, its
operators and its watch stand around them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from time import process_time
from traceback import format_exc
from typing import Final

from tests.swarm.shown import ShownEngine
from tests.swarm.watch import Finding, HouseWatch
from tests.swarm.worlds import Drawn, Order, draw
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.failover.commands import Command
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import Event
from trio_gateway.failover.fleet import Fleet
from trio_gateway.relay.record import Outcome

# An attempt's limit is the engine's, but its news travel through a network.
_WIRE_GRACE_S: Final = 0.05


class Depth(StrEnum):
    """How much of the gateway is driven."""

    DECISIONS = "decisions"
    WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Played:
    """One seed, and what came of it; the findings with the shortest history first."""

    seed: int
    depth: Depth
    findings: tuple[Finding, ...]
    exchanges: int
    judged: int  # exchanges of phase two of which success was asked
    reasons: dict[str, int]
    outcomes: dict[str, int]
    cpu_s: float

    @property
    def text(self) -> str:
        """What people need to know of a seed that failed."""
        first = self.findings[0]
        others = sorted({each.rule for each in self.findings[1:]} - {first.rule})
        return "\n".join(
            (
                f"seed {self.seed} by {self.depth} breaks: {first.rule}",
                f"exchange {first.ticket}:",
                *first.lines,
                *(f"and also: {rule}" for rule in others[:5]),
                f"replay: {command(self.seed, self.depth)}",
            )
        )


def command(seed: int, depth: Depth) -> str:
    """What plays one seed again."""
    words = [".venv/bin/python -m tests.swarm", str(seed)]
    if depth is not Depth.DECISIONS:
        words += ["--depth", depth]
    return " ".join(words)


def play(seed: int, depth: Depth) -> Played:
    """Play one seed; whatever it raises is a finding too."""
    began_at = process_time()
    drawn = draw(seed, is_small=depth is Depth.WIRE)
    grace_s = _WIRE_GRACE_S if depth is Depth.WIRE else 0.0
    house = HouseWatch(
        heals_at=drawn.heals_at,
        healed=drawn.healed,
        is_tight=drawn.is_tight,
        grace_s=grace_s,
    )
    try:
        run = _decisions if depth is Depth.DECISIONS else _wire()
        run(drawn, house)
    except Exception:  # noqa: BLE001 - a bug of ours, to be told with its seed
        lines = tuple(format_exc().splitlines())
        house.findings.insert(0, Finding(f"nothing is raised: {lines[-1]}", "-", lines))
    findings = sorted(house.findings, key=lambda each: len(each.lines) or 10_000)
    return Played(
        seed=seed,
        depth=depth,
        findings=tuple(findings),
        exchanges=house.exchanges,
        judged=house.judged,
        reasons={str(reason): count for reason, count in house.reasons.items()},
        outcomes={str(outcome): count for outcome, count in house.outcomes.items()},
        cpu_s=process_time() - began_at,
    )


def shown_to(house: HouseWatch, engine: type[Engine]) -> type[Engine]:
    """An engine's class, whose objects also show themselves to the watch."""

    class Shown(ShownEngine, engine):  # type: ignore[valid-type, misc]  # by its base
        def start(self, now: float) -> tuple[Command, ...]:
            commands: tuple[Command, ...] = super().start(now)
            house.saw(self, None, commands, now)
            return commands

        def advance(self, event: Event, now: float) -> tuple[Command, ...]:
            commands: tuple[Command, ...] = super().advance(event, now)
            house.saw(self, event, commands, now)
            return commands

    return Shown


def carry_out(order: Order, house: HouseWatch, fleet: Fleet, now: float) -> None:
    """An operator does the first half of an order, or the second."""
    is_off = now < order.until_s
    if is_off:
        reason = Disabled.DRAINED if order.is_drained else Disabled.OPERATOR
        fleet.disable(order.target, reason, now)
    else:
        fleet.enable(order.target, now)
    house.books.ordered(order.target, is_off=is_off, now=now)


# The drivers


def _decisions(drawn: Drawn, house: HouseWatch) -> None:
    def over(engine: Engine, outcome: Outcome) -> None:
        house.over(engine, outcome, simulator.now)

    simulator = Simulator(
        drawn.world,
        seed=str(drawn.seed),
        engine=shown_to(house, WatchedEngine),
        on_over=over,
    )

    def act(order: Order) -> None:
        carry_out(order, house, simulator.fleet, simulator.now)

    for order in drawn.orders:
        simulator.agenda.at(order.at_s, act, order)
        simulator.agenda.at(order.until_s, act, order)
    result = simulator.run()
    house.close(simulator.fleet, drawn.world.routes, drawn.world.duration_s)
    house.findings += miscounted(result)


def miscounted(result: Result) -> Iterable[Finding]:
    """(26) Accounting closes."""
    total = result.total
    if total.questions != total.answered + total.failed + total.left:
        yield Finding(f"(26) every question ends in one way: {total}", "", ())
    for name, target in result.targets.items():
        if target.live:
            yield Finding(f"(18) {target.live} attempts are left at {name}", "", ())


def _wire() -> Callable[[Drawn, HouseWatch], None]:
    """The other driver, fetched where it is wanted: the whole gateway takes a while."""
    from tests.swarm.wire import play_wire

    return play_wire
