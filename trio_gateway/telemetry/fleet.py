"""The fleet's health as metrics, drawn when somebody reads them.

Nothing is counted here: what is shown is a picture that was just taken, so a state that
came and went between two readings is not seen. (Attempts are counted by `metrics`.)
"""

from collections.abc import Callable

from trio_gateway.failover.view import FleetView, TargetState, TargetView
from trio_gateway.telemetry.exposition import Families, show


def show_fleet(families: Families, view: FleetView) -> None:
    """Add every metric of the fleet."""
    show(
        families,
        "gauge",
        "trio_gateway_target_state",
        "1 for the state that a target is in, 0 for the others.",
        (
            ((target.id, state), target.standing.state is state)
            for target in view.targets
            for state in TargetState
        ),
        ["target", "state"],
    )
    _show_by_target(
        families,
        view,
        "trio_gateway_target_in_flight",
        "Attempts going on at a target.",
        lambda target: target.load.in_flight,
    )
    _show_by_target(
        families,
        view,
        "trio_gateway_target_waiting",
        "Exchanges in line for a slot at a target.",
        lambda target: target.waiting,
    )
    _show_by_target(
        families,
        view,
        "trio_gateway_target_budget_tokens",
        "What is left for further attempts after a first one; none from 10 down.",
        lambda target: target.tokens,
    )
    show(
        families,
        "counter",
        "trio_gateway_target_passed_over_total",
        "How often a target was not asked although it was its turn.",
        (
            ((target.id, denied.value), count)
            for target in view.targets
            for denied, count in target.passed_over
        ),
        ["target", "why"],
    )
    denied = [
        ((route.slug, budget), count)
        for route in view.routes
        for budget, count in (
            ("retry", route.retries_denied),
            ("extra", route.extras_denied),
        )
    ]
    show(
        families,
        "counter",
        "trio_gateway_budget_denied_total",
        "Attempts that a model's budget did not have: retries, or extra ones beside.",
        denied,
        ["model", "budget"],
    )


def _show_by_target(
    families: Families,
    view: FleetView,
    name: str,
    words: str,
    value: Callable[[TargetView], float],
) -> None:
    rows = (((target.id,), value(target)) for target in view.targets)
    show(families, "gauge", name, words, rows, ["target"])
