"""`trio-gateway bench`: what a request costs here, beside a plain relay."""

import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

import click
import trio

from trio_gateway.bench import processes, profile, report
from trio_gateway.bench.loads import LOADS
from trio_gateway.bench.run import SCENARIOS, Plan, Results, run, run_profiled
from trio_gateway.bench.systems import PRODUCT, YARDSTICK, StartError, System
from trio_gateway.cli.lazy import LazyGroup
from trio_gateway.cli.numbers import FiniteRange
from trio_gateway.cli.output import see_writable

T = TypeVar("T")


def _names(
    context: click.Context, parameter: click.Parameter, text: str
) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _scenarios(
    context: click.Context, parameter: click.Parameter, text: str
) -> tuple[str, ...]:
    names = _names(context, parameter, text)
    for name in names:
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise click.BadParameter(f"{name!r} is none of {known}")
    return names or tuple(SCENARIOS)


class _Commands(LazyGroup):
    below: ClassVar = {"departures": "bench_departures", "engine": "bench_engine"}


@click.group(cls=_Commands, invoke_without_command=True)
@click.option(
    "--compare",
    callback=_names,
    default=YARDSTICK,
    show_default=True,
    help="'yardstick', addresses of gateways that run already, or both, by commas. "
    "An address with #PID has its CPU time read.",
)
@click.option("--compare-key", default="", help="The key for gateways that run.")
@click.option("--mock-port", default=0, help="Where those find the mock upstream.")
@click.option(
    "--seconds",
    default=3.0,
    show_default=True,
    type=FiniteRange(0.2, 600.0),
    help="Of each sample.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--only",
    callback=_scenarios,
    default="",
    help=f"Some of {', '.join(SCENARIOS)}, by commas.",
)
@click.option("--serve-args", default="", help="Further arguments for our `serve`.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    callback=see_writable,
    help="Write every sample there; '-' is stdout, in place of the table.",
)
@click.option(
    "--assert-ratio",
    type=FiniteRange(0.0),
    help="Exit with 1 if a request does not take so many times less CPU than the "
    "yardstick's.",
)
@click.option(
    "--profile",
    "profile_file",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=see_writable,
    help="Compare nothing: run the first of --only under cProfile, which writes there.",
)
@click.pass_context
def bench(
    context: click.Context,
    compare: tuple[str, ...],
    compare_key: str,
    mock_port: int,
    seconds: float,
    rounds: int,
    only: tuple[str, ...],
    serve_args: str,
    json_file: Path | None,
    assert_ratio: float | None,
    profile_file: Path | None,
) -> None:
    """Measure what a request costs on this machine.

    The gateway runs as it is served, between a mock provider and clients that check
    every answer, all of them processes on loopback. Beside it, in turn, runs a relay
    written plainly with Quart-Trio, Hypercorn and httpx: the yardstick. What that takes
    at most is shown in the last column. Needs Linux.

    Exit code 1: an answer of ours was bad, or the ratio is below --assert-ratio.

    \b
    Examples:
      trio-gateway bench
      trio-gateway bench --only requests,failover --seconds 1 --assert-ratio 10
      trio-gateway bench --only chunks-gaps --profile /tmp/chunks.prof
      trio-gateway bench departures --help
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    if context.invoked_subcommand is not None:
        return
    if not processes.is_known():
        raise click.UsageError("this system has no /proc: CPU times cannot be read")
    if assert_ratio is not None and not (YARDSTICK in compare and "requests" in only):
        raise click.UsageError(f"--assert-ratio needs 'requests' and '{YARDSTICK}'")
    plan = Plan(
        scenarios=only,
        with_yardstick=YARDSTICK in compare,
        peers=_peers(compare, compare_key),
        peer_key=compare_key,
        seconds=seconds,
        rounds=rounds,
        serve_arguments=tuple(shlex.split(serve_args)),
        mock_port=mock_port,
    )
    if profile_file is not None:
        _tell_profile(plan, profile_file)
        return
    results = _completed(partial(run, plan, _tell_progress))
    _tell_results(results, plan, json_file)
    is_slow = assert_ratio is not None and not _is_reached(results, assert_ratio)
    raise SystemExit(1 if is_slow or results.bad(PRODUCT) else 0)


def _peers(compare: Sequence[str], key: str) -> tuple[str, ...]:
    peers = tuple(name for name in compare if name != YARDSTICK)
    for peer in peers:
        try:
            System.at(peer, key)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    return peers


def _completed(measuring: Callable[[], Awaitable[T]]) -> T:
    """Run it to its end, or say what did not start."""
    try:
        return trio.run(measuring)
    except* StartError as group:
        for error in _leaves(group):
            click.echo(f"error: {error}", err=True)
    raise SystemExit(2)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _tell_progress(line: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", err=True, nl=False)


def _tell_results(results: Results, plan: Plan, json_file: Path | None) -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    machine = report.machine(datetime.now(UTC), len(os.sched_getaffinity(0)))
    if json_file is not None:
        text = json.dumps(report.as_json(results, plan, machine), indent=1)
        with click.open_file(str(json_file), "w") as file:
            file.write(text + "\n")
    if json_file != Path("-"):
        click.echo("\n".join(report.table(results, plan, machine)))


def _is_reached(results: Results, least: float) -> bool:
    ratio = report.times_less(results)
    if ratio is not None and ratio >= least:
        return True
    told = "unknown" if ratio is None else f"{ratio:.1f}"
    click.echo(f"error: the ratio is {told}, below {least:g}", err=True)
    return False


def _tell_profile(plan: Plan, file: Path) -> None:
    load = SCENARIOS[plan.scenarios[0]][0]
    if LOADS[load].is_held:
        raise click.UsageError(f"nothing is computed in {load}: profile another one")
    sample = _completed(partial(run_profiled, plan, load, file))
    if not sample.answers:
        click.echo(f"error: no good answer, but {sample.bad}", err=True)
        raise SystemExit(1)
    click.echo(f"{load}, under the profiler: {sample.cpu_ms:.3f} ms CPU per answer")
    chunks = LOADS[load].chunks
    unit, times = ("chunk", sample.answers * chunks) if chunks else ("answer", 0)
    click.echo("\n".join(profile.table(file, times or sample.answers, unit)))
