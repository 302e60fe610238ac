"""Takes turns: each load on each system, round after round, every sample kept.

Whatever disturbs the machine for a while disturbs all systems alike, or shows in the
spread of the rounds. Memory is measured last and once, on processes of its own, which
have served a little: what earlier loads have left in the heap must not hide it.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import trio

from trio_gateway.bench.client import Sample
from trio_gateway.bench.loads import LOADS
from trio_gateway.bench.systems import (
    DIRECT,
    PRODUCT,
    YARDSTICK,
    Cpus,
    Place,
    System,
    measure,
)

# Before each sample, unmeasured: connections are made, caches filled.
_WARM_UP_S: Final = 0.3
# The loads that say what the mock and the client themselves take.
_DIRECT_LOADS: Final = frozenset({"requests", "alone", "open-loop"})

# What may be asked for, and the loads that it takes.
SCENARIOS: Final = {
    "requests": ("requests",),
    "alone": ("alone",),
    "failover": ("failover",),
    "dead-first": ("dead-first",),
    "chunks-gaps": ("stream-50-gaps", "stream-1-gaps"),
    "chunks-burst": ("stream-50-burst", "stream-1-burst"),
    "prompt-8k": ("prompt-8k",),
    "prompt-1m": ("prompt-1m",),
    "open-loop": ("open-loop",),
    "open-streams": ("open-streams",),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    scenarios: Sequence[str]
    with_yardstick: bool = True
    peers: Sequence[str] = ()  # URLs of gateways that run already
    peer_key: str = ""
    seconds: float = 3.0  # of each sample
    rounds: int = 3
    serve_arguments: Sequence[str] = ()
    mock_port: int = 0


@dataclass(slots=True)
class Results:
    """All samples, by system and load, in the order of the rounds."""

    systems: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, list[Sample]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def of(self, system: str, load: str) -> Sequence[Sample]:
        """The samples of one load on one system; empty where there are none."""
        return self.samples.get(system, {}).get(load, ())

    def bad(self, system: str) -> int:
        """How many answers of a system were not what was asked for."""
        return sum(
            sum(sample.bad.values())
            for samples in self.samples.get(system, {}).values()
            for sample in samples
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity in all rounds. The best is the least disturbed."""

    best: float
    median: float
    spread: float  # the largest by the least

    @classmethod
    def of(
        cls,
        values: Iterable[float | None],
        *,
        best: Callable[[Iterable[float]], float] = min,
    ) -> "Figure | None":
        """The figure of the values that are known; None if none is."""
        known = sorted(value for value in values if value is not None)
        if not known:
            return None
        spread = known[-1] / known[0] if known[0] > 0 else float("inf")
        return cls(best(known), median(known), spread)


OnProgress = Callable[[str], None]


async def run(plan: Plan, on_progress: OnProgress) -> Results:
    """Measure everything that a plan asks for.

    Raises:
        StartError: If something does not start or answer at all. May be in a group.
    """
    results = Results()
    loads = [load for scenario in plan.scenarios for load in SCENARIOS[scenario]]
    timed = [load for load in loads if not LOADS[load].is_held]
    with TemporaryDirectory(prefix="trio-gateway-bench-") as folder:
        if timed:
            async with trio.open_nursery() as nursery:
                place = Place(Path(folder), nursery, Cpus.of_this_machine())
                mock = await place.start_mock(plan.mock_port)
                systems = await _started(place, mock, plan)
                results.systems = [system.name for system in systems]
                await _take_turns(
                    plan, timed, [*systems, mock], place, results, on_progress
                )
                nursery.cancel_scope.cancel()
        for load in loads:
            if LOADS[load].is_held:
                await _hold(plan, load, Path(folder), results, on_progress)
    return results


async def _started(place: Place, mock: System, plan: Plan) -> list[System]:
    systems = [await place.start_product(mock, plan.serve_arguments)]
    if plan.with_yardstick:
        systems.append(await place.start_yardstick(mock))
    systems.extend(System.at(url, plan.peer_key) for url in plan.peers)
    return systems


async def _take_turns(
    plan: Plan,
    loads: Sequence[str],
    systems: Sequence[System],
    place: Place,
    results: Results,
    on_progress: OnProgress,
) -> None:
    for number in range(plan.rounds):
        for load in loads:
            # Who begins takes turns, too.
            for system in systems[:: -1 if number % 2 else 1]:
                if system.name == DIRECT and load not in _DIRECT_LOADS:
                    continue
                on_progress(f"round {number + 1}/{plan.rounds}  {load}  {system.name}")
                sample = await measure(
                    system,
                    load,
                    seconds=plan.seconds,
                    warm_up_s=min(_WARM_UP_S, plan.seconds),
                    cpus=place.cpus,
                )
                results.samples[system.name][load].append(sample)
                if system.log is not None:
                    os.truncate(system.log, 0)  # a long run would fill the disk


async def _hold(
    plan: Plan, load: str, folder: Path, results: Results, on_progress: OnProgress
) -> None:
    for name in (PRODUCT, YARDSTICK) if plan.with_yardstick else (PRODUCT,):
        async with trio.open_nursery() as nursery:
            place = Place(folder, nursery, Cpus.of_this_machine())
            mock = await place.start_mock()
            if name == PRODUCT:
                system = await place.start_product(mock, plan.serve_arguments)
            else:
                system = await place.start_yardstick(mock)
            on_progress(f"{load}  {name}")
            for each in ("alone", load):
                sample = await measure(
                    system,
                    each,
                    seconds=_WARM_UP_S,
                    warm_up_s=_WARM_UP_S,
                    cpus=place.cpus,
                )
            results.samples[name][load].append(sample)
            if name not in results.systems:
                results.systems.append(name)
            nursery.cancel_scope.cancel()


async def run_profiled(plan: Plan, load: str, file: Path) -> Sample:
    """Make one load on the product alone, under a profiler that writes to a file."""
    with TemporaryDirectory(prefix="trio-gateway-bench-") as folder:
        async with trio.open_nursery() as nursery:
            place = Place(Path(folder), nursery, Cpus.of_this_machine())
            mock = await place.start_mock()
            async with trio.open_nursery() as profiled:
                inner = Place(Path(folder), profiled, place.cpus)
                system = await inner.start_product(
                    mock, plan.serve_arguments, profile=file
                )
                sample = await measure(
                    system, load, seconds=plan.seconds, warm_up_s=0.0, cpus=place.cpus
                )
                profiled.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    return sample
