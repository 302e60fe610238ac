"""The fleet's health as metrics, drawn when somebody reads them.

Nothing is counted here: what is shown is a picture that was just taken, so a state that
came and went between two readings is not seen. (Attempts are counted by `metrics`.)
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from trio_gateway.failover.view import FleetView, TargetState, TargetView
from trio_gateway.telemetry.exposition import Families, Labels, show

Rows = Iterable[tuple[Labels, float]]


class _Metric(NamedTuple):
    """One of them: what its comments say, and its rows in a picture of the fleet."""

    name: str
    kind: str
    words: str
    labels: tuple[str, ...]
    rows: Callable[[FleetView], Rows]


def fleet_parts(view: FleetView) -> Iterator[Families]:
    """Show every metric of the fleet, one after the other: each may be long."""
    for metric in _METRICS:
        part: Families = {}
        rows = metric.rows(view)
        show(part, metric.kind, metric.name, metric.words, rows, metric.labels)
        yield part


def _states(view: FleetView) -> Rows:
    for target in view.targets:
        for state in TargetState:
            yield (target.id, state), target.standing.state is state


def _by_target(value: Callable[[TargetView], float]) -> Callable[[FleetView], Rows]:
    return lambda view: (((target.id,), value(target)) for target in view.targets)


def _passed_over(view: FleetView) -> Rows:
    for target in view.targets:
        for denied, count in target.passed_over:
            yield (target.id, denied.value), count


def _denied(view: FleetView) -> Rows:
    for route in view.routes:
        yield (route.slug, "retry"), route.retries_denied
        yield (route.slug, "extra"), route.extras_denied


_METRICS: Final = (
    _Metric(
        "trio_gateway_target_state",
        "gauge",
        "1 for the state that a target is in, 0 for the others.",
        ("target", "state"),
        _states,
    ),
    _Metric(
        "trio_gateway_target_in_flight",
        "gauge",
        "Attempts going on at a target.",
        ("target",),
        _by_target(lambda target: target.load.in_flight),
    ),
    _Metric(
        "trio_gateway_target_waiting",
        "gauge",
        "Exchanges in line for a slot at a target.",
        ("target",),
        _by_target(lambda target: target.waiting),
    ),
    _Metric(
        "trio_gateway_target_budget_tokens",
        "gauge",
        "What is left for further attempts after a first one; none from 10 down.",
        ("target",),
        _by_target(lambda target: target.tokens),
    ),
    _Metric(
        "trio_gateway_target_passed_over_total",
        "counter",
        "How often a target was not asked although it was its turn.",
        ("target", "why"),
        _passed_over,
    ),
    _Metric(
        "trio_gateway_budget_denied_total",
        "counter",
        "Attempts that a model's budget did not have: retries, or extra ones beside.",
        ("model", "budget"),
        _denied,
    ),
)
