"""The slowest requests, each with its attempts as bars from its own beginning."""

from typing import Final

from trio_gateway.chaos.page.tables import row, table
from trio_gateway.chaos.page.values import PageAttempt, PageRequest, PageRun
from trio_gateway.chaos.page.words import clock_text, seconds_text, text

# A request with more attempts than this shows its first ones.
_ATTEMPTS_MAX: Final = 12


def waterfalls(run: PageRun, title: str) -> str:
    """All of them, on one scale, so that they can be compared."""
    if not run.worst:
        return f'<h3>{text(title)}</h3><p class="note">none</p>'
    # The answers after the first token are cut: they would squeeze the waiting.
    whole_s = max(0.001, 1.08 * max(each.wait_s for each in run.worst))
    drawn = "".join(
        f"<li>{_request(place, each, whole_s)}</li>"
        for place, each in enumerate(run.worst, 1)
    )
    return f'<h3>{text(title)}</h3><ol class="worst">{drawn}</ol>'


def _request(place: int, request: PageRequest, whole_s: float) -> str:
    caption = (
        f"{place}. {seconds_text(request.wait_s)} at {clock_text(request.at_s)}, "
        f"{request.outcome}"
    )
    rows = [_attempt(each, whole_s) for each in request.attempts[:_ATTEMPTS_MAX]]
    more = len(request.attempts) - _ATTEMPTS_MAX
    if more > 0:
        rows.append(f'<tr><td colspan="3">and {more} more attempts</td></tr>')
    if not rows:
        rows.append('<tr><td colspan="3">no attempt was made</td></tr>')
    head = ("attempt", f"0 to {seconds_text(whole_s)}", "came to")
    return table(caption, head, rows, "falls")


def _attempt(attempt: PageAttempt, whole_s: float) -> str:
    first_s = attempt.opened_s
    ends_s = attempt.until_s if attempt.until_s is not None else whole_s
    waits_until_s = ends_s if first_s is None else first_s
    bars = _bar(
        _waiting(attempt),
        attempt.from_s,
        waits_until_s,
        whole_s,
    )
    if first_s is not None:
        bars += _bar(
            "cut" if attempt.is_failure else "stream", first_s, ends_s, whole_s
        )
    when = f"{_since(attempt.from_s)} to {_since(attempt.until_s)}"
    if first_s is not None:
        when += f", first token {_since(first_s)}"
    sign = "\u2717 " if attempt.is_failure else "\u2713 " if first_s is not None else ""
    cells = (
        f'<div class="fall" aria-hidden="true">{bars}</div>',
        f"{sign}{text(attempt.outcome)}<small>{text(when)}</small>",
    )
    inner = row(f"{attempt.target}", cells)
    return inner.replace("</th>", f"<small>{text(attempt.reason)}</small></th>", 1)


def _waiting(attempt: PageAttempt) -> str:
    if attempt.opened_s is not None:
        return "wait"
    return "fail" if attempt.is_failure else "dropped"


def _since(at_s: float | None) -> str:
    return "the end" if at_s is None else seconds_text(at_s)


def _bar(kind: str, from_s: float, until_s: float, whole_s: float) -> str:
    left = min(100.0, 100 * from_s / whole_s)
    width = min(100.0 - left, max(0.3, 100 * (until_s - from_s) / whole_s))
    return f'<i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'
