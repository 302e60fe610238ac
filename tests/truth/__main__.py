"""`python -m tests.truth`: run scenarios three ways, and say where they differ.

`decisions` and `wire` are the simulator's two depths, in virtual time. `sockets` is the
real thing: `trio-gateway serve` and `trio-gateway upstream` as processes, and clients
that come when the simulated ones do and have their luck, over 127.0.0.1, in real time.
The exit code is 1 where a difference is larger than allowed.

A real gateway's dice are not seeded, and say among other things how long a breaker
stays open. So a scenario is fit for this only if they do not move what is compared.
"""

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import trio

from tests.truth.report import DEPTHS, Compared, Values, as_json, cpu_line, table
from tests.truth.sockets import Played, StartError, play
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.run import Run, run_decisions
from trio_gateway.chaos.scenarios.worlds import setting_of
from trio_gateway.cli.simulate_wire import run_wire
from trio_gateway.policy.route import Policy

SCENARIOS: Final = Path(__file__).parent / "scenarios"
# A round that the machine's other work has disturbed is repeated so often.
_REPEATS_MAX: Final = 3
# As a shell says that a signal ended it.
_SIGNALLED: Final = 128


@click.command()
@click.argument(
    "scenarios", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--runs",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="On sockets; their median counts.",
)
@click.option("--seed", type=click.IntRange(0), help="In place of the scenarios' own.")
@click.option("--virtual", is_flag=True, help="Leave the sockets out.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all that was measured there.",
)
def main(
    scenarios: tuple[Path, ...],
    runs: int,
    seed: int | None,
    json_file: Path | None,
    *,
    virtual: bool,
) -> None:
    """Run SCENARIOS (all of tests/truth/scenarios) three ways, and compare."""
    files = scenarios or sorted(SCENARIOS.glob("*.yaml"))
    taken = [_Taken.of(load_scenario(file), seed) for file in files]
    for each in taken:
        _tell(f"{each.scenario.name}: decisions, wire")
        each.simulate()
    # A disturbance of the machine spoils one round of several scenarios, rather than
    # all rounds of one.
    for number in range(0 if virtual else runs):
        for each in taken:
            _tell(f"{each.scenario.name}: sockets, {number + 1} of {runs}")
            each.play()
    compared = [each.compared for each in taken]
    click.echo(table(compared, DEPTHS[:2] if virtual else DEPTHS))
    if not virtual:
        disturbed = sum(each.disturbed for each in taken)
        click.echo(f"\nsockets: median of {runs}; {cpu_line(compared)}")
        click.echo(f"rounds repeated because the machine was too busy: {disturbed}")
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(compared), indent=1) + "\n")
    if not all(each.holds for each in compared):
        raise SystemExit(1)


def _tell(text: str) -> None:
    click.echo(text, err=True)


@dataclass(slots=True)
class _Taken:
    """One scenario, and what it has come to so far."""

    scenario: Scenario
    policy: Policy
    seed: int
    questions: int = 0
    runs: dict[str, list[Values]] = field(default_factory=dict)
    attempts: dict[str, dict[str, int]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    disturbed: int = 0  # rounds that did not count

    @classmethod
    def of(cls, scenario: Scenario, seed: int | None) -> "_Taken":
        policy = make_policy(read_policy_document(scenario.policy))
        return cls(scenario, policy, scenario.seed if seed is None else seed)

    def simulate(self) -> None:
        """Run it in virtual time, at both depths."""
        self._simulated(run_decisions(self.scenario, self.policy, seed=self.seed))
        wire = run_wire(self.scenario, self.policy, self.seed, "", lambda _: None)
        self._simulated(wire)

    def _simulated(self, run: Run) -> None:
        self.questions = run.result.total.questions
        self.runs[run.depth] = [Values.of(run.result.total)]
        targets = run.result.targets
        self.attempts[run.depth] = {name: targets[name].attempts for name in targets}

    def play(self) -> None:
        """Run it on sockets; again, if the machine's other work has disturbed it."""
        played = self._play()
        for _ in range(_REPEATS_MAX):
            if not played.is_disturbed:
                break
            self.disturbed += 1
            _tell(f"  the gateway came too late to {played.shed} clients: once more")
            played = self._play()
        self.runs.setdefault("sockets", []).append(Values.of(played.total))
        self.attempts["sockets"] = dict(played.attempts)
        for name, share in played.cpu.items():
            self.cpu[name] = max(share, self.cpu.get(name, 0.0))

    def _play(self) -> Played:
        try:
            return trio.run(_play, self.scenario, self.policy, self.seed)
        except* StartError as group:
            for error in _leaves(group):
                _tell(f"error: {error}")
        sys.exit(2)

    @property
    def compared(self) -> Compared:
        return Compared(
            self.scenario.name,
            self.seed,
            self.questions,
            self.runs,
            self.cpu,
            self.attempts,
        )


def _leaves(group: BaseExceptionGroup[StartError]) -> Iterator[StartError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


async def _play(scenario: Scenario, policy: Policy, seed: int) -> Played:
    """Run on sockets; at a signal, end the processes first and then this one."""
    setting = setting_of(scenario, policy, str(seed))
    signalled: int | None = None
    played: Played | None = None

    async def watch() -> None:
        nonlocal signalled
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        with trio.open_signal_receiver(*signals) as received:
            signalled = await anext(aiter(received))
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        played = await play(scenario, setting, seed)
        nursery.cancel_scope.cancel()
    if played is None:
        assert signalled is not None, "only a signal cancels"
        sys.exit(_SIGNALLED + signalled)
    return played


if __name__ == "__main__":
    main()
