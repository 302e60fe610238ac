"""A run told in plain text: the verdict first, then what it rests on.

No colours and no widths of a terminal: what a person reads, a pipe gets as well.
"""

from collections.abc import Iterable, Sequence
from math import floor
from typing import Final

from trio_gateway.chaos.scenarios.expect import MEASURES, Measure, Unit
from trio_gateway.chaos.scenarios.run import Run
from trio_gateway.chaos.scenarios.witness import Shown
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.relay.record import Outcome

Table = list[tuple[str, ...]]

# A worst request's line in a terminal; the page shows all of them.
_WORST_SHOWN: Final = 3

# Beyond so many digits a share is as good as whole.
_SHARE_DIGITS_MAX: Final = 6

# What 100 times a float may lose, and more: 0.999 is 99.9 %.
_LOST: Final = 1e-6

# What a table of many runs has room for.
_SWEPT: Final = frozenset(
    {
        "availability",
        "first_token.p50",
        "first_token.p99",
        "worst_request",
        "amplification",
        "cost_multiplier",
        "cut_streams",
    }
)


def run_text(run: Run, command: str) -> str:
    """One run, for a terminal or a pipe.

    Args:
        run: the run.
        command: what repeats it, without its seed.
    """
    parts = [_head(run)]
    if run.scenario.teaches:
        parts.append(run.scenario.teaches)
    parts += [_block(_expectations(run)), _block(_targets(run)), _worst(run)]
    if not run.holds:
        parts.append(_evidence(run, command))
    return "\n\n".join(part for part in parts if part)


def comparison_text(runs: Sequence[Run], command: str) -> str:
    """The same scenario under two policies, side by side."""
    one, other = runs
    rows: Table = [("", one.label, other.label, "")]
    for measure in MEASURES:
        left, right = one.measured[measure.key], other.measured[measure.key]
        said = shown(measure, left), shown(measure, right)
        if said[0] != said[1] or measure.key in ("availability", "first_token.p99"):
            rows.append((measure.title, *said, _better(measure, left, right)))
    rows.append(("holds", _yes(one.holds), _yes(other.holds), ""))
    for target in dict.fromkeys([*one.result.targets, *other.result.targets]):
        sent = tuple(
            str(run.result.targets[target].attempts)
            if target in run.result.targets
            else "-"
            for run in runs
        )
        rows.append((f"requests to {target}", *sent, ""))
    head = f"{one.scenario.name}, seed {one.seed}: {one.label} beside {other.label}"
    failing = [run for run in runs if not run.holds]
    evidence = [f"{run.label}: {_evidence(run, command)}" for run in failing]
    return "\n\n".join([head, _block(rows), *evidence])


def sweep_text(key: str, runs: Sequence[Run], command: str) -> str:
    """The same scenario with several values of one key, a row each."""
    columns = [measure for measure in MEASURES if measure.key in _SWEPT]
    rows: Table = [(key, *(measure.title for measure in columns), "holds")]
    for run in runs:
        measured = run.measured
        cells = (shown(measure, measured[measure.key]) for measure in columns)
        rows.append((run.label, *cells, _yes(run.holds)))
    head = f"{runs[0].scenario.name}, seed {runs[0].seed}: {key}"
    failing = next((run for run in runs if not run.holds), None)
    evidence = [f"{failing.label}: {_evidence(failing, command)}"] if failing else []
    return "\n\n".join([head, _block(rows), *evidence])


def seeds_text(runs: Sequence[Run], command: str) -> str:
    """The same scenario under several seeds: how many hold, and the worst numbers."""
    failing = [run for run in runs if not run.holds]
    name = runs[0].scenario.name
    good = len(runs) - len(failing)
    word = "FAILS" if failing else "holds"
    head = f"{name}: {word}, {good} of {len(runs)} seeds hold"
    rows: Table = [("over all seeds", "bound", "worst", "median", "")]
    for index, verdict in enumerate(runs[0].verdicts):
        measure = verdict.bound.measure
        values = [run.verdicts[index].measured for run in runs]
        known = sorted(
            (value for value in values if value is not None),
            reverse=measure.is_at_least,
        )
        if known:
            worst, median = known[-1], known[len(known) // 2]
            fails = sum(not run.verdicts[index].holds for run in runs)
            rows.append(
                (
                    measure.title,
                    _bound(measure, verdict.bound.value),
                    shown(measure, worst),
                    shown(measure, median),
                    f"FAILS {fails}x" if fails else "ok",
                )
            )
    broken = sum(run.witness.broken is not None for run in runs)
    rows.append(("invariants", "all", *_broken_cells(broken), _ok(not broken)))
    evidence = [_evidence(failing[0], command)] if failing else []
    return "\n\n".join([head, _block(rows), *evidence])


def _broken_cells(broken: int) -> tuple[str, str]:
    return f"{broken} seeds break one" if broken else "all", ""


def _head(run: Run) -> str:
    word = "holds" if run.holds else "FAILS"
    total = run.result.total
    rate = total.exchanges / run.wall_s if run.wall_s > 0 else 0.0
    return (
        f"{run.scenario.name}: {word}  ({run.label}, seed {run.seed}, {run.depth})\n"
        f"{total.questions:,} requests in {seconds(run.result.duration_s)} of virtual "
        f"time, {run.wall_s:.1f} s of ours ({rate:,.0f} exchanges/s); "
        f"digest {run.result.digest}"
    )


def _expectations(run: Run) -> Table:
    rows: Table = [("expected", "bound", "measured", "")]
    for verdict in run.verdicts:
        measure = verdict.bound.measure
        rows.append(
            (
                measure.title,
                _bound(measure, verdict.bound.value),
                shown(measure, verdict.measured),
                _ok(verdict.holds),
            )
        )
    broken = run.witness.broken
    measured = "all hold" if broken is None else broken[0][0].partition(":")[0]
    rows.append(("invariants", "all", measured, _ok(broken is None)))
    return rows


def _targets(run: Run) -> Table:
    rows: Table = [("target", "requests", "failed", "most at once", "breaker", "as")]
    for tally in run.result.targets.values():
        opened = sum(
            change.target == tally.id and change.after is BreakerState.OPEN
            for change in run.result.changes
        )
        kinds = ", ".join(
            f"{kind} {times}" for kind, times in tally.failures.most_common(3)
        )
        failed = sum(tally.failures.values())
        breaker = f"opened {opened}x" if opened else "closed"
        rows.append(
            (
                tally.id,
                f"{tally.attempts:,}",
                f"{failed:,}",
                str(tally.peak),
                breaker,
                kinds,
            )
        )
    return rows


def _worst(run: Run) -> str:
    lines = []
    for worst in run.witness.worst[:_WORST_SHOWN]:
        tried = " -> ".join(
            f"{each.target}: {each.failure or 'ok'}"
            + (
                ""
                if each.until_s is None
                else f" ({seconds(each.until_s - each.from_s)})"
            )
            for each in worst.attempts
        )
        at = seconds(worst.at_s)
        lines.append(f"  {seconds(worst.wait_s)} at {at}, {worst.outcome}: {tried}")
    return "\n".join(["slowest to a first token:", *lines]) if lines else ""


def _evidence(run: Run, command: str) -> str:
    """The shortest history that shows what is wrong, and how to see it again."""
    lines: list[str] = []
    broken = run.witness.broken
    if broken is not None:
        violations, history = broken
        lines += ["an invariant is broken:", *(f"  {each}" for each in violations)]
        lines += _history("its shortest history", history)
    elif (bad := _bad_end(run)) is not None:
        lines += _history(*bad)
    lines.append(f"again: {command} --seed {run.seed}")
    return "\n".join(lines)


def _bad_end(run: Run) -> tuple[str, Shown] | None:
    for outcome in (Outcome.REFUSED, Outcome.INTERRUPTED):
        history = run.witness.shortest(outcome)
        if history is not None:
            return f"the shortest history of a request that was {outcome}", history
    return None


def _history(title: str, history: Shown) -> list[str]:
    return [f"{title} ({history.ticket}):", *(f"  {line}" for line in history.lines)]


def shown(measure: Measure, value: float | None) -> str:
    """A measured number as people write it."""
    if value is None:
        return "-"
    match measure.unit:
        case Unit.SHARE:
            return f"{percent(value)} %"
        case Unit.SECONDS:
            return seconds(value)
        case Unit.FACTOR:
            return f"{value:.3f}"
        case Unit.PER_S:
            return f"{value:.2f}/s"
        case Unit.COUNT:
            return f"{value:.0f}"


def percent(share: float) -> str:
    """A share in per cent, rounded down: what is not everything is not 100."""
    per_cent = 100 * share
    digits = 2
    while digits < _SHARE_DIGITS_MAX and 0 < 100 - per_cent < 10**-digits - _LOST:
        digits += 1
    cut = floor(per_cent * 10**digits + _LOST) / 10**digits
    return f"{cut:.{digits}f}"


def seconds(value: float) -> str:
    """A duration as people write it."""
    if value < 1.0:
        return f"{1000 * value:.0f} ms"
    if value < 120.0:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _bound(measure: Measure, value: float) -> str:
    return f"{'>=' if measure.is_at_least else '<='} {shown(measure, value)}"


def _better(measure: Measure, left: float | None, right: float | None) -> str:
    if left is None or right is None or left == right:
        return ""
    return "better" if (right > left) == measure.is_at_least else "worse"


def _ok(good: bool) -> str:  # noqa: FBT001 - a word for a fact
    return "ok" if good else "FAILS"


def _yes(good: bool) -> str:  # noqa: FBT001 - a word for a fact
    return "yes" if good else "NO"


def _block(rows: Iterable[tuple[str, ...]]) -> str:
    """A table: the first column to the left, numbers to the right of theirs."""
    table = [tuple(row) for row in rows]
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 or at == len(row) - 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )
