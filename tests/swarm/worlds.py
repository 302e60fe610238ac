"""The worlds of the swarm: an odd policy, bad weather and a crowd, all from a seed.

    seconds  0                     heals_at                              ends_at
             |------ phase one ----|------------- phase two -------------|
    weather   spells of each target, and of all at once         none
              (each with a fate of its own for what is open)
    operators take targets out of use, and give them back       -
    clients   crowds that hurry, leave, insist        one every 4.2 s for each model

What can be meant to hold in phase two must be possible. So healthy targets are as quick
as the policy's own limits ask, with room to spare, and a policy that nobody could serve
is not drawn.

A seed means a world only as long as nothing here, or in `random_routes`, is drawn
otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Final

from tests.factories import a_policy
from tests.swarm.policies import (
    ANSWER_TOKENS_MAX,
    Pace,
    longest_s,
    routes_of,
    targets_of,
)
from tests.swarm.weather import Fates, Weather, healed_of, lasting, struck
from trio_gateway.chaos.scenarios.forecast import Bad, effect_of
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.chaos.worlds.world import (
    Arrivals,
    Clients,
    Effect,
    Library,
    SimulatedTarget,
    Spell,
    World,
)
from trio_gateway.policy.route import (
    Policy,
    Route,
    Target,
)

# From the healing and the last hint on, so long may it take until everything succeeds.
RECOVERY_S: Final = 45.0
# Then so long is watched.
JUDGED_S: Final = 40.0
# One client in so long asks for each model: often enough for a probe in every opening,
# seldom enough for a target that serves one at a time.
TRICKLE_S: Final = 4.2
# Those who ask for two models do not come at once.
_OFFSET_S: Final = 2.1

_ANSWERS: Final = Spread.of(p50=12.0, p95=40.0, p99=50.0, most=ANSWER_TOKENS_MAX)


@dataclass(frozen=True, slots=True)
class Order:
    """An operator takes a target out of use, for a while."""

    target: Target
    is_drained: bool  # else switched off, and who waits there is called away
    at_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """One seed's world, and what is to be known about it."""

    seed: int
    policy: Policy
    setting: Setting
    orders: tuple[Order, ...]
    heals_at: float
    healed: frozenset[str]  # those targets that are well in phase two

    @property
    def world(self) -> World:
        """What there is."""
        return self.setting.world

    @property
    def is_tight(self) -> bool:
        """Whether a target can serve but few at once."""
        return any(spec.capacity is not None for spec in self.world.targets.values())


def draw(seed: int, *, is_small: bool = False) -> Drawn:
    """The world of a seed; a small one is for bytes, which cost a hundred times more.

    Every other seed has overlap and hedging on.
    """
    dice = Random(f"swarm/{seed}")
    routes = routes_of(seed, dice, is_small=is_small)
    targets = targets_of(routes)
    heals_at = dice.choice((15.0, 30.0) if is_small else (20.0, 40.0, 60.0))
    fates = Fates(seed)
    weather = Weather(dice, fates, heals_at, is_small=is_small)
    behind: dict[Effect, Bad] = {}
    spells: dict[str, list[Spell]] = {target.id: [] for target in targets}
    for meant in struck(targets, dice):
        for target, spell, bad in weather.spells(meant):
            spells[target.id].append(spell)
            if bad is not None:
                behind[spell.effect] = bad
    healed = healed_of(routes, dice)
    for target in targets:
        if target.id not in healed:
            bad = lasting(routes, dice)
            effect = effect_of(bad, target)
            behind[effect] = bad
            spell = Spell(effect, heals_at, under_way=fates.draw(bad))
            spells[target.id].append(spell)
    pace = Pace.of(routes, dice)
    specs = {
        target.id: SimulatedTarget(
            pace.first_token(dice), pace.gap_s, tuple(spells[target.id]), weather.room()
        )
        for target in targets
    }
    rest_s = max(weather.rests_s, *(longest_s(route) for route in routes))
    world = World(
        routes=routes,
        clients=(
            *_crowds(routes, heals_at, dice, is_small),
            *_trickle(routes, heals_at, dice),
        ),
        duration_s=heals_at + rest_s + RECOVERY_S + JUDGED_S,
        targets=specs,
    )
    orders = tuple(_orders(targets, heals_at, dice))
    setting = Setting(world, targets, behind)
    return Drawn(seed, a_policy(*routes), setting, orders, heals_at, healed)


def _orders(
    targets: Sequence[Target], heals_at: float, dice: Random
) -> Iterator[Order]:
    for target in targets:
        if dice.random() < 0.12:
            at_s = dice.uniform(0.0, heals_at / 2)
            until_s = dice.uniform(at_s, heals_at)
            yield Order(target, dice.random() < 0.5, at_s, until_s)


def _crowds(
    routes: Sequence[Route], until_s: float, dice: Random, is_small: bool
) -> Iterator[Clients]:
    """Who comes in phase one."""
    busiest = 3.0 if is_small else 12.0
    for route in routes:
        for _ in range(dice.choice((1, 2, 3))):
            yield Clients(
                route.slug,
                rate_per_s=busiest * 10 ** dice.uniform(-1.3, 0.0),
                until_s=until_s,
                arrivals=dice.choice(tuple(Arrivals)),
                is_stream=dice.random() < 0.7,
                answer_tokens=_ANSWERS,
                max_tokens=dice.choice((None, 50, 200, 2000)),
                request_bytes=dice.choice(
                    (300, 300, 3000, 8000 if is_small else 200_000)
                ),
                patience=dice.choice(
                    (None, None, Spread.of(p50=1.0, p95=5.0, p99=10.0, most=30.0))
                ),
                library=dice.choice(
                    (None, None, Library(), Library(timeout_s=dice.choice((3.0, 20.0))))
                ),
            )


def _trickle(routes: Sequence[Route], from_s: float, dice: Random) -> Iterator[Clients]:
    """Who comes in phase two."""
    for number, route in enumerate(routes):
        yield Clients(
            route.slug,
            rate_per_s=1.0 / TRICKLE_S,
            from_s=from_s + number * _OFFSET_S,
            until_s=inf,
            arrivals=Arrivals.EVEN,
            is_stream=dice.random() < 0.7,
            answer_tokens=_ANSWERS,
        )
