"""A scenario's run made into what a page shows of it.

Buckets are joined until each has something to say: a run of ten requests is a dozen
bars, a day of traffic a few hundred.
"""

from collections.abc import Iterable, Sequence
from math import ceil, inf
from typing import Final

from trio_gateway.chaos.page.values import (
    Bands,
    FaultWindow,
    Load,
    Measured,
    PageAttempt,
    PageRequest,
    PageRun,
    PageTarget,
    StateSpan,
)
from trio_gateway.chaos.page.words import seconds_text, share_text, value_text
from trio_gateway.chaos.scenarios.expect import MEASURES
from trio_gateway.chaos.scenarios.measure import bad_spells
from trio_gateway.chaos.scenarios.report import what_text
from trio_gateway.chaos.scenarios.run import Run
from trio_gateway.chaos.scenarios.witness import Shown, Tried, Witness, Witnessed
from trio_gateway.chaos.simulation.tally import Change, TargetTally, Times
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.change import changes
from trio_gateway.policy.route import Policy
from trio_gateway.relay.record import Outcome

# As many points as a picture beside another one is wide enough for.
_BUCKETS_MAX: Final = 240
_BUCKETS_MIN: Final = 12
# With fewer requests in it, a bucket shows chance.
_REQUESTS_A_BUCKET: Final = 20
# A quantile wants more of them than a rate does.
_BANDS_MAX: Final = 120
# A breaker that changes more often is shown by what was worst in each stretch.
_SPANS_MAX: Final = 240
_WORST_LAST: Final = (
    BreakerState.CLOSED,
    BreakerState.RAMP,
    BreakerState.PROBE,
    BreakerState.OPEN,
)


def page_run_of(
    run: Run, command: str = "", *, before: Policy | None = None
) -> PageRun:
    """Make a page's values of a run.

    Args:
        run: the run.
        command: what repeats it, without its seed.
        before: the policy that its own is compared with.
    """
    result, total = run.result, run.result.total
    every = _joined(len(result.timeline.offered), total.questions, _BUCKETS_MAX)
    broken = run.witness.broken
    violations = tuple(broken[0]) if broken is not None else result.violations[:1]
    measures = tuple(_measures(run))
    return PageRun(
        title=run.scenario.name,
        teaches=run.scenario.teaches.strip(),
        policy=run.label,
        seed=run.seed,
        depth=run.depth,
        digest=result.digest,
        duration_s=result.duration_s,
        holds=run.holds,
        verdict=_verdict(measures, violations, total.questions),
        questions=total.questions,
        answered=total.answered,
        failed=total.failed,
        left=total.left,
        measures=measures,
        violations=violations,
        load=_load(run, every),
        first_token=_bands(run.witness, total.questions),
        targets=tuple(_target(run, each, every) for each in result.targets.values()),
        faults=tuple(_faults(run)),
        worst=tuple(_request(each) for each in run.witness.worst),
        evidence=() if run.holds else _evidence(run.witness),
        command=f"{command} --seed {run.seed}" if command else "",
        policy_changes=() if before is None else changes(before, run.policy),
    )


# The verdict


def _measures(run: Run) -> Iterable[Measured]:
    measured = run.measured
    verdicts = {verdict.bound.measure.key: verdict for verdict in run.verdicts}
    for measure in MEASURES:
        value, verdict = measured[measure.key], verdicts.get(measure.key)
        if verdict is None:
            yield Measured(measure, value)
        else:
            yield Measured(measure, value, verdict.bound.value, verdict.holds)


def _verdict(
    measures: Sequence[Measured], violations: Sequence[str], questions: int
) -> str:
    if violations:
        return f"Failed: an invariant is broken: {violations[0].partition(':')[0]}."
    failing = [each for each in measures if not each.ok]
    if failing:
        first, others = failing[0], len(failing) - 1
        assert first.bound is not None
        limit = "at least" if first.measure.is_at_least else "at most"
        more = ""
        if others:
            more = f", and {others} more expectation{'s' * (others > 1)} not met"
        return (
            f"Failed: {first.measure.title} {value_text(first.measure, first.value)}, "
            f"expected {limit} {value_text(first.measure, first.bound)}{more}."
        )
    if not questions:
        return "Held: nobody asked."
    by_key = {each.measure.key: each.value for each in measures}
    answered, p99_s = by_key["availability"] or 0.0, by_key["first_token.p99"] or 0.0
    return (
        f"Held: {share_text(answered)} answered, "
        f"99\u00a0of\u00a0100 first tokens within {seconds_text(p99_s)}."
    )


def _evidence(witness: Witness) -> tuple[str, ...]:
    shown: Shown | None = None
    if witness.broken is not None:
        shown = witness.broken[1]
    for outcome in (Outcome.REFUSED, Outcome.INTERRUPTED):
        shown = shown or witness.shortest(outcome)
    return () if shown is None else shown.lines


# Over time


def _joined(buckets: int, questions: int, most: int) -> int:
    """How many buckets become one."""
    wanted = max(_BUCKETS_MIN, min(most, questions // _REQUESTS_A_BUCKET))
    return max(1, ceil(buckets / wanted))


def _sums(series: Sequence[int], every: int) -> list[int]:
    return [sum(series[at : at + every]) for at in range(0, len(series), every)]


def _load(run: Run, every: int) -> Load:
    timeline = run.result.timeline
    buckets = _buckets(run)
    answered = _sums(timeline.answered, every)
    failed = _sums(timeline.failed, every)
    shares: list[float | None] = [
        good / (good + bad) if good + bad else None
        for good, bad in zip(answered, failed, strict=True)
    ]
    return Load(
        bucket_s=timeline.bucket_s * every,
        offered=tuple(_sums(timeline.offered[:buckets], every)),
        # What ends after the last request came stands in a bucket of its own, which
        # would look like a burst.
        answered=tuple(_sums(timeline.answered[:buckets], every)),
        availability=tuple(shares),
    )


def _buckets(run: Run) -> int:
    """How many buckets of the timeline lie within the run."""
    timeline = run.result.timeline
    return max(
        1, min(len(timeline.offered), ceil(run.result.duration_s / timeline.bucket_s))
    )


def _bands(witness: Witness, questions: int) -> Bands:
    every = _joined(len(witness.bands), questions, _BANDS_MAX)
    joined: list[Times] = []
    for at in range(0, len(witness.bands), every):
        times = Times()
        for band in witness.bands[at : at + every]:
            if band is not None:
                times.merge(band)
        joined.append(times)

    def quantiles(share: float) -> tuple[float | None, ...]:
        return tuple(each.quantile(share) if each.count else None for each in joined)

    return Bands(
        witness.band_s * every, quantiles(0.5), quantiles(0.95), quantiles(0.99)
    )


# Targets


def _target(run: Run, tally: TargetTally, every: int) -> PageTarget:
    buckets = _buckets(run)
    seen = [change for change in run.result.changes if change.target == tally.id]
    return PageTarget(
        id=tally.id,
        attempts=tally.attempts,
        first_attempts=sum(tally.firsts),
        failures=tuple((str(kind), n) for kind, n in tally.failures.most_common()),
        peak=tally.peak,
        opened=sum(change.after is BreakerState.OPEN for change in seen),
        over_time=tuple(_sums(tally.over_time[:buckets], every)),
        firsts=tuple(_sums(tally.firsts[:buckets], every)),
        states=_few(tuple(_spans(seen, run.result.duration_s)), run.result.duration_s),
    )


def _spans(seen: Sequence[Change], end_s: float) -> Iterable[StateSpan]:
    state, from_s = BreakerState.CLOSED, 0.0
    for change in seen:
        if change.at_s >= end_s:
            break
        if change.at_s > from_s:
            yield StateSpan(state, from_s, change.at_s)
        state, from_s = change.after, change.at_s
    yield StateSpan(state, from_s, end_s)


def _few(spans: tuple[StateSpan, ...], end_s: float) -> tuple[StateSpan, ...]:
    """Those spans, or where they are too many, the worst state of each stretch."""
    if len(spans) <= _SPANS_MAX:
        return spans
    step_s = end_s / _SPANS_MAX
    worst = [BreakerState.CLOSED] * _SPANS_MAX
    for span in spans:
        first = min(int(span.from_s / step_s), _SPANS_MAX - 1)
        last = min(int(span.until_s / step_s), _SPANS_MAX - 1)
        for at in range(first, last + 1):
            worst[at] = max(worst[at], span.state, key=_WORST_LAST.index)
    joined: list[StateSpan] = []
    for at, state in enumerate(worst):
        from_s = at * step_s
        if joined and joined[-1].state is state:
            from_s = joined.pop().from_s
        joined.append(StateSpan(state, from_s, (at + 1) * step_s))
    return tuple(joined)


def _faults(run: Run) -> Iterable[FaultWindow]:
    duration_s = run.result.duration_s
    for target, spell in bad_spells(run.setting.world):
        if spell.from_s < duration_s:
            yield FaultWindow(
                target=target,
                what=what_text(spell.effect).replace("_", " "),
                from_s=spell.from_s,
                until_s=min(spell.until_s, duration_s),
                share=spell.share,
                flaps=spell.flaps if spell.flaps and spell.flaps[1] < inf else None,
            )


# The worst requests


def _request(witnessed: Witnessed) -> PageRequest:
    return PageRequest(
        at_s=witnessed.at_s,
        wait_s=witnessed.wait_s,
        outcome=witnessed.outcome.value,
        attempts=tuple(_attempt(each) for each in witnessed.attempts),
    )


def _attempt(tried: Tried) -> PageAttempt:
    is_dropped = tried.failure == FailureClass.CANCELLED
    return PageAttempt(
        target=tried.target,
        reason=tried.reason,
        from_s=tried.from_s,
        opened_s=tried.opened_s,
        until_s=tried.until_s,
        outcome=_outcome(tried),
        is_failure=tried.failure is not None and not is_dropped,
    )


def _outcome(tried: Tried) -> str:
    if tried.failure is None:
        return "answered" if tried.opened_s is not None else "given up"
    words = tried.failure.replace("_", " ")
    if tried.status is not None:
        words = f"{words} {tried.status}"
    return f"{words}: {tried.cause}" if tried.cause else words
