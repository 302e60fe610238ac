"""An explanation for people, for programs, and as a drawing."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Final, assert_never

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.view import TargetState, TargetView
from trio_gateway.policy.explanation.explain import (
    Asked,
    Ended,
    Explanation,
    Refused,
    Step,
    Timeline,
    Waited,
    is_asked_again,
    moves_on,
)
from trio_gateway.policy.route import Route

_REASONS: Final = {
    Reason.FIRST: "is asked first",
    Reason.FAILOVER: "is asked next",
    Reason.RETRY: "is asked again",
    Reason.OVERLAP: "is asked beside the one that is late",
    Reason.HEDGE: "is asked beside the one that may be late",
    Reason.PROBE: "is asked, to see whether it works again",
    Reason.REDIAL: "is asked again on a new connection",
}
_STATES: Final = {
    TargetState.CLOSED: "well",
    TargetState.DEGRADED: "fails now and then",
    TargetState.RAMP: "recovering",
    TargetState.PROBE: "about to be tried again",
    TargetState.OPEN: "broken: a last resort",
    TargetState.COOLDOWN: "throttled: not asked",
    TargetState.DISABLED: "disabled: not asked",
}


def as_text(explanation: Explanation) -> str:
    """Tell it in lines."""
    return "\n".join(_lines(explanation))


def as_json(explanation: Explanation) -> dict[str, object]:
    """Give everything, by name; times are seconds from the request's beginning."""
    route, now = explanation.route, explanation.now
    return {
        "model": route.slug,
        "targets": [
            {
                "target": view.id,
                "tier": tier,
                "weight": weight,
                "state": view.standing.state,
                "why": view.standing.why,
                "for_s": _left_s(view, now),
            }
            for tier, weight, view in _numbered(explanation)
        ],
        "context_length_fallback": [target.id for target in route.context_chain],
        "fallback_on": moves_on(route),
        "same_target": is_asked_again(route),
        "bounds": asdict(explanation.bounds),
        "timelines": [
            {
                "name": timeline.name,
                "assumed": timeline.assumed,
                "steps": [_step_json(step) for step in timeline.steps],
            }
            for timeline in explanation.timelines
        ],
    }


def as_mermaid(explanation: Explanation) -> str:
    """Draw who is tried after whom, and why: a flowchart in Mermaid's language."""
    return "\n".join(_mermaid(explanation))


# Lines


def _lines(explanation: Explanation) -> Iterator[str]:
    route, bounds = explanation.route, explanation.bounds
    yield f"{route.slug}: its targets, in order of preference"
    for tier, weight, view in _numbered(explanation):
        balanced = len(route.tiers[tier - 1]) > 1
        share = f" (weight {weight:g} in its tier)" if balanced else ""
        yield f"  {tier}  {view.id}{share}: {_state(view, explanation.now)}"
    if route.context_chain:
        chain = ", then ".join(target.id for target in route.context_chain)
        yield f"  a prompt that is too long goes to {chain}"
    yield ""
    movers = ", ".join(moves_on(route)) or "nothing"
    yield f"the next target is tried on: {movers}"
    yield f"the same target is tried: {is_asked_again(route)}"
    yield (
        f"in all: {bounds.attempts} attempts at most; a first token or an error within "
        f"{bounds.stream_s:.4g}s if streamed, else the answer within "
        f"{bounds.answer_s:.4g}s"
    )
    for timeline in explanation.timelines:
        yield ""
        yield f"if {timeline.assumed}:"
        yield from (f"  {_step_text(step)}" for step in timeline.steps)


def _numbered(explanation: Explanation) -> Iterator[tuple[int, float, TargetView]]:
    """Each target with the number of its tier, from 1, and its weight."""
    views = {view.id: view for view in explanation.targets}
    for number, tier in enumerate(explanation.route.tiers, start=1):
        for target in tier:
            yield number, target.weight, views[target.id]


def _state(view: TargetView, now: float) -> str:
    load = view.load
    if load.limit is not None and load.in_flight >= load.limit:
        return "full: it has as many attempts as it may have"
    left_s = _left_s(view, now)
    until = f" for {left_s:.3g}s more" if left_s is not None else ""
    why = f" ({view.standing.why})" if view.standing.why else ""
    return f"{_STATES[view.standing.state]}{until}{why}"


def _left_s(view: TargetView, now: float) -> float | None:
    until = view.standing.until
    return None if until is None else round(max(0.0, until - now), 3)


def _step_text(step: Step) -> str:
    at = f"{step.at_s:8.2f}s  "
    match step:
        case Asked(_, _, target, reason, until_s):
            return f"{at}{target} {_REASONS[reason]}, and has until {until_s:.2f}s"
        case Ended(_, _, target, None):
            return f"{at}{target} is given up for another one"
        case Ended(_, _, target, failure):
            return f"{at}{target} fails: {failure}"
        case Waited(_, until_s):
            return f"{at}nothing is asked until {until_s:.2f}s at the latest"
        case Refused(_, error, retry_after_s):
            hint = ""
            if retry_after_s is not None:
                hint = f", to come back in {retry_after_s:g}s"
            return f"{at}the client gets {error}{hint}"
        case _:
            assert_never(step)


def _step_json(step: Step) -> dict[str, object]:
    fields = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(step).items()
    }
    return {"step": type(step).__name__.lower(), **fields}


# Drawing


def _mermaid(explanation: Explanation) -> Iterator[str]:
    route = explanation.route
    nodes = {
        target.id: f"t{number}"
        for number, target in enumerate((*route.targets, *route.context_chain))
    }
    yield "flowchart LR"
    yield f'  client(["{_quoted(route.slug)}"])'
    for target_id, node in nodes.items():
        yield f'  {node}["{_quoted(target_id)}"]'
    ends: dict[str, str] = {}
    for timeline in explanation.timelines:
        for arrow in _arrows(timeline, nodes, ends):
            yield f"  {arrow}"
    for error, node in ends.items():
        yield f'  {node}(["{error}"])'
    yield from (f"  {arrow}" for arrow in _context_arrows(route, nodes))


def _arrows(
    timeline: Timeline, nodes: dict[str, str], ends: dict[str, str]
) -> Iterator[str]:
    """Each step of a history from whom it was at to whom it goes."""
    here = "client"
    for step in timeline.steps:
        match step:
            case Asked(at_s, _, target, reason):
                there, what = nodes[target], f"{reason}"
            case Refused(at_s, error):
                there, what = ends.setdefault(error, f"e{len(ends)}"), ""
            case _:
                continue
        words = f"{timeline.name}: {what} {at_s:.4g}s".replace(":  ", ": ")
        yield f'{here} -->|"{words}"| {there}'
        here = there


def _context_arrows(route: Route, nodes: dict[str, str]) -> Iterator[str]:
    if not route.context_chain:
        return
    first = nodes[route.context_chain[0].id]
    for target in route.targets:
        yield f'{nodes[target.id]} -.->|"context_length"| {first}'


def _quoted(text: str) -> str:
    return text.replace('"', "#quot;")
