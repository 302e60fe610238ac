"""That the comparison compares, that it ends what it starts, and that depths agree."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.truth.__main__ import SCENARIOS
from tests.truth.report import Compared, Values, as_json, table
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.run import Run, run_decisions
from trio_gateway.cli.simulate_wire import run_wire
from trio_gateway.failover.commands import RefusalKind

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60.0

SHORT = """
version: 1
policy:
  version: 1
  providers:
    near: {base_url: "https://near.example/v1", api_key: "${NEAR_KEY}"}
    far: {kind: azure, base_url: "https://far.example", api_key: "${FAR_KEY}"}
  models:
    chat:
      targets: [{provider: near, model: chat}, {provider: far, model: chat}]
duration: 2s
targets:
  all: {first_token: 320ms, tokens_per_second: 40}
weather:
  near: {fault: down, from: 970ms}  # between two openings
clients: {rate: 10/s, arrivals: even, answer_tokens: 1}
"""


def compared(
    decisions: Values, sockets: list[Values], *, wire: Values | None = None
) -> Compared:
    runs = {"decisions": [decisions], "wire": [wire or decisions], "sockets": sockets}
    return Compared("some", 1, 100, runs, {"gateway": 0.1}, {})


def of_times(
    p50_s: float, p99_s: float, *, availability: float = 1.0, cut: float = 0.0
) -> Values:
    return Values(availability, cut, p50_s, p99_s)


@pytest.mark.parametrize(
    ("simulated", "real", "holds"),
    [
        (of_times(0.300, 1.0), of_times(0.329, 1.09), True),
        (of_times(0.300, 1.0), of_times(0.340, 1.0), False),  # a tenth of the real one
        (of_times(0.300, 1.0), of_times(0.300, 0.9), False),
        (of_times(0.001, 0.002), of_times(0.0059, 0.002), True),  # 5 ms
        (of_times(0.001, 0.002), of_times(0.0062, 0.002), False),
        (of_times(1, 1, availability=0.99), of_times(1, 1, availability=0.98), True),
        (of_times(1, 1, availability=0.99), of_times(1, 1, availability=0.979), False),
        (of_times(1, 1, cut=0.007), of_times(1, 1, cut=0.002), True),
        (of_times(1, 1, cut=0.007), of_times(1, 1, cut=0.001), False),
    ],
)
def test_differences_are_held_against_what_is_allowed(
    simulated: Values, real: Values, *, holds: bool
) -> None:
    assert compared(simulated, [real]).holds is holds
    assert compared(real, [real], wire=simulated).holds is holds
    shown = table([compared(simulated, [real])], ("decisions", "wire", "sockets"))
    assert ("TOO MUCH" in shown) is not holds


def test_of_several_rounds_the_median_counts() -> None:
    usual, odd = of_times(0.3, 1.0), of_times(0.9, 3.0)
    assert compared(usual, [usual, odd, usual]).holds
    assert not compared(usual, [odd, odd, usual]).holds
    assert as_json([compared(usual, [odd])])["holds"] is False


@pytest.mark.parametrize("name", ["hard-outage", "reset-wave", "swallowed"])
def test_both_depths_of_the_simulator_tell_the_same(name: str) -> None:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml")
    runs = at_both_depths(replace(scenario, duration_s=16.0), seed=2)
    assert all(run.result.total.interrupted > 2 for run in runs)


def test_so_they_do_of_a_provider_with_another_dialect(tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text(SHORT)
    decisions, wire = at_both_depths(load_scenario(file), seed=1)
    for run in (decisions, wire):
        assert run.result.total.availability == 1.0
        assert run.result.targets["far/chat"].attempts > 8


def test_so_they_do_of_a_gateway_that_is_full(tmp_path: Path) -> None:
    file = tmp_path / "full.yaml"
    full = SHORT.replace("  providers:", "  gateway: {max_in_flight: 2}\n  providers:")
    file.write_text(full.replace("duration: 2s", "duration: 5s"))
    for run in at_both_depths(load_scenario(file), seed=1):
        assert run.result.total.refusals[RefusalKind.UNAVAILABLE] > 10


def at_both_depths(scenario: Scenario, *, seed: int) -> tuple[Run, Run]:
    """Run at both depths of the simulator, which must not differ."""
    policy = make_policy(read_policy_document(scenario.policy))
    decisions = run_decisions(scenario, policy, seed=seed)
    wire = run_wire(scenario, policy, seed, "", lambda _: None)
    runs = {run.depth: [Values.of(run.result.total)] for run in (decisions, wire)}
    assert Compared(scenario.name, seed, 0, runs, {}, {}).holds
    return decisions, wire


def test_a_scenario_is_run_three_ways_and_all_processes_end(tmp_path: Path) -> None:
    done = start(tmp_path)
    out, err = done.communicate(timeout=PATIENCE_S)
    assert re.search(r"^short +availability( +100\.00%){3}", out, re.MULTILINE), err
    assert done.returncode in (0, 1)  # a busy machine may be too slow: that is told
    assert not left_over(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_processes_as_well(tmp_path: Path, number: int) -> None:
    running = start(tmp_path)
    patience = time.monotonic() + PATIENCE_S
    while len(left_over(tmp_path)) < 2 and time.monotonic() < patience:
        time.sleep(0.05)
    running.send_signal(number)
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 128 + number
    assert not left_over(tmp_path)


def start(folder: Path) -> "subprocess.Popen[str]":
    """Compare the short scenario; its processes are known by their folder."""
    scenario = folder / "short.yaml"
    scenario.write_text(SHORT)
    return subprocess.Popen(
        (sys.executable, "-m", "tests.truth", "--runs", "1", str(scenario)),
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_over(folder: Path) -> list[str]:
    """The gateways and providers that work for a comparison in this folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue
        is_ours = str(folder) in command and "-m trio_gateway" in command
        if is_ours and "tests.truth" not in command:
            found.append(command)
    return found
