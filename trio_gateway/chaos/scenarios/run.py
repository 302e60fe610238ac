"""One scenario run under one policy, by decisions, and what it has come to."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from trio_gateway.chaos.scenarios.expect import Bound
from trio_gateway.chaos.scenarios.load import Scenario
from trio_gateway.chaos.scenarios.measure import measures
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.scenarios.worlds import Setting, setting_of
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.simulator import Simulator
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.policy.route import Policy

# A run makes millions of small objects and few cycles. To look for those after every
# 700th, as is usual, takes a tenth of the time; these are some MB between two looks.
_OBJECTS_BETWEEN_LOOKS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One expectation beside what was measured; None: nothing to measure."""

    bound: Bound
    measured: float | None

    @property
    def holds(self) -> bool:
        """Whether it is met."""
        return self.bound.holds(self.measured)


@dataclass(frozen=True, slots=True)
class Run:
    """Everything about one run: what was asked, what came of it, and how long it took.

    `label` tells runs apart that are shown together: a policy's name, or a key's value.
    """

    scenario: Scenario
    policy: Policy
    label: str
    seed: int
    depth: str
    setting: Setting
    result: Result
    witness: Witness
    wall_s: float

    @property
    def measured(self) -> dict[str, float | None]:
        """All measures by their keys, expected or not."""
        return measures(self.setting.world, self.result)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Each expectation, in the order of reports."""
        measured = self.measured
        return tuple(
            Verdict(bound, measured[bound.measure.key])
            for bound in self.scenario.expect
        )

    @property
    def holds(self) -> bool:
        """Whether every expectation and every invariant does."""
        is_sound = self.witness.broken is None and not self.result.violations
        return is_sound and all(verdict.holds for verdict in self.verdicts)


OnProgress = Callable[[float], None]


def run_decisions(
    scenario: Scenario,
    policy: Policy,
    *,
    seed: int,
    label: str = "",
    on_progress: OnProgress | None = None,
) -> Run:
    """Run a scenario through the engine alone, under virtual time.

    Raises:
        PolicyError: the scenario does not fit the policy.
    """
    setting = setting_of(scenario, policy, str(seed))
    witness = Witness(scenario.duration_s, on_progress)
    began_at = perf_counter()
    simulator = Simulator(
        setting.world, seed=str(seed), engine=WatchedEngine, on_over=witness.over
    )
    with rare_collections():
        result = simulator.run()
    return Run(
        scenario=scenario,
        policy=policy,
        label=label,
        seed=seed,
        depth="decisions",
        setting=setting,
        result=result,
        witness=witness,
        wall_s=perf_counter() - began_at,
    )


@contextmanager
def rare_collections() -> Iterator[None]:
    """Have garbage looked for less often, for one run."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
