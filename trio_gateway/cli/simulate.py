"""`trio-gateway simulate`: what would this policy do to my users?"""

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress

from trio_gateway.chaos.page.document import render
from trio_gateway.chaos.page.filling import page_run_of
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import (
    changed,
    make_policy,
    read_policy_document,
)
from trio_gateway.chaos.scenarios.report import as_json
from trio_gateway.chaos.scenarios.run import OnProgress, Run, run_decisions
from trio_gateway.chaos.scenarios.texts import (
    comparison_text,
    run_text,
    seeds_text,
    sweep_text,
)
from trio_gateway.cli.output import see_writable
from trio_gateway.cli.refusal import say_refusal
from trio_gateway.cli.simulate_wire import run_wire
from trio_gateway.policy.files.document import Document
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.route import Policy

Depth = Callable[[Scenario, Policy, int, str, OnProgress], Run]


@click.command(short_help="Play an outage, and judge a policy by it.")
@click.argument(
    "scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--policy",
    type=click.Path(exists=True, path_type=Path),
    help="In place of the scenario's own.",
)
@click.option(
    "--depth",
    type=click.Choice(["decisions", "wire"]),
    default="decisions",
    show_default=True,
    help="The engine alone, or the whole gateway with all its bytes.",
)
@click.option("--seed", type=click.IntRange(0), help="In place of the scenario's own.")
@click.option("--seeds", type=click.IntRange(1), help="Try so many, from the seed on.")
@click.option(
    "--compare",
    type=click.Path(exists=True, path_type=Path),
    help="Another policy, to be shown beside the first.",
)
@click.option("--sweep", help="A key of the policy and its values: KEY=a,b,c.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    callback=see_writable,
    help="- is stdout.",
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=see_writable,
    help="Write a page for a browser, with pictures over time.",
)
def simulate(
    scenario: Path,
    policy: Path | None,
    depth: str,
    seed: int | None,
    seeds: int | None,
    compare: Path | None,
    sweep: str | None,
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    """Play a scenario through the production engine, and judge what comes of it.

    A scenario (see policies/scenarios/) names a policy, the weather of its providers,
    the clients and what is expected. Time is virtual, secrets are not needed, and the
    same seed gives the same run to the byte.

    Exit code 1: an expectation is not met, or an invariant is broken; the shortest
    history that shows it is printed, with the command that repeats it.

    \b
    Examples:
      trio-gateway simulate policies/scenarios/hard-outage.yaml
      trio-gateway simulate policies/scenarios/slow-down.yaml --policy my.yaml
      trio-gateway simulate my-scenario.yaml --seeds 20
      trio-gateway simulate S.yaml --sweep defaults.timeouts.first_token.soft=2s,4s,8s
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    if sum(each is not None for each in (seeds, compare, sweep)) > 1:
        raise click.UsageError("--seeds, --compare and --sweep do not go together")
    try:
        play = load_scenario(scenario)
        document = read_policy_document(policy or _own_policy(play))
        first = play.seed if seed is None else seed
        runs = _runs(play, document, depth, first, seeds, compare, sweep)
    except PolicyError as error:
        say_refusal(error)
        raise SystemExit(2) from error
    command = _command(scenario, policy, depth)
    if json_file is not None:
        _write_json(runs, json_file)
    if html_file is not None:
        before = runs[0].policy if compare is not None else None
        pages = [page_run_of(run, command, before=before) for run in runs]
        html_file.write_text(render(pages), encoding="utf-8")
    if str(json_file) != "-":
        if compare is not None:
            click.echo(comparison_text(runs, command))
        elif sweep is not None:
            click.echo(sweep_text(sweep.partition("=")[0], runs, command))
        elif seeds is not None:
            click.echo(seeds_text(runs, command))
        else:
            click.echo(run_text(runs[0], command))
    if not all(run.holds for run in runs):
        raise SystemExit(1)


def _own_policy(scenario: Scenario) -> Path | Document:
    """The policy that a scenario names, which may not be where it is said to be."""
    named = scenario.policy
    if isinstance(named, Path) and not named.exists():
        problem = scenario.document.problem(
            ("policy",),
            f"there is no {named}",
            "Name a file or a folder as seen from the scenario's, or use --policy.",
        )
        raise PolicyError([problem], scenario.document.sources)
    return named


def _runs(
    scenario: Scenario,
    document: Document,
    depth: str,
    first: int,
    seeds: int | None,
    compare: Path | None,
    sweep: str | None,
) -> list[Run]:
    """Every run that was asked for, one after the other."""
    wanted = list(_wanted(document, first, seeds, compare, sweep))
    run = DEPTHS[depth]
    runs: list[Run] = []
    with _progress(len(wanted) * scenario.duration_s) as progress:
        for number, (label, policy, seed) in enumerate(wanted):
            before_s = number * scenario.duration_s

            def tell(at_s: float, before_s: float = before_s) -> None:
                progress(before_s + min(at_s, scenario.duration_s))

            runs.append(run(scenario, policy, seed, label, tell))
    return runs


def _wanted(
    document: Document,
    first: int,
    seeds: int | None,
    compare: Path | None,
    sweep: str | None,
) -> Iterator[tuple[str, Policy, int]]:
    """A label, a policy and a seed for each run."""
    name = _label(document)
    if sweep is not None:
        key, equals, values = sweep.partition("=")
        if not (key and equals and values):
            raise click.UsageError("--sweep needs KEY=a,b,c")
        for value in values.split(","):
            yield value, make_policy(changed(document, key, value)), first
        return
    policy = make_policy(document)
    for number in range(seeds or 1):
        yield name, policy, first + number
    if compare is not None:
        other = read_policy_document(compare)
        yield _label(other), make_policy(other), first


def _label(document: Document) -> str:
    return Path(document.place(()).file).name


def _decisions(
    scenario: Scenario, policy: Policy, seed: int, label: str, tell: OnProgress
) -> Run:
    return run_decisions(scenario, policy, seed=seed, label=label, on_progress=tell)


DEPTHS: Final[dict[str, Depth]] = {"decisions": _decisions, "wire": run_wire}


@contextmanager
def _progress(total_s: float) -> Iterator[Callable[[float], None]]:
    """A bar of virtual time, on a terminal alone."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("simulating", total=total_s)
        yield lambda at_s: progress.update(task, completed=at_s)


def _command(scenario: Path, policy: Path | None, depth: str) -> str:
    """What repeats a run, without its seed."""
    words = ["trio-gateway", "simulate", str(scenario)]
    if policy is not None:
        words += ["--policy", str(policy)]
    if depth != "decisions":
        words += ["--depth", depth]
    return shlex.join(words)


def _write_json(runs: list[Run], file: Path) -> None:
    text = json.dumps(as_json(runs), indent=1)
    if str(file) == "-":
        click.echo(text)
    else:
        file.write_text(text + "\n")
