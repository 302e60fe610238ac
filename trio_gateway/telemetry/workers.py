"""How the workers of a supervisor are, as metrics."""

from dataclasses import dataclass

from trio_gateway.telemetry.sums import Family, text_of


@dataclass(frozen=True, slots=True)
class WorkersView:
    """A picture of one instant; what has happened so often since the beginning."""

    count: int  # how many there should be
    ready: int
    looping: tuple[int, ...]  # those that keep dying
    deaths: int
    rolls_done: int
    rolls_stopped: int


def workers_text(view: WorkersView) -> str:
    """Everything in Prometheus' format, as `metrics.CONTENT_TYPE`."""

    def family(words: str, kind: str, *samples: tuple[str, int]) -> Family:
        return Family(words, kind, {name: float(value) for name, value in samples})

    rolls = "trio_gateway_worker_rolls_total"
    families = {
        "trio_gateway_workers": family(
            "Worker processes that there should be.",
            "gauge",
            ("trio_gateway_workers", view.count),
        ),
        "trio_gateway_workers_ready": family(
            "Worker processes that serve clients.",
            "gauge",
            ("trio_gateway_workers_ready", view.ready),
        ),
        "trio_gateway_workers_looping": family(
            "Worker processes that keep dying and are restarted slowly.",
            "gauge",
            ("trio_gateway_workers_looping", len(view.looping)),
        ),
        "trio_gateway_worker_deaths_total": family(
            "Worker processes that ended unasked, or did not become ready.",
            "counter",
            ("trio_gateway_worker_deaths_total", view.deaths),
        ),
        rolls: family(
            "Rolling restarts, by whether they came to their end.",
            "counter",
            (f'{rolls}{{outcome="done"}}', view.rolls_done),
            (f'{rolls}{{outcome="stopped"}}', view.rolls_stopped),
        ),
    }
    return text_of(families).decode()
