"""How the workers of a supervisor are, as metrics."""

from dataclasses import dataclass

from trio_gateway.telemetry.exposition import Families, show, show_number


@dataclass(frozen=True, slots=True)
class WorkersView:
    """A picture of one instant; what has happened so often since the beginning."""

    count: int  # how many there should be
    ready: int
    looping: tuple[int, ...]  # those that keep dying
    deaths: int
    rolls_done: int
    rolls_stopped: int


def show_workers(families: Families, view: WorkersView) -> None:
    """Add all of it."""
    show_number(
        families,
        "gauge",
        "trio_gateway_workers",
        "Worker processes that there should be.",
        view.count,
    )
    show_number(
        families,
        "gauge",
        "trio_gateway_workers_ready",
        "Worker processes that serve clients.",
        view.ready,
    )
    show_number(
        families,
        "gauge",
        "trio_gateway_workers_looping",
        "Worker processes that keep dying and are restarted slowly.",
        len(view.looping),
    )
    show_number(
        families,
        "counter",
        "trio_gateway_worker_deaths_total",
        "Worker processes that ended unasked, or did not become ready.",
        view.deaths,
    )
    show(
        families,
        "counter",
        "trio_gateway_worker_rolls_total",
        "Rolling restarts, by whether they came to their end.",
        [(("done",), view.rolls_done), (("stopped",), view.rolls_stopped)],
        ["outcome"],
    )
