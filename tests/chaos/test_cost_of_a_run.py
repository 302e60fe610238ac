"""What a simulated exchange costs: in calls, which are the same on every machine, and
in memory, of which a day may take no more than an hour.

Whoever needs more calls than this has a reason to say, and raises the number with it.
"""

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from tests.failover.test_cost import calls_in
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.run import Run, run_decisions

FOLDER = Path(__file__).parents[2] / "policies" / "scenarios"
DAY_S = 86_400.0
# Of what is kept by design, the times to a first token over time take the most: 240
# histograms. An exchange that was kept would take some kilobytes.
GROWTH_MAX = 3 * 2**20


def a_scenario(name: str, *, duration_s: float) -> Scenario:
    return replace(load_scenario(FOLDER / f"{name}.yaml"), duration_s=duration_s)


def a_run(scenario: Scenario) -> Run:
    policy = make_policy(read_policy_document(scenario.policy))
    return run_decisions(scenario, policy, seed=scenario.seed)


@pytest.mark.parametrize(
    ("name", "calls_max"),
    [("hard-outage", 290), ("brown-out", 345)],  # 276, 326 on 30 November 2026
)
def test_an_exchange_costs_no_more_calls_than_it_did(name: str, calls_max: int) -> None:
    runs: list[Run] = []
    scenario = a_scenario(name, duration_s=300.0)

    calls = calls_in(lambda: runs.append(a_run(scenario)))
    once = calls_in(lambda: runs.append(a_run(replace(scenario, duration_s=0.001))))

    exchanges = runs[0].result.total.exchanges
    assert exchanges > 2000
    assert (calls - once) / exchanges <= calls_max


def test_a_day_of_traffic_takes_no_more_memory_than_its_first_hours() -> None:
    """Nor does it need the garbage collector for that."""
    day = a_scenario("ordinary-day", duration_s=DAY_S)
    (crowd,) = day.crowds
    quiet = replace(crowd, base=replace(crowd.base, rate_per_s=0.1))
    policy = make_policy(read_policy_document(day.policy))
    taken: list[int] = []

    def note(_: float) -> None:
        taken.append(tracemalloc.get_traced_memory()[0])

    gc.disable()
    tracemalloc.start()
    try:
        played = replace(day, crowds=(quiet,))
        run = run_decisions(played, policy, seed=1, on_progress=note)
    finally:
        tracemalloc.stop()
        gc.enable()

    assert run.result.total.exchanges > 4000
    assert run.witness.broken is None
    assert max(taken) < taken[1] + GROWTH_MAX
