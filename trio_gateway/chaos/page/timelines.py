"""What happened over time: all pictures under one another, on one axis of time.

Where two runs are shown, each picture stands beside its sister, on the same scale.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from trio_gateway.chaos.page.plots import (
    Backdrop,
    band,
    line,
    missing,
    outline,
    plot,
    steps,
)
from trio_gateway.chaos.page.scales import durations, rates, shares, time_ticks
from trio_gateway.chaos.page.strips import breaker_strip, fault_strips, windows
from trio_gateway.chaos.page.values import PageRun, PageTarget
from trio_gateway.chaos.page.words import plain, seconds_text, share_text, text

# A page with more pictures is not read; the table has all targets.
TARGETS_MAX: Final = 8


def timelines(runs: Sequence[PageRun]) -> str:
    """The whole section."""
    duration_s = max(run.duration_s for run in runs)
    ticks = time_ticks(duration_s)
    backdrops = [Backdrop(duration_s, ticks, windows(run)) for run in runs]
    both = list(zip(runs, backdrops, strict=True))
    ids = list(dict.fromkeys(target.id for run in runs for target in run.targets))
    lanes = [
        _lane("Faults", "", runs, fault_strips(runs, backdrops)),
        _lane("Load", _LOAD_KEY, runs, _load(both)),
        _lane("Availability", _AVAILABILITY_KEY, runs, _availability(both)),
        _lane("Time to first token", _BANDS_KEY, runs, _first_tokens(both)),
        *(_target_lane(each, both) for each in ids[:TARGETS_MAX]),
    ]
    more = len(ids) - TARGETS_MAX
    note = (
        f'<p class="note">{more} more targets are in the table.</p>' if more > 0 else ""
    )
    axis = "".join(
        _axis(run, ticks_of, is_named=len(runs) > 1) for run, ticks_of in both
    )
    shaded = (
        "Shaded: some fault was in force."
        if any(run.faults for run in runs)
        else "No fault was in force."
    )
    return (
        '<section aria-labelledby="over-time"><h2 id="over-time">Over time</h2>'
        f'<p class="note">One axis of time for all. {shaded}</p>'
        f'<div class="lanes" data-duration="{duration_s:g}">'
        f'<div class="axis pair" aria-hidden="true">{axis}</div>'
        f"{''.join(lanes)}</div>{note}</section>"
    )


# A mark so near the end stands before its place: the page ends there.
_EDGE: Final = 0.96
_LAST: Final = ' class="last"'


def _axis(run: PageRun, backdrop: Backdrop, *, is_named: bool) -> str:
    marks = "".join(
        f'<span style="left:{100 * tick.place:.4g}%"{_LAST * (tick.place > _EDGE)}>'
        f"{text(tick.words)}</span>"
        for tick in backdrop.ticks
    )
    name = f'<b class="who">{text(run.policy)}</b>' if is_named else ""
    return f'<div class="plot">{name}<div class="times">{marks}</div></div>'


def _lane(title: str, key: str, runs: Sequence[PageRun], plots: Iterable[str]) -> str:
    if len(runs) > 1:  # under one another on a phone, where each needs its name
        plots = (
            f'<div><p class="who apart">{text(run.policy)}</p>{drawn}</div>'
            for run, drawn in zip(runs, plots, strict=True)
        )
    return (
        f'<figure class="lane"><figcaption><b>{text(title)}</b>{key}</figcaption>'
        f'<div class="pair">{"".join(plots)}</div></figure>'
    )


def _key(*entries: tuple[str, str]) -> str:
    return "".join(
        f'<span class="key"><i class="{kind}"></i>{text(words)}</span>'
        for kind, words in entries
    )


Both = list[tuple[PageRun, Backdrop]]

# Load

_LOAD_KEY: Final = _key(("k-offered", "offered"), ("k-answered", "answered in full"))


def _load(both: Both) -> Iterable[str]:
    scale, factor = rates(
        count / run.load.bucket_s
        for run, _ in both
        for count in (*run.load.offered, *run.load.answered)
    )
    for run, backdrop in both:
        bucket_s = run.load.bucket_s
        offered = [count / bucket_s * factor for count in run.load.offered]
        answered = [count / bucket_s * factor for count in run.load.answered]
        says = (
            f"Load: {run.questions:,} requests came in {seconds_text(run.duration_s)}, "
            f"{run.answered:,} were answered in full."
        )
        drawn = steps(backdrop, scale, bucket_s, answered, "answered")
        drawn += outline(backdrop, scale, bucket_s, offered, "offered")
        yield plot(backdrop, scale, drawn, says)


# Availability

_AVAILABILITY_KEY: Final = _key(
    ("k-available", "answered, of those that ended"), ("k-lost", "lost")
)


def _availability(both: Both) -> Iterable[str]:
    scale = shares(
        value for run, _ in both for value in run.load.availability if value is not None
    )
    for run, backdrop in both:
        series, bucket_s = run.load.availability, run.load.bucket_s
        known = [value for value in series if value is not None]
        says = f"Availability over time: lowest {share_text(min(known, default=1.0))}."
        drawn = missing(backdrop, scale, bucket_s, series, "lost")
        drawn += line(backdrop, scale, bucket_s, series, "available")
        yield plot(backdrop, scale, drawn, says, "low")


# Time to first token

_BANDS_KEY: Final = _key(
    ("k-p50", "p50"), ("k-p95", "up to p95"), ("k-p99", "up to p99")
)


def _first_tokens(both: Both) -> Iterable[str]:
    scale = durations(
        value
        for run, _ in both
        for series in (run.first_token.p50, run.first_token.p99)
        for value in series
        if value is not None
    )
    for run, backdrop in both:
        bands = run.first_token
        known = [value for value in bands.p99 if value is not None]
        says = "Time to first token: nothing to show."
        if known:
            says = (
                "Time to first token over time: p99 between "
                f"{seconds_text(min(known))} and {seconds_text(max(known))}."
            )
        bucket_s = bands.bucket_s
        drawn = band(backdrop, scale, bucket_s, bands.p95, bands.p99, "p99")
        drawn += band(backdrop, scale, bucket_s, bands.p50, bands.p95, "p95")
        drawn += line(backdrop, scale, bucket_s, bands.p50, "p50")
        kind = "log" if scale.is_log else ""
        yield plot(backdrop, scale, drawn, says, kind)


# Targets

_TARGET_KEY: Final = _key(
    ("k-firsts", "first attempts"), ("k-further", "further attempts")
)


def _target_lane(target_id: str, both: Both) -> str:
    found = [(run, backdrop, _of(run, target_id)) for run, backdrop in both]
    scale, factor = rates(
        count / run.load.bucket_s
        for run, _, target in found
        if target is not None
        for count in target.over_time
    )
    plots = []
    for run, backdrop, target in found:
        if target is None:
            plots.append('<p class="plot none">Not a target of this policy.</p>')
            continue
        bucket_s = run.load.bucket_s
        all_of = [count / bucket_s * factor for count in target.over_time]
        firsts = [count / bucket_s * factor for count in target.firsts]
        drawn = steps(backdrop, scale, bucket_s, all_of, "further")
        drawn += steps(backdrop, scale, bucket_s, firsts, "firsts")
        busiest = max(target.over_time, default=0) / bucket_s
        says = (
            f"Attempts at {target_id}: {target.attempts:,}, of them "
            f"{target.first_attempts:,} first ones; at most {plain(busiest)} a second."
        )
        strip = breaker_strip(target, backdrop)
        picture = plot(backdrop, scale, drawn, says, "low")
        plots.append(f"<div>{picture}{strip}</div>")
    return _lane(target_id, _TARGET_KEY, [run for run, _ in both], plots)


def _of(run: PageRun, target_id: str) -> PageTarget | None:
    return next((each for each in run.targets if each.id == target_id), None)
