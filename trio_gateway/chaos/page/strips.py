"""Bars along the axis of time: what was wrong with a target, and what its breaker did.

Each bar has its words in it, and each kind its pattern: nothing is told by colour
alone.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from trio_gateway.chaos.page.plots import Backdrop
from trio_gateway.chaos.page.values import FaultWindow, PageRun, PageTarget
from trio_gateway.chaos.page.words import (
    THIN,
    clock_text,
    share_text,
    span_text,
    text,
)
from trio_gateway.failover.breaker import BreakerState

# Windows nearer than this share of the run look like one.
_JOIN_SHARE: Final = 0.002
# More bars of a kind than this in one row are a texture: neighbours are joined.
_BARS_MAX: Final = 80
# A target struck in more ways than this has them told as one.
_KINDS_MAX: Final = 3
# Rows of faults: one for each target that has any.
_ROWS_MAX: Final = 8


def windows(run: PageRun) -> tuple[tuple[float, float], ...]:
    """When anything at all was wrong."""
    return _few(run.faults, run.duration_s)


Spans = tuple[tuple[float, float], ...]


def _few(faults: Iterable[FaultWindow], duration_s: float) -> Spans:
    """When there was any of these, in no more stretches than can be drawn."""
    spans = _joined(faults, _JOIN_SHARE * duration_s)
    if len(spans) <= _BARS_MAX:
        return spans
    return _joined(faults, duration_s / _BARS_MAX)


def _joined(faults: Iterable[FaultWindow], gap_s: float) -> Spans:
    found: list[tuple[float, float]] = []
    for fault in sorted(faults, key=lambda each: each.from_s):
        if found and fault.from_s <= found[-1][1] + gap_s:
            from_s, until_s = found.pop()
            found.append((from_s, max(until_s, fault.until_s)))
        else:
            found.append((fault.from_s, fault.until_s))
    return tuple(found)


def fault_strips(
    runs: Sequence[PageRun], backdrops: Sequence[Backdrop]
) -> Iterable[str]:
    """For each run, a row of bars for each target that something is wrong with."""
    for run, backdrop in zip(runs, backdrops, strict=True):
        rows: dict[str, list[FaultWindow]] = {}
        for fault in run.faults:
            rows.setdefault(fault.target, []).append(fault)
        shown = list(rows.items())[:_ROWS_MAX]
        drawn = "".join(_faults(target, found, backdrop) for target, found in shown)
        if len(rows) > _ROWS_MAX:
            more = len(rows) - _ROWS_MAX
            drawn += f'<p class="note">and {more} more targets with faults</p>'
        yield f'<div class="faults">{drawn or _NO_FAULTS}</div>'


_NO_FAULTS: Final = '<p class="note">none</p>'


def _faults(target: str, found: list[FaultWindow], backdrop: Backdrop) -> str:
    by_words: dict[str, list[FaultWindow]] = {}
    for fault in found:
        by_words.setdefault(_words(fault), []).append(fault)
    if len(by_words) > _KINDS_MAX:
        by_words = {f"{len(by_words)} kinds of faults": found}
    bars, told = "", []
    for words, alike in by_words.items():
        spans = _few(alike, backdrop.duration_s)
        for from_s, until_s in spans:
            bars += _bar("bad", words, from_s, until_s, backdrop)
        first, last = spans[0][0], spans[-1][1]
        times = f" ({len(spans)} times)" if len(spans) > 1 else ""
        told.append(f"{words}, {clock_text(first)} to {clock_text(last)}{times}")
    says = "; ".join(told)
    return (
        f'<div class="plot"><p class="of">{text(target)} <span>{text(says)}</span></p>'
        f'<div class="strip" aria-hidden="true">{bars}</div></div>'
    )


def _words(fault: FaultWindow) -> str:
    words = fault.what
    if fault.share < 1:
        words += f" for {share_text(fault.share)}"
    if fault.flaps is not None:
        on_s, off_s = fault.flaps
        words += f", {span_text(on_s)} on, {span_text(off_s)} off"
    return words


_STATES: Final = {
    BreakerState.CLOSED: ("closed", "closed: in use"),
    BreakerState.OPEN: ("open", "open: left alone"),
    BreakerState.PROBE: ("probe", "probe: tried by one request"),
    BreakerState.RAMP: ("ramp", "ramp: trusted little by little"),
}


def breaker_strip(target: PageTarget, backdrop: Backdrop) -> str:
    """The states of a target's breaker, one after the other."""
    bars = "".join(
        _bar(
            _STATES[span.state][0],
            span.state.value,
            span.from_s,
            span.until_s,
            backdrop,
        )
        for span in target.states
    )
    in_s = dict.fromkeys(BreakerState, 0.0)
    for span in target.states:
        in_s[span.state] += span.until_s - span.from_s
    told = [
        f"{state.value} {span_text(round(total_s, 1))}"
        for state, total_s in in_s.items()
        if total_s > 0
    ]
    says = f"Breaker of {target.id}: opened {target.opened} times; {', '.join(told)}."
    return (
        '<div class="plot breaker"><div class="marks" aria-hidden="true">'
        "<span>breaker</span></div>"
        f'<div class="strip" role="img" aria-label="{text(says)}">{bars}</div></div>'
    )


def state_key() -> str:
    """What the states' colours and patterns mean."""
    entries = "".join(
        f'<span class="key"><i class="bar {kind}"></i>{text(words)}</span>'
        for kind, words in _STATES.values()
    )
    return f'<p class="note keys">Breakers: {entries}</p>'


def _bar(
    kind: str, words: str, from_s: float, until_s: float, backdrop: Backdrop
) -> str:
    left, right = backdrop.x(from_s) / 10, backdrop.x(until_s) / 10
    width = max(0.15, right - left)
    title = f"{words}, {clock_text(from_s)} to {clock_text(until_s)}".replace(THIN, " ")
    label = f"<b>{text(words)}</b>" if width >= 4 else ""
    return (
        f'<i class="bar {kind}" style="left:{left:.2f}%;width:{width:.2f}%" '
        f'title="{text(title)}">{label}</i>'
    )
