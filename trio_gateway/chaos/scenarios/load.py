"""From a scenario file to a scenario, with every problem in it named at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trio_gateway.chaos.scenarios.crowds import CrowdSpec, read_crowd
from trio_gateway.chaos.scenarios.expect import Expectations, read_expectations
from trio_gateway.chaos.scenarios.forecast import Entry, read_entry
from trio_gateway.chaos.scenarios.reading import (
    Section,
    count,
    count_from_one,
    duration,
    number,
    switch,
    text,
)
from trio_gateway.chaos.scenarios.spreads import first_token
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS, Spread
from trio_gateway.chaos.worlds.world import Capacity, SimulatedTarget
from trio_gateway.policy.files.document import Document, KeyPath, Place
from trio_gateway.policy.files.problems import PolicyError, Problem
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.load import read_sources

# What is shown to those who have written something else.
_A_WEATHER: Final = "{fault: down, from: 1m, for: 5m}"
_A_CROWD: Final = "{rate: 20/s}"


@dataclass(frozen=True, slots=True)
class Named:
    """What is said of targets by a name, before a policy says which those are."""

    name: str
    path: KeyPath
    entries: tuple[Entry, ...] = ()
    described: SimulatedTarget | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file, checked as far as that goes without its policy."""

    path: Path
    document: Document
    teaches: str
    policy: Path | Document  # a file or a folder, or what stands in the scenario
    seed: int
    duration_s: float
    described: tuple[Named, ...]
    weather: tuple[Named, ...]
    crowds: tuple[CrowdSpec, ...]
    expect: Expectations

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path.stem


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        PolicyError: everything that is wrong with it, each with place and remedy.
    """
    ((file, content),) = read_sources(path)
    document, problems = read_document(file, content)
    if document is None or problems:
        raise PolicyError(problems, [(file, content)])
    if {"providers", "models"} & document.value.keys() and (
        "clients" not in document.value
    ):
        remedy = f"Play it in one: trio-gateway simulate SCENARIO --policy {path}"
        problem = document.problem((), "is a policy, not a scenario", remedy)
        raise PolicyError([problem], document.sources)
    found: list[Problem] = []
    scenario = _read(path, document, found)
    if found:
        found.sort(key=lambda p: (p.line or 0, p.column or 0))
        raise PolicyError(found, [(file, content)])
    return scenario


def _read(path: Path, document: Document, problems: list[Problem]) -> Scenario:
    whole = Section.whole(document, problems)
    version = whole.need("version", count, 1, "Write `version: 1`.")
    if version != 1:
        remedy = "Write `version: 1`: this gateway reads no other."
        whole.complain("version", "cannot have this value", remedy)
    duration_s = whole.need("duration", duration, 60.0, "Write how long: 10m.")
    crowds = [
        read_crowd(each, duration_s)
        for each in whole.sections("clients", like=_A_CROWD)
    ]
    if not crowds:
        message = "names nobody" if whole.has("clients") else "is missing"
        whole.complain("clients", message, f"Write `clients: {_A_CROWD}`.")
    scenario = Scenario(
        path=path,
        document=document,
        teaches=whole.take("teaches", text, ""),
        policy=_policy(whole, path, document),
        seed=whole.take("seed", count, 1),
        duration_s=duration_s,
        described=_described(
            whole.section("targets", like="first: {first_token: 800ms}")
        ),
        weather=_weather(whole.section("weather", like=f"first: {_A_WEATHER}")),
        crowds=tuple(crowds),
        expect=read_expectations(whole.section("expect", like="availability: 99.9%")),
    )
    whole.close()
    return scenario


def _policy(whole: Section, path: Path, document: Document) -> Path | Document:
    if isinstance(document.value.get("policy"), Mapping):
        whole.has("policy")
        return inner_document(document, "policy")
    remedy = "Name a policy file, as seen from here, or write the policy under it."
    if isinstance(document.value.get("policy"), list):
        whole.has("policy")
        whole.complain("policy", "is a list", remedy)
        return path
    return path.parent / whole.need("policy", text, "", remedy)


def inner_document(document: Document, key: str) -> Document:
    """What stands under a key, as a document of its own, at its own places."""
    value = document.value[key]
    assert isinstance(value, Mapping)
    places: dict[KeyPath, Place] = {
        path[1:]: place for path, place in document.places.items() if path[:1] == (key,)
    }
    return Document(value, places, document.sources)


def _described(section: Section | None) -> tuple[Named, ...]:
    if section is None:
        return ()
    found = []
    for name in section.names():
        inner = section.section(name, like="{first_token: 800ms}")
        if inner is not None:
            found.append(Named(name, inner.path, described=_target(inner)))
    return tuple(found)


def _target(section: Section) -> SimulatedTarget:
    tokens_per_s = section.take("tokens_per_second", number, 100.0)
    usual: Spread = FIRST_TOKENS["gpt-4.1"]
    target = SimulatedTarget(
        first_token=section.take("first_token", first_token, usual),
        gap_s=1.0 / tokens_per_s,
        capacity=_capacity(section.section("capacity", like="{slots: 100}")),
    )
    section.close()
    return target


def _capacity(section: Section | None) -> Capacity | None:
    if section is None:
        return None
    remedy = "Write how many it serves at once: 100."
    slots = section.need("slots", count_from_one, 1, remedy)
    capacity = Capacity(
        slots=slots,
        line_max=section.take("line", count, None),
        notices_departures=section.take("notices_departures", switch, default=True),
    )
    section.close()
    return capacity


def _weather(section: Section | None) -> tuple[Named, ...]:
    if section is None:
        return ()
    found = []
    for name in section.names():
        entries = tuple(
            read_entry(each) for each in section.sections(name, like=_A_WEATHER)
        )
        found.append(Named(name, (*section.path, name), entries))
    return tuple(found)
