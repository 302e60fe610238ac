"""What a simulated exchange costs: in calls and in turns of Trio's loop, which are the
same on every machine, and in memory, of which a day may take no more than an hour.

Whoever needs more calls than this has a reason to say, and raises the number with it.
"""

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.failover.test_cost import calls_in
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.run import Run, run_decisions
from trio_gateway.chaos.scenarios.wire import Door, Wire
from trio_gateway.chaos.scenarios.wire_targets import CHUNKS_MAX
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.scenarios.worlds import setting_of
from trio_gateway.chaos.simulation.tally import Result
from trio_gateway.chaos.worlds.spread import Spread
from trio_gateway.cli.simulate_wire import play
from trio_gateway.failover.fleet import Fleet

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
    ("name", "duration_s", "calls_max"),
    [  # 254, 310, 270, 294 and 302 on 30 November 2026
        ("hard-outage", 300.0, 267),
        ("brown-out", 300.0, 325),  # a quarter fails, and nobody is free of doubt
        ("region-down", 300.0, 283),
        ("retry-storm", 300.0, 309),  # with a line, and clients who ask again
        ("ordinary-day", 7200.0, 317),  # few requests: more of each is time that passes
    ],
)
def test_an_exchange_costs_no_more_calls_than_it_did(
    name: str, duration_s: float, calls_max: int
) -> None:
    runs: list[Run] = []
    scenario = a_scenario(name, duration_s=duration_s)

    calls = calls_in(lambda: runs.append(a_run(scenario)))
    once = calls_in(lambda: runs.append(a_run(replace(scenario, duration_s=0.001))))

    exchanges = runs[0].result.total.exchanges
    assert exchanges > 2000
    assert (calls - once) / exchanges <= calls_max


class Turns(trio.abc.Instrument):
    """Counts turns of Trio's loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


class CountedWire(Wire):
    """A wire that notes what it costs."""

    def __init__(self, scenario: Scenario) -> None:
        policy = make_policy(read_policy_document(scenario.policy))
        setting = setting_of(scenario, policy, "1")
        witness = Witness(scenario.duration_s, None)
        super().__init__(setting, policy, seed=1, witness=witness)
        self.turns = Turns()

    def run(self) -> None:
        """Let it happen."""
        play(self, 1)

    async def drive(self, door: Door, fleet: Fleet) -> Result:
        trio.lowlevel.add_instrument(self.turns)
        return await super().drive(door, fleet)


# 36.3 and 126.7 turns, 5,690 and 17,230 calls on 30 November 2026. Twice as many before
# readers and sleepers were woken by alarms.
@pytest.mark.parametrize(
    ("tokens", "turns_max", "calls_max"),
    [(1, 38, 6_000), (CHUNKS_MAX, 130, 18_000)],
    ids=["one chunk", "twenty chunks"],
)
def test_an_exchange_in_bytes_costs_no_more_than_it_did(
    tokens: int, turns_max: int, calls_max: int
) -> None:
    calm = a_scenario("hard-outage", duration_s=4.0)  # which begins after two minutes
    (crowd,) = calm.crowds
    length = Spread(((0.0, tokens), (1.0, tokens)))
    crowd = replace(crowd, base=replace(crowd.base, answer_tokens=length))
    wire = CountedWire(replace(calm, crowds=(crowd,)))
    once = CountedWire(replace(calm, crowds=(crowd,), duration_s=0.001))

    calls = calls_in(wire.run) - calls_in(once.run)

    exchanges = wire.tally.result().total.exchanges
    turns = wire.turns.count - once.turns.count
    assert exchanges > 70
    assert turns / exchanges <= turns_max
    assert calls / exchanges <= calls_max


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
