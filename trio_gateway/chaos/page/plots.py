"""Pictures as inline SVG that stretches with the page, and texts that do not.

A picture is 1000 by 100 units, whatever its size on the screen; words stand beside it
as HTML, so that they are as large on a phone as on a wide screen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trio_gateway.chaos.page.scales import Scale, Tick
from trio_gateway.chaos.page.words import text


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What all pictures of a run share: its time, and when something was wrong."""

    duration_s: float
    ticks: tuple[Tick, ...]
    windows: tuple[tuple[float, float], ...]

    def x(self, at_s: float) -> float:
        """Where an instant stands, in a picture's units."""
        return 1000 * min(1.0, max(0.0, at_s / self.duration_s))


def plot(
    backdrop: Backdrop, scale: Scale, drawn: str, says: str, kind: str = ""
) -> str:
    """A picture with its axis: `says` is for who cannot see it."""
    shades = "".join(
        f'<rect class="fault" x="{_n(backdrop.x(from_s))}" y="0" '
        f'width="{_n(backdrop.x(until_s) - backdrop.x(from_s))}" height="100"/>'
        for from_s, until_s in backdrop.windows
    )
    rows = "".join(
        f'<line class="grid" x1="0" x2="1000" y1="{_y(tick.place)}" '
        f'y2="{_y(tick.place)}"/>'
        for tick in scale.ticks
    )
    columns = "".join(
        f'<line class="grid" x1="{_n(1000 * tick.place)}" x2="{_n(1000 * tick.place)}" '
        'y1="0" y2="100"/>'
        for tick in backdrop.ticks
    )
    marks = "".join(
        f'<span style="bottom:{100 * tick.place:.4g}%">{text(tick.words)}</span>'
        for tick in scale.ticks
    )
    return (
        f'<div class="plot {kind}"><div class="marks" aria-hidden="true">{marks}</div>'
        f'<svg role="img" aria-label="{text(says)}" viewBox="0 0 1000 100" '
        f'preserveAspectRatio="none">{shades}{rows}{columns}{drawn}</svg></div>'
    )


def steps(
    backdrop: Backdrop,
    scale: Scale,
    bucket_s: float,
    values: Iterable[float],
    kind: str,
) -> str:
    """An area under steps, one for each bucket."""
    path = "".join(
        f"V{_y(scale.place(value))}H{_n(backdrop.x((at + 1) * bucket_s))}"
        for at, value in enumerate(values)
    )
    return f'<path class="{kind}" d="M0 100{path}V100Z"/>' if path else ""


def outline(
    backdrop: Backdrop,
    scale: Scale,
    bucket_s: float,
    values: Iterable[float],
    kind: str,
) -> str:
    """The upper edge of such an area."""
    path = ""
    for at, value in enumerate(values):
        y, until = _y(scale.place(value)), _n(backdrop.x((at + 1) * bucket_s))
        path += f"V{y}H{until}" if path else f"M0 {y}H{until}"
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def missing(
    backdrop: Backdrop,
    scale: Scale,
    bucket_s: float,
    values: Sequence[float | None],
    kind: str,
) -> str:
    """What lacks to the head of the axis, a bar for each bucket that lacks any."""
    bars = "".join(
        f"M{_n(backdrop.x(at * bucket_s))} 0H{_n(backdrop.x((at + 1) * bucket_s))}"
        f"V{_y(scale.place(value))}H{_n(backdrop.x(at * bucket_s))}Z"
        for at, value in enumerate(values)
        if value is not None and value < scale.high
    )
    return f'<path class="{kind}" d="{bars}"/>' if bars else ""


def line(
    backdrop: Backdrop,
    scale: Scale,
    bucket_s: float,
    values: Sequence[float | None],
    kind: str,
) -> str:
    """A line through the buckets' middles; it breaks where there is nothing."""
    half = backdrop.x(bucket_s) / 2
    path = "".join(
        ("L" if index else "M") + f"{_n(x)} {_n(y)}"
        for run in _runs(backdrop, scale, bucket_s, values)
        for index, (x, y) in enumerate(_widened(run, half))
    )
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def band(
    backdrop: Backdrop,
    scale: Scale,
    bucket_s: float,
    lower: Sequence[float | None],
    upper: Sequence[float | None],
    kind: str,
) -> str:
    """The area between two lines."""
    path, half = "", backdrop.x(bucket_s) / 2
    below = _runs(backdrop, scale, bucket_s, lower)
    above = _runs(backdrop, scale, bucket_s, upper)
    for one, other in zip(below, above, strict=True):
        points = [*_widened(one, half), *reversed(_widened(other, half))]
        path += "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + "Z"
    return f'<path class="{kind}" d="{path}"/>' if path else ""


Point = tuple[float, float]


def _runs(
    backdrop: Backdrop, scale: Scale, bucket_s: float, values: Sequence[float | None]
) -> list[list[Point]]:
    """The points of each stretch without gaps."""
    found: list[list[Point]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            x = backdrop.x((at + 0.5) * bucket_s)
            found[-1].append((x, 100 - 100 * scale.place(value)))
    return [run for run in found if run]


def _widened(run: list[Point], half: float) -> list[Point]:
    """A point alone would not be seen: it is as wide as its bucket."""
    if len(run) > 1:
        return run
    ((x, y),) = run
    return [(max(0.0, x - half), y), (min(1000.0, x + half), y)]


def _y(place: float) -> str:
    return _n(100 - 100 * place)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
