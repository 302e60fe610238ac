"""A run as one JSON document, for programs and for the page that shows it.

`schema` counts up when a member changes its meaning; new members may come at any time.
Instants are seconds from the run's beginning, durations seconds, shares fractions of
one. Series have one value for each bucket of `bucket_s` seconds.
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import inf
from typing import Final

from trio_gateway.chaos.scenarios.expect import MEASURES
from trio_gateway.chaos.scenarios.measure import bad_spells
from trio_gateway.chaos.scenarios.run import Run
from trio_gateway.chaos.scenarios.witness import Shown, Witnessed
from trio_gateway.chaos.simulation.tally import TargetTally
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.world import Breaks, Effect, Shrinks, Slows
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.relay.record import Outcome

SCHEMA: Final = 1

Json = dict[str, object]


def as_json(runs: Sequence[Run]) -> Json:
    """All runs of one command, in their order."""
    return {
        "schema": SCHEMA,
        "holds": all(run.holds for run in runs),
        "measures": [
            {
                "key": measure.key,
                "title": measure.title,
                "unit": measure.unit.value,
                "is_at_least": measure.is_at_least,
            }
            for measure in MEASURES
        ],
        "runs": [run_json(run) for run in runs],
    }


def run_json(run: Run) -> Json:
    """One run."""
    result = run.result
    total = result.total
    return {
        "scenario": run.scenario.name,
        "teaches": run.scenario.teaches,
        "label": run.label,
        "policy_revision": run.policy.revision,
        "seed": run.seed,
        "depth": run.depth,
        "digest": result.digest,
        "holds": run.holds,
        "duration_s": result.duration_s,
        "wall_s": round(run.wall_s, 3),
        "totals": {
            "requests": total.questions,
            "answered": total.answered,
            "failed": total.failed,
            "left": total.left,
            "exchanges": total.exchanges,
            "attempts": total.attempts,
            "interrupted": total.interrupted,
            "refusals": {kind.value: n for kind, n in total.refusals.items()},
            "reasons": dict(total.reasons),
        },
        "measured": run.measured,
        "expectations": [
            {
                "key": verdict.bound.measure.key,
                "bound": verdict.bound.value,
                "measured": verdict.measured,
                "holds": verdict.holds,
            }
            for verdict in run.verdicts
        ],
        "violations": _violations(run),
        "timeline": _timeline(run),
        "first_token": _bands(run),
        "faults": _faults(run),
        "targets": [_target(run, tally) for tally in result.targets.values()],
        "worst": [_worst(each) for each in run.witness.worst],
        "failures": _failures(run),
    }


def _violations(run: Run) -> Json | None:
    broken = run.witness.broken
    if broken is None:
        return None
    return {"rules": list(broken[0]), **_history(broken[1])}


def _failures(run: Run) -> Json:
    """The shortest history of each bad end."""
    found: Json = {}
    for outcome in (Outcome.REFUSED, Outcome.INTERRUPTED):
        history = run.witness.shortest(outcome)
        if history is not None:
            found[outcome.value] = _history(history)
    return found


def _history(history: Shown) -> Json:
    return {"ticket": history.ticket, "lines": list(history.lines)}


def _timeline(run: Run) -> Json:
    timeline = run.result.timeline
    return {
        "bucket_s": timeline.bucket_s,
        "offered": list(timeline.offered),
        "answered": list(timeline.answered),
        "failed": list(timeline.failed),
    }


def _bands(run: Run) -> Json:
    """Quantiles of the time to a first token, by when its request came; null: none."""
    bands = run.witness.bands

    def quantiles(share: float) -> list[float | None]:
        return [None if band is None else band.quantile(share) for band in bands]

    return {
        "bucket_s": run.witness.band_s,
        "p50": quantiles(0.5),
        "p95": quantiles(0.95),
        "p99": quantiles(0.99),
        "max": [None if band is None else band.most_s for band in bands],
    }


def _faults(run: Run) -> list[Json]:
    """Each spell of bad weather: whom it strikes, with what, when, how much."""
    duration_s = run.result.duration_s
    return [
        {
            "target": target_id,
            "what": what_text(spell.effect),
            "from_s": spell.from_s,
            "until_s": min(spell.until_s, duration_s),
            "share": spell.share,
            "flaps_s": None if spell.flaps is None else list(spell.flaps),
        }
        for target_id, spell in bad_spells(run.setting.world)
        if spell.from_s < duration_s
    ]


def what_text(effect: Effect) -> str:
    """An effect in a few words."""
    match effect:
        case Fails(failure):
            status = "" if failure.status is None else f" {failure.status}"
            return f"{failure.kind}{status}"
        case Hangs(is_connected):
            return "silence" if is_connected else "black hole"
        case Slows(factor):
            return f"{factor:g} times slower"
        case Breaks():
            return "cut in mid-answer"
        case Shrinks(share):
            return f"{100 * share:g} % of capacity"


def _target(run: Run, tally: TargetTally) -> Json:
    return {
        "id": tally.id,
        "attempts": tally.attempts,
        "failures": {kind.value: n for kind, n in tally.failures.most_common()},
        "peak": tally.peak,
        "over_time": list(tally.over_time),
        "firsts_over_time": list(tally.firsts),
        "breaker": _intervals(run, tally.id),
    }


def _intervals(run: Run, target_id: str) -> list[Json]:
    """The states of a breaker one after the other, without gaps."""
    found: list[Json] = []
    state, from_s = BreakerState.CLOSED, 0.0
    changes = [change for change in run.result.changes if change.target == target_id]
    end_s = run.result.duration_s
    for at_s, after in [*((each.at_s, each.after) for each in changes), (inf, state)]:
        until_s = min(at_s, end_s)
        if until_s > from_s:
            interval = {"state": state.value, "from_s": from_s, "until_s": until_s}
            found.append(dict(interval))
        state, from_s = after, at_s
    return found


def _worst(witnessed: Witnessed) -> Json:
    return {
        "ticket": witnessed.ticket,
        "at_s": witnessed.at_s,
        "wait_s": witnessed.wait_s,
        "outcome": witnessed.outcome.value,
        "attempts": [asdict(attempt) for attempt in witnessed.attempts],
    }
