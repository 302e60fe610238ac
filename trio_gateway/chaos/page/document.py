"""The page itself: a verdict first, then what it rests on. It needs no network."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from trio_gateway.chaos.page.strips import state_key
from trio_gateway.chaos.page.tables import comparison, expectations, over_time, overview
from trio_gateway.chaos.page.tables import targets as targets_table
from trio_gateway.chaos.page.timelines import timelines
from trio_gateway.chaos.page.values import PageRun
from trio_gateway.chaos.page.waterfalls import waterfalls
from trio_gateway.chaos.page.words import seconds_text, span_text, text

# A page of more runs says which they were, and shows one of them.
_BESIDE_MAX: Final = 2
_RUNS_MAX: Final = 500
_EVIDENCE_LINES_MAX: Final = 60


def render(runs: Sequence[PageRun]) -> str:
    """One page of HTML: one run, two side by side, or many as a table.

    Of many, the first that fails is shown as a whole, or else the first.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("a page shows at least one run")
    if len(runs) <= _BESIDE_MAX:
        beside, body = len(runs), _head(runs) + _details(runs)
    else:
        shown = next((run for run in runs if not run.holds), runs[0])
        beside, body = (
            1,
            _many(runs) + f"<hr>{_head([shown], level=2)}" + _details([shown]),
        )
    title = f"{runs[0].title}: {'held' if all(r.holds for r in runs) else 'failed'}"
    style, script = _beside("page.css"), _beside("page.js")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title>\n<style>\n{style}</style></head>\n"
        f'<body><main class="runs-{beside}">{body}</main>\n'
        f"<script>\n{script}</script></body></html>\n"
    )


def _beside(name: str) -> str:
    """A file that stands beside this one."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def _many(runs: Sequence[PageRun]) -> str:
    good = sum(run.holds for run in runs)
    kind, word = ("held", "Held") if good == len(runs) else ("not-held", "Failed")
    more = len(runs) - _RUNS_MAX
    note = f'<p class="note">The first {_RUNS_MAX:,} are shown.</p>' if more > 0 else ""
    return (
        f'<header><p class="eyebrow">Simulation \u00b7 {text(runs[0].title)}</p>'
        f'<h1 class="{kind}">{word}: {good:,} of {len(runs):,} runs held.</h1></header>'
        f"<section>{overview(runs[:_RUNS_MAX])}{note}</section>"
    )


def _head(runs: Sequence[PageRun], level: int = 1) -> str:
    first = runs[0]
    teaches = f'<p class="teaches">{text(first.teaches)}</p>' if first.teaches else ""
    both = ""
    if len(runs) > 1:
        both, level = _both(runs[0], runs[1]), level + 1
    verdicts = "".join(_verdict(run, level, is_one=len(runs) == 1) for run in runs)
    return (
        f'<header><p class="eyebrow">Simulation \u00b7 {text(first.title)}</p>{both}'
        f'<div class="pair">{verdicts}</div>{teaches}</header>'
    )


def _both(one: PageRun, other: PageRun) -> str:
    """What two runs beside each other come to, in a sentence."""
    if one.holds == other.holds:
        words = "Both held." if one.holds else "Both failed."
        kind = "held" if one.holds else "not-held"
    else:
        held, failed = (one, other) if one.holds else (other, one)
        words, kind = f"{held.policy} held where {failed.policy} failed.", "mixed"
    return f'<h1 class="{kind}">{text(words)}</h1>'


def _verdict(run: PageRun, level: int, *, is_one: bool) -> str:
    kind = "held" if run.holds else "not-held"
    name = "" if is_one else f'<p class="who">{text(run.policy)}</p>'
    word, colon, rest = run.verdict.partition(": ")
    facts = (
        f"{run.questions:,} requests in {span_text(run.duration_s)} of virtual time",
        f"policy {run.policy}",
        f"seed {run.seed}",
        f"depth {run.depth}",
    )
    said = " \u00b7 ".join(map(text, facts))
    return (
        f'<div class="verdict">{name}<h{level} class="{kind}"><span class="word">'
        f"{text(word)}{colon.strip()}</span> {text(rest)}</h{level}>"
        f'<p class="facts">{said}</p>{_tiles(run)}</div>'
    )


def _tiles(run: PageRun) -> str:
    by_key = {each.measure.key: each.value for each in run.measures}
    attempts = sum(target.attempts for target in run.targets)
    tiles = [("answered", f"{run.answered:,}"), ("lost", f"{run.failed:,}")]
    if run.left:
        tiles.append(("left by themselves", f"{run.left:,}"))
    for key, words in (
        ("first_token.p50", "first token p50"),
        ("first_token.p99", "p99"),
    ):
        value = by_key.get(key)
        if value is not None:
            tiles.append((words, seconds_text(value)))
    if run.questions:
        tiles.append(("attempts a request", f"{attempts / run.questions:.3f}"))
    cells = "".join(
        f"<div><dt>{text(words)}</dt><dd>{text(value)}</dd></div>"
        for words, value in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _details(runs: Sequence[PageRun]) -> str:
    if len(runs) == 1:
        (run,) = runs
        first = f"<section>{expectations(run)}</section>"
    else:
        one, other = runs
        first = f"<section>{_policy_changes(other)}{comparison(one, other)}</section>"
    falls = "".join(
        f"<div>{waterfalls(run, run.policy if len(runs) > 1 else _WORST)}</div>"
        for run in runs
    )
    title = f"<h2>{_WORST}</h2>" if len(runs) > 1 else ""
    tables = "".join(
        targets_table(run, "By target" + (f", {run.policy}" if len(runs) > 1 else ""))
        for run in runs
    )
    numbers = "".join(map(over_time, runs))
    return (
        f"{first}{''.join(map(_evidence, runs))}{timelines(runs)}{state_key()}"
        f"<details><summary>The timelines in numbers</summary>{numbers}</details>"
        f"<section>{tables}</section>"
        f'<section>{title}{_FALLS_KEY}<div class="pair">{falls}</div></section>'
        f"{_foot(runs)}"
    )


_WORST: Final = "The ten slowest to a first token"
_FALLS_KEY: Final = (
    '<p class="note keys"><span class="key"><i class="bar wait"></i>waiting</span>'
    '<span class="key"><i class="bar stream"></i>answering</span>'
    '<span class="key"><i class="bar fail"></i>failed</span>'
    '<span class="key"><i class="bar dropped"></i>dropped: not needed</span></p>'
)


def _policy_changes(run: PageRun) -> str:
    if not run.policy_changes:
        return ""
    lines = "".join(f"<li>{text(each)}</li>" for each in run.policy_changes)
    return (
        f"<h3>What {text(run.policy)} has otherwise</h3><ul class=changes>{lines}</ul>"
    )


def _evidence(run: PageRun) -> str:
    if run.holds or not (run.evidence or run.violations):
        return ""
    lines = list(run.evidence[:_EVIDENCE_LINES_MAX])
    if len(run.evidence) > _EVIDENCE_LINES_MAX:
        lines.append("...")
    rules = "".join(f"<li>{text(each)}</li>" for each in run.violations[:10])
    rules = f"<ul>{rules}</ul>" if rules else ""
    history = text("\n".join(lines))
    title = f"The shortest history that shows it ({text(run.policy)})"
    return (
        f'<section><h3>{title}</h3>{rules}<pre tabindex="0">{history}</pre></section>'
    )


def _foot(runs: Sequence[PageRun]) -> str:
    again = "".join(
        f"<p>Again: <code>{text(run.command)}</code></p>"
        for run in runs[:1]
        if run.command
    )
    digests = "".join(
        f"<p>digest {text(run.digest)} ({text(run.policy)})</p>" for run in runs
    )
    return f"<footer>{again}{digests}</footer>"
