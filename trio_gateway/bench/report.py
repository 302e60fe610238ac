"""What was measured, beside what was promised: for people, and for programs."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from trio_gateway.bench.client import Sample
from trio_gateway.bench.loads import CHUNKS
from trio_gateway.bench.run import Figure, Plan, Results
from trio_gateway.bench.systems import DIRECT, PRODUCT, YARDSTICK

# What makes a difference to what is measured.
_PACKAGES: Final = (
    *("trio-gateway", "trio", "hypercorn", "quart", "quart-trio"),
    *("httpx", "httpcore", "h11", "httptools"),
)
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised of one quantity: at most `share` of the yardstick's."""

    what: str
    quantity: str
    unit: str
    share: float | None = None
    at_most: float | None = None  # in its own unit, whatever the yardstick's is


TARGETS: Final = (
    Target("CPU per request, 32 at once", "requests", "ms", share=1 / 15),
    Target("CPU per request, one at a time", "alone", "ms"),
    Target("CPU per failover (429, then good)", "failover", "ms", share=1 / 10),
    Target("CPU per request, first target dead (503)", "dead-first", "ms"),
    Target("CPU per chunk, 10 ms gaps", "chunks-gaps", "us", share=0.4),
    Target("CPU per chunk, no gaps", "chunks-burst", "us", share=0.15),
    Target("CPU per request, 8 KB prompt", "prompt-8k", "ms", share=1 / 12),
    Target("CPU per request, 1 MB image", "prompt-1m", "ms", share=0.5),
    Target("added median latency, one at a time", "added-latency", "ms", share=0.25),
    Target("median latency at 50 requests/s", "open-loop-p50", "ms"),
    Target("99th percentile at 50 requests/s", "open-loop-p99", "ms"),
    Target("answers a second, 32 at once", "rate", "1/s"),
    Target("memory of 1,000 open streams", "open-streams", "MB", at_most=25.0),
)


def quantity(results: Results, system: str, name: str) -> Figure | None:
    """One quantity of one system, in its unit; None where it was not measured."""
    match name:
        case "chunks-gaps" | "chunks-burst":
            kind = name.removeprefix("chunks-")
            long = _cpu_ms(results, system, f"stream-{CHUNKS}-{kind}")
            short = _cpu_ms(results, system, f"stream-1-{kind}")
            return _per_chunk(long, short)
        case "added-latency":
            through = _latency_ms(results, system, "alone", "p50")
            direct = _latency_ms(results, DIRECT, "alone", "p50")
            if through is None or direct is None:
                return None
            return Figure(
                through.best - direct.best,
                through.median - direct.median,
                through.spread,
            )
        case "open-loop-p50" | "open-loop-p99":
            return _latency_ms(results, system, "open-loop", name.rpartition("-")[2])
        case "rate":
            samples = results.of(system, "requests")
            return Figure.of((s.answers / s.seconds for s in samples), best=max)
        case "open-streams":
            return Figure.of(map(_held_mb, results.of(system, name)))
        case _:
            return _cpu_ms(results, system, name)


def _cpu_ms(results: Results, system: str, load: str) -> Figure | None:
    return Figure.of(sample.cpu_ms for sample in results.of(system, load))


def _latency_ms(
    results: Results, system: str, load: str, quantile: str
) -> Figure | None:
    samples = results.of(system, load)
    return Figure.of(sample.latency_ms.get(quantile) for sample in samples)


def _per_chunk(long: Figure | None, short: Figure | None) -> Figure | None:
    """What each further chunk of a stream takes, in microseconds."""
    if long is None or short is None:
        return None
    return Figure(
        1000 * (long.best - short.best) / (CHUNKS - 1),
        1000 * (long.median - short.median) / (CHUNKS - 1),
        long.spread,
    )


def _held_mb(sample: Sample) -> float | None:
    if sample.rss_before is None or sample.rss_after is None:
        return None
    return (sample.rss_after - sample.rss_before) / _MB


def times_less(results: Results) -> float | None:
    """How many times less CPU than the yardstick a plain request takes."""
    ours = quantity(results, PRODUCT, "requests")
    theirs = quantity(results, YARDSTICK, "requests")
    return None if ours is None or theirs is None else theirs.best / ours.best


# --- for people ----------------------------------------------------------------------


def table(results: Results, plan: Plan, machine: Mapping[str, str]) -> list[str]:
    """All of it, with what each line is to be compared with."""
    others = [name for name in results.systems if name != PRODUCT]
    head = ["best (median, spread)", PRODUCT, *others, "of the yardstick's", "at most"]
    rows = [head]
    for target in TARGETS:
        ours = quantity(results, PRODUCT, target.quantity)
        if ours is None:
            continue
        row = [f"{target.what}, {target.unit}", _figure(ours)]
        row += [_figure(quantity(results, name, target.quantity)) for name in others]
        yardstick = quantity(results, YARDSTICK, target.quantity)
        row += _judged(target, ours, yardstick)
        rows.append(row)
    bad = ["bad or cut answers", str(results.bad(PRODUCT))]
    bad += [str(results.bad(name)) for name in others]
    rows.append([*bad, "", "0" + ("" if not results.bad(PRODUCT) else "  MISSED")])
    return [
        *_aligned(rows),
        "",
        *_summary(results),
        *_what_was_bad(results),
        f"{plan.rounds} rounds of {plan.seconds:g} s",
        f"a chunk: the difference of streams of {CHUNKS} and of 1, by {CHUNKS - 1}",
        *(f"{name}: {value}" for name, value in machine.items()),
    ]


def _judged(target: Target, ours: Figure, yardstick: Figure | None) -> list[str]:
    """How much of the yardstick's it is, and what it may be."""
    share = None
    if yardstick is not None and yardstick.best > 0:
        share = ours.best / yardstick.best
    if target.at_most is not None:
        missed = "" if ours.best <= target.at_most else "  MISSED"
        return [_share(share), f"{target.at_most:g} {target.unit}{missed}"]
    if target.share is None:
        return [_share(share), ""]
    missed = "  MISSED" if share is not None and share > target.share else ""
    return [_share(share), _share(target.share) + missed]


def _share(share: float | None) -> str:
    if share is None:
        return "-"
    if share <= 0 or share > 0.2:
        return f"{share:.2f}"
    return f"1/{1 / share:.1f}"


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{_short(figure.best)} ({_short(figure.median)}, {figure.spread:.1f}x)"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{w}}" for text, w in rest)]
        yield "  ".join(cells).rstrip()


def _summary(results: Results) -> Iterator[str]:
    ratio = times_less(results)
    ours = quantity(results, PRODUCT, "requests")
    if ratio is not None and ours is not None:
        yield (
            f"CPU per request: {_short(ours.best)} ms, {ratio:.1f}x less than"
            " quart-trio + hypercorn + httpx written plainly"
        )
    direct = quantity(results, DIRECT, "rate")
    if direct is not None:
        yield f"asked directly, the mock gives {direct.best:.0f} answers a second"


def _what_was_bad(results: Results) -> Iterator[str]:
    for system, loads in results.samples.items():
        for load, samples in loads.items():
            for sample in samples:
                for why, times in sample.bad.items():
                    yield f"bad: {system}, {load}: {why} ({times})"


# --- for programs --------------------------------------------------------------------


def as_json(
    results: Results, plan: Plan, machine: Mapping[str, str]
) -> dict[str, object]:
    """Everything: figures, whether targets are met, and each sample."""
    figures = {
        system: {
            target.quantity: asdict(figure)
            for target in TARGETS
            if (figure := quantity(results, system, target.quantity)) is not None
        }
        for system in results.systems
    }
    return {
        "benchmark": "gateway",
        "machine": dict(machine),
        "plan": asdict(plan),
        "times_less_cpu_per_request": times_less(results),
        "bad": {system: results.bad(system) for system in results.systems},
        "targets": [asdict(target) for target in TARGETS],
        "figures": figures,
        "samples": {
            system: {
                load: [asdict(sample) for sample in samples]
                for load, samples in loads.items()
            }
            for system, loads in results.samples.items()
        },
    }


def machine(now: datetime, cpus: int) -> dict[str, str]:
    """What was measured with: the date, the machine and the versions."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    name = model.group(1) if model else platform.machine()
    return {
        "date": now.isoformat(timespec="minutes"),
        "machine": f"{cpus} CPUs, {name}; {platform.system()} {platform.release()}",
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                *(f"{package} {_version(package)}" for package in _PACKAGES),
            ]
        ),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"
