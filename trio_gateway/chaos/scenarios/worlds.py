"""A scenario and a policy made into a world: which of its targets each name means.

A name is a target's id (`openai/gpt-4.1`), a provider's, a failure domain's, or a place
in the line: `first`, `second`, `third`, `others` (all but the first), `all`. Names by
place let one scenario try every policy.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from trio_gateway.chaos.scenarios.forecast import Bad, Moment, effect_of
from trio_gateway.chaos.scenarios.load import Named, Scenario
from trio_gateway.chaos.worlds.world import Effect, SimulatedTarget, Spell, World
from trio_gateway.policy.files.problems import (
    PolicyError,
    Problem,
    did_you_mean,
    listed,
)
from trio_gateway.policy.route import Policy, Route, Target

_PLACES: Final = ("first", "second", "third")
_OTHERS: Final = "others"
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Setting:
    """A world, and what is behind its effects where bytes are wanted."""

    world: World
    targets: tuple[Target, ...]
    behind: Mapping[Effect, Bad]


def setting_of(scenario: Scenario, policy: Policy, seed: str) -> Setting:
    """Make a world of a scenario, under a policy.

    Raises:
        PolicyError: the scenario speaks of models or targets that the policy lacks.
    """
    problems: list[Problem] = []
    slugs = _slugs(scenario, policy, problems)
    routes = tuple(policy.routes[slug] for slug in dict.fromkeys(slugs))
    targets = _targets(routes)
    specs = {target.id: SimulatedTarget() for target in targets}
    for named in scenario.described:
        for target in _meant(named, scenario, routes, targets, problems):
            assert named.described is not None
            specs[target.id] = named.described
    behind: dict[Effect, Bad] = {}
    for named in scenario.weather:
        for target in _meant(named, scenario, routes, targets, problems):
            spells = _spells(named, target, targets, seed, behind)
            known = specs[target.id]
            specs[target.id] = replace(known, spells=(*known.spells, *spells))
    if problems:
        raise PolicyError(problems, scenario.document.sources)
    clients = tuple(
        crowd
        for spec, slug in zip(scenario.crowds, slugs, strict=True)
        for crowd in spec.crowds(slug, scenario.duration_s)
    )
    max_in_flight = policy.gateway.max_in_flight
    world = World(routes, clients, scenario.duration_s, specs, max_in_flight)
    return Setting(world, targets, behind)


def _spells(
    named: Named,
    target: Target,
    targets: Iterable[Target],
    seed: str,
    behind: dict[Effect, Bad],
) -> Iterator[Spell]:
    siblings = [each for each in targets if each.account.name == target.account.name]
    for number, entry in enumerate(named.entries):
        # Dice of the name, not of the target: what fails together, heals together.
        dice = Random(f"{seed}/weather/{named.name}/{number}")
        for forecast in entry.forecasts(Moment(dice, siblings.index(target))):
            behind[effect_of(forecast.what, target)] = forecast.what
            yield forecast.spell(target)


def _slugs(
    scenario: Scenario, policy: Policy, problems: list[Problem]
) -> tuple[str, ...]:
    first = next(iter(policy.routes), "")
    slugs = []
    for spec in scenario.crowds:
        slug = first if spec.slug is None else spec.slug
        if slug not in policy.routes:
            remedy = did_you_mean(slug, policy.routes)
            remedy = remedy or f"The policy has {_some(policy.routes)}."
            message = "is no model of the policy"
            path = (*spec.path, "model")
            problems.append(scenario.document.problem(path, message, remedy))
            slug = first
        slugs.append(slug)
    return tuple(slugs)


def _targets(routes: Iterable[Route]) -> tuple[Target, ...]:
    found = {
        target.id: target
        for route in routes
        for target in (*route.targets, *route.context_chain)
    }
    return tuple(found.values())


def _meant(
    named: Named,
    scenario: Scenario,
    routes: tuple[Route, ...],
    targets: tuple[Target, ...],
    problems: list[Problem],
) -> tuple[Target, ...]:
    """The targets of a name; a policy's own names go before places in line."""
    name = named.name
    for place in range(3):
        meant = tuple(target for target in targets if _names(target)[place] == name)
        if meant:
            return meant
    if name == _ALL:
        return targets
    if name == _OTHERS:
        return _unique(target for route in routes for target in route.targets[1:])
    if name in _PLACES:
        place = _PLACES.index(name)
        return _unique(
            route.targets[place] for route in routes if place < len(route.targets)
        )
    known = [name for target in targets for name in _names(target)]
    remedy = did_you_mean(name, known) or f"Write {_some(known)}, first, others or all."
    message = "is no target of these models"
    problems.append(scenario.document.problem(named.path, message, remedy))
    return ()


def _names(target: Target) -> tuple[str, str, str]:
    return target.id, target.account.name, target.account.failure_domain


def _unique(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple({target.id: target for target in targets}.values())


def _some(names: Iterable[str]) -> str:
    return listed(list(dict.fromkeys(names))[:10])
