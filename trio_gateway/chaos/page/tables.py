"""The tables of a page: expectations, targets, what changed, and numbers over time."""

from collections.abc import Iterable, Sequence
from typing import Final

from trio_gateway.chaos.page.values import Measured, PageRun, PageTarget
from trio_gateway.chaos.page.words import (
    THIN,
    bound_text,
    clock_text,
    plain,
    seconds_text,
    share_text,
    text,
    value_text,
)
from trio_gateway.chaos.scenarios.expect import Unit
from trio_gateway.failover.breaker import BreakerState

# The timelines in numbers, as many rows as people read.
_ROWS_MAX: Final = 24
# Quantiles are right within 1 %; nobody notices less of anything.
_SAME_WITHIN: Final = 0.01
_MINUS: Final = "\u2212"
_NONE: Final = "\u2013"


def table(
    caption: str, head: Sequence[str], rows: Iterable[str], kind: str = ""
) -> str:
    """A table that can be moved sideways where it does not fit, also by keyboard."""
    columns = "".join(f'<th scope="col">{text(each)}</th>' for each in head)
    return (
        f'<div class="scroll" role="region" aria-label="{text(caption)}" tabindex="0">'
        f'<table class="{kind}"><caption>{text(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(first: str, cells: Iterable[str], kind: str = "") -> str:
    """A row with its own head; the cells are HTML already."""
    inner = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{kind}"><th scope="row">{text(first)}</th>{inner}</tr>'


def mark(*, ok: bool, words: tuple[str, str] = ("met", "failed")) -> str:
    """A judgement by sign, word and colour."""
    good, bad = words
    if ok:
        return f'<span class="ok">\u2713 {good}</span>'
    return f'<span class="bad-word">\u2717 {bad}</span>'


# Expectations


def expectations(run: PageRun) -> str:
    """What was expected, beside what was measured; other measures below."""
    wanted = [each for each in run.measures if each.bound is not None]
    others = [each for each in run.measures if each.bound is None]
    rows = [_expected(each) for each in wanted]
    rows.append(
        row(
            "invariants",
            (
                "all",
                f"{len(run.violations) or 'none'} broken",
                mark(ok=not run.violations),
            ),
            "failed" if run.violations else "",
        )
    )
    rows += [
        row(each.measure.title, ("", value_text(each.measure, each.value), ""), "quiet")
        for each in others
        if each.value is not None
    ]
    head = ("", "expected", "measured", "")
    return table("Expectations", head, rows, "numbers expected")


def _expected(each: Measured) -> str:
    cells = (
        bound_text(each.measure, each.bound),
        value_text(each.measure, each.value),
        mark(ok=each.ok),
    )
    return row(each.measure.title, cells, "" if each.ok else "failed")


# What changed


def comparison(one: PageRun, other: PageRun) -> str:
    """Two runs, measure by measure; what differs stands out."""
    pairs = zip(one.measures, other.measures, strict=True)
    rows = [
        _compared(left, right)
        for left, right in pairs
        if (left.value, right.value) != (None, None)
    ]
    for target_id in dict.fromkeys(t.id for run in (one, other) for t in run.targets):
        sent = [
            next((t.attempts for t in run.targets if t.id == target_id), None)
            for run in (one, other)
        ]
        written = [_NONE if n is None else f"{n:,}" for n in sent]
        kind = "changed" if sent[0] != sent[1] else "quiet"
        cells = (_NONE, *written, _times(*sent))
        rows.append(row(f"requests to {target_id}", cells, kind))
    head = ("", "expected", one.policy, other.policy, "change")
    return table("What changed", head, rows, "numbers compare")


def _compared(left: Measured, right: Measured) -> str:
    change = _change(left, right)
    cells = (
        bound_text(left.measure, left.bound),
        value_text(left.measure, left.value) + ("" if left.ok else " \u2717"),
        value_text(right.measure, right.value) + ("" if right.ok else " \u2717"),
        change or "same",
    )
    return row(left.measure.title, cells, "changed" if change else "quiet")


def _change(left: Measured, right: Measured) -> str:
    """Whether it is better, and by how much; nothing where it is about the same."""
    measure, before, after = left.measure, left.value, right.value
    if before is None or after is None:
        return _NONE if before != after else ""
    if value_text(measure, before) == value_text(measure, after):
        return ""
    by = ""
    if measure.unit is Unit.SHARE:
        by = f"{_signed(100 * (after - before))} points"
    elif before > 0 and after > 0:
        if abs(after / before - 1) < _SAME_WITHIN:
            return ""
        by = _ratio(after / before)
    is_better = (after > before) == measure.is_at_least
    word = "\u25b2 better" if is_better else "\u25bc worse"
    kind = "ok" if is_better else "bad-word"
    return f'<span class="{kind}">{word}</span> {by}'


def _times(left: int | None, right: int | None) -> str:
    if not left or not right:
        return "" if left == right else "more" if right else "fewer"
    return _ratio(right / left) if left != right else "same"


def _ratio(ratio: float) -> str:
    if ratio >= 2:
        return f"\u00d7{ratio:.1f}"
    return f"{_signed(100 * (ratio - 1))}{THIN}%"


def _signed(number: float) -> str:
    return f"{'+' if number > 0 else _MINUS}{plain(abs(number))}"


# Targets


def targets(run: PageRun, caption: str = "By target") -> str:
    """What each target saw."""
    head = (
        *("target", "requests", "first attempts", "failed", "failures"),
        *("most at once", "breaker opened", "not closed for"),
    )
    rows = [_target(each, run.duration_s) for each in run.targets]
    return table(caption, head, rows or [_EMPTY.format(len(head))], "numbers targets")


_EMPTY: Final = '<tr><td colspan="{}">none</td></tr>'


def _target(target: PageTarget, duration_s: float) -> str:
    shut_s = sum(
        span.until_s - span.from_s
        for span in target.states
        if span.state is not BreakerState.CLOSED
    )
    kinds = ", ".join(
        f"{kind.replace('_', ' ')} {times:,}" for kind, times in target.failures[:4]
    )
    failed = f"{target.failed:,}"
    if target.failed:
        failed += f" <small>{_per_cent(target.failed, target.attempts)}</small>"
    cells = (
        f"{target.attempts:,}",
        f"{target.first_attempts:,}",
        failed,
        text(kinds or _NONE),
        f"{target.peak:,}",
        f"{target.opened:,}\u00d7" if target.opened else "never",
        f"{seconds_text(shut_s)} <small>{_per_cent(shut_s, duration_s)}</small>"
        if shut_s
        else _NONE,
    )
    return row(target.id, cells)


def _per_cent(part: float, whole: float) -> str:
    return f"{plain(100 * part / whole) if whole else 0}{THIN}%"


# Numbers over time


def over_time(run: PageRun) -> str:
    """The timelines as numbers, for whom pictures say nothing."""
    load, bands = run.load, run.first_token
    every = max(1, -(-len(load.offered) // _ROWS_MAX))
    rows = []
    for at in range(0, len(load.offered), every):
        until = min(at + every, len(load.offered))
        from_s, until_s = at * load.bucket_s, min(until * load.bucket_s, run.duration_s)
        lows = [share for share in load.availability[at:until] if share is not None]
        first, last = int(from_s / bands.bucket_s), int(until_s / bands.bucket_s)
        rows.append(
            row(
                f"{clock_text(from_s)} to {clock_text(until_s)}",
                (
                    f"{sum(load.offered[at:until]):,}",
                    f"{sum(load.answered[at:until]):,}",
                    share_text(min(lows)) if lows else _NONE,
                    _most(bands.p50[first : max(last, first + 1)]),
                    _most(bands.p99[first : max(last, first + 1)]),
                    text(_trouble(run, from_s, until_s)),
                ),
            )
        )
    head = (
        *("time", "came", "answered", "lowest availability"),
        *("highest p50", "highest p99", "breakers not closed"),
    )
    return table(f"Numbers over time, {run.policy}", head, rows, "numbers moments")


def _most(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return seconds_text(max(known)) if known else _NONE


def _trouble(run: PageRun, from_s: float, until_s: float) -> str:
    found = [
        target.id
        for target in run.targets
        if any(
            span.state is not BreakerState.CLOSED
            and span.from_s < until_s
            and span.until_s > from_s
            for span in target.states
        )
    ]
    return ", ".join(found) or _NONE


# Many runs


def overview(runs: Sequence[PageRun]) -> str:
    """A row for each run: whether it held, and its measures."""
    known = {e.measure.key for run in runs for e in run.measures if e.value is not None}
    shown = [e.measure for e in runs[0].measures if e.measure.key in known]
    is_one_policy = len({run.policy for run in runs}) == 1
    rows = []
    for run in runs:
        by_key = {each.measure.key: each for each in run.measures}
        cells = [mark(ok=run.holds, words=("held", "failed"))]
        for measure in shown:
            each = by_key[measure.key]
            sign = "" if each.ok else " \u2717"
            cells.append(value_text(measure, each.value) + sign)
        seed = f"seed {run.seed}"
        name = seed if is_one_policy else f"{run.policy}, {seed}"
        rows.append(row(name, cells, "" if run.holds else "failed"))
    head = ("run", "verdict", *(each.title for each in shown))
    return table("All runs", head, rows, "numbers every")
