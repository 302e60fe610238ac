"""The numbers that expectations are about, read from a run's result."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.world import Spell, World

# A breaker may need so long to see that a target is sick.
_SEEN_AFTER_S: Final = 10.0
# The first target is used again once it gets so much of what it got before its spell.
_BACK_SHARE: Final = 0.8
# Over so long; a second alone says little at low rates.
_BACK_OVER_S: Final = 5.0


def measures(world: World, result: Result) -> dict[str, float | None]:
    """Every measure by its key; None where there was nothing to measure."""
    total = result.total
    first = total.first_tokens
    return {
        "availability": total.availability,
        "first_token.p50": first.quantile(0.5),
        "first_token.p95": first.quantile(0.95),
        "first_token.p99": first.quantile(0.99),
        "worst_request": total.waits.most_s,
        "amplification": total.amplification,
        "cost_multiplier": total.cost_multiplier,
        "cut_streams": float(total.interrupted),
        "sick_target": _sick_target(world, result),
        "recovery": _recovery(world, result),
        "failback": _failback(world, result),
    }


def bad_spells(world: World) -> Iterator[tuple[str, Spell]]:
    """Every spell, with its target's id."""
    for target_id, spec in world.targets.items():
        for spell in spec.spells:
            yield target_id, spell


def _sick_target(world: World, result: Result) -> float | None:
    """The most requests a second that a target got which answered none of them."""
    rates: list[float] = []
    for target_id, spell in bad_spells(world):
        is_dead = isinstance(spell.effect, Fails | Hangs) and spell.share >= 1.0
        from_s = spell.from_s + _SEEN_AFTER_S
        until_s = min(spell.until_s, world.duration_s)
        tally = result.targets.get(target_id)
        if is_dead and spell.flaps is None and tally and until_s > from_s:
            sent = result.between(tally.over_time, from_s, until_s)
            rates.append(sent / (until_s - from_s))
    return max(rates, default=None)


def _healed_at(world: World) -> float | None:
    """When the last spell that ends before the run's end has ended."""
    ends = [spell.until_s for _, spell in bad_spells(world) if spell.until_s < inf]
    healed_at = max(ends, default=inf)
    return healed_at if healed_at < world.duration_s else None


def _recovery(world: World, result: Result) -> float | None:
    """How long after the last spell's end a request still failed."""
    healed_at = _healed_at(world)
    if healed_at is None:
        return None
    timeline = result.timeline
    last = _last(timeline.failed)
    if last is None:
        return 0.0
    return max(0.0, (last + 1) * timeline.bucket_s - healed_at)


def _last(series: Sequence[int]) -> int | None:
    return next((at for at in reversed(range(len(series))) if series[at]), None)


def _failback(world: World, result: Result) -> float | None:
    """How long after the last spell's end the first target has its requests again."""
    healed_at = _healed_at(world)
    first = world.routes[0].targets[0].id
    spells = world.targets[first].spells if first in world.targets else ()
    begun_at = min((spell.from_s for spell in spells), default=0.0)
    tally = result.targets[first]
    if healed_at is None or begun_at < _BACK_OVER_S:
        return None
    wanted = _BACK_SHARE * result.between(tally.firsts, 0.0, begun_at) / begun_at
    at_s = healed_at
    while at_s + _BACK_OVER_S <= world.duration_s:
        seen = result.between(tally.firsts, at_s, at_s + _BACK_OVER_S) / _BACK_OVER_S
        if seen >= wanted:
            return at_s - healed_at
        at_s += result.timeline.bucket_s
    return world.duration_s - healed_at
