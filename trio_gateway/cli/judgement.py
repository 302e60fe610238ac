"""What `check` says of a valid policy: for people, and for programs."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from trio_gateway.policy.files.problems import Source, listed
from trio_gateway.policy.files.report import Excerpts, Style, headline, plain
from trio_gateway.policy.judgement.bounds import Bounds
from trio_gateway.policy.judgement.judge import Judgement, Loss


def as_text(
    judgement: Judgement, sources: Iterable[Source], *, style: Style = plain
) -> str:
    """Say it in lines; the warnings last, each with its line of the files."""
    return "\n".join(_lines(judgement, Excerpts(sources, style), style))


def as_json(judgement: Judgement) -> dict[str, object]:
    """Give everything, by name."""
    return {
        "models": {slug: asdict(bounds) for slug, bounds in judgement.bounds.items()},
        "losses": [asdict(loss) for loss in judgement.losses],
        "warnings": [
            {"lint": warned.lint, **asdict(warned.problem)}
            for warned in judgement.warnings
        ],
        "silenced": judgement.silenced,
        "notes": list(judgement.notes),
    }


def _lines(judgement: Judgement, show: Excerpts, style: Style) -> Iterator[str]:
    yield "the worst that may happen to one request:"
    for slug, bounds in judgement.bounds.items():
        yield f"  {slug}"
        yield from (f"    {line}" for line in _bounds(bounds))
    yield "if a provider is gone:"
    width = max((len(loss.provider) for loss in judgement.losses), default=0)
    for loss in judgement.losses:
        yield f"  {loss.provider:{width}}  {_loss(loss)}"
    yield from (f"not judged: {note}" for note in judgement.notes)
    for warned in judgement.warnings:
        yield f"{headline(warned.problem, style)} [{warned.lint}]"
        yield from show.of(warned.problem)
    count = len(judgement.warnings)
    silenced = f", {judgement.silenced} silenced" if judgement.silenced else ""
    yield f"{count or 'no'} warning{'' if count == 1 else 's'}{silenced}"


def _bounds(bounds: Bounds) -> Iterator[str]:
    yield (
        f"streamed: a first token or an error within {bounds.stream_s:.4g}s, "
        f"the end within {bounds.total_s:.4g}s"
    )
    yield f"not streamed: the answer or an error within {bounds.answer_s:.4g}s"
    plural = "" if bounds.attempts == 1 else "s"
    dead = f"{bounds.requests} requests, if each finds a kept connection dead"
    yield f"{bounds.attempts} attempt{plural}; {dead}"
    speed = f"; overlap and hedging stop at {bounds.cost_for_speed}"
    yield f"{bounds.cost} times the price" + (
        speed if bounds.cost_for_speed > 1 else ""
    )


def _loss(loss: Loss) -> str:
    parts = []
    if loss.lost:
        parts.append(f"{listed(loss.lost)} cannot be answered")
    if loss.on_others:
        verb = "goes" if len(loss.on_others) == 1 else "go"
        parts.append(f"{listed(loss.on_others)} {verb} on elsewhere")
    return "; ".join(parts) or "no model notices"
