"""The fleet's health as metrics, drawn when somebody reads them.

Nothing is counted here: what is shown is a picture that was just taken, so a state that
came and went between two readings is not seen. (Attempts are counted by `metrics`.)
"""

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from trio_gateway.failover.view import FleetView, TargetState, TargetView

Family = CounterMetricFamily | GaugeMetricFamily


class FleetCollector(Collector):
    """Shows its `view`; the metrics' names alone while there is none."""

    def __init__(self) -> None:
        self.view: FleetView | None = None

    def collect(self) -> Iterator[Family]:
        """Every metric of the fleet."""
        view = self.view or FleetView(targets=(), routes=())
        yield _states(view)
        yield _by_target(
            view,
            "trio_gateway_target_in_flight",
            "Attempts going on at a target.",
            lambda target: target.load.in_flight,
        )
        yield _by_target(
            view,
            "trio_gateway_target_waiting",
            "Exchanges in line for a slot at a target.",
            lambda target: target.waiting,
        )
        yield _by_target(
            view,
            "trio_gateway_target_budget_tokens",
            "What is left for further attempts after a first one; none from 10 down.",
            lambda target: target.tokens,
        )
        yield _passed_over(view)
        yield _denied(view)


def _states(view: FleetView) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "trio_gateway_target_state",
        "1 for the state that a target is in, 0 for the others.",
        labels=["target", "state"],
    )
    for target in view.targets:
        for state in TargetState:
            is_it = target.standing.state is state
            family.add_metric([target.id, state], float(is_it))
    return family


def _by_target(
    view: FleetView, name: str, words: str, value: Callable[[TargetView], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=["target"])
    for target in view.targets:
        family.add_metric([target.id], value(target))
    return family


def _passed_over(view: FleetView) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "trio_gateway_target_passed_over",
        "How often a target was not asked although it was its turn.",
        labels=["target", "why"],
    )
    for target in view.targets:
        for denied, count in target.passed_over:
            family.add_metric([target.id, denied.value], count)
    return family


def _denied(view: FleetView) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "trio_gateway_budget_denied",
        "Attempts that a model's budget did not have: retries, or extra ones beside.",
        labels=["model", "budget"],
    )
    for route in view.routes:
        family.add_metric([route.slug, "retry"], route.retries_denied)
        family.add_metric([route.slug, "extra"], route.extras_denied)
    return family
