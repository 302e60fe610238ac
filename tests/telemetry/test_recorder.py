from tests.telemetry.records import COMPLETED
from trio_gateway.telemetry.log import exchange_line, exchange_text
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.recorder import Recorder


def test_an_exchange_goes_to_the_metrics_the_log_and_the_observers() -> None:
    metrics = Metrics(slugs={"demo-chat"})
    lines: list[str] = []
    seen: list[object] = []
    recorder = Recorder(metrics=metrics, write=lines.append, observers=(seen.append,))

    recorder.record(COMPLETED)

    assert lines == [exchange_line(COMPLETED)]
    assert seen == [COMPLETED]
    assert b'model="demo-chat"' in metrics.render()


def test_the_form_of_the_line_is_chosen() -> None:
    lines: list[str] = []
    recorder = Recorder(
        metrics=Metrics(slugs=()), write=lines.append, form=exchange_text
    )
    recorder.record(COMPLETED)
    assert lines == [exchange_text(COMPLETED)]
