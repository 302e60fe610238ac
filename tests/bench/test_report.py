import json
from datetime import UTC, datetime

from trio_gateway.bench import report
from trio_gateway.bench.client import Sample
from trio_gateway.bench.run import Figure, Plan, Results

PLAN = Plan(scenarios=("requests",))


def sample(cpu_ms: float, *, bad: int = 0, p50_ms: float = 1.0) -> Sample:
    return Sample(
        answers=1000,
        bad={"cut": bad} if bad else {},
        seconds=1.0,
        cpu_s=cpu_ms,
        latency_ms={"p50": p50_ms},
    )


def results(**samples: dict[str, list[Sample]]) -> Results:
    found = Results(systems=[name for name in samples if name != "direct"])
    for system, loads in samples.items():
        found.samples[system].update(loads)
    return found


def line(found: Results, begins: str) -> str:
    (line,) = (x for x in report.table(found, PLAN, {}) if x.startswith(begins))
    return line


def test_the_ratio_is_that_of_the_best_rounds() -> None:
    found = results(
        product={"requests": [sample(0.3), sample(0.1), sample(0.2)]},
        yardstick={"requests": [sample(2.0), sample(5.0), sample(3.0)]},
    )

    assert report.times_less(found) == 20.0
    assert report.quantity(found, "product", "requests") == Figure(0.1, 0.2, 0.3 / 0.1)
    told = line(found, "CPU per request, 32 at once")
    assert "0.1 (0.2, 3.0x)" in told
    assert told.split()[-2:] == ["1/20.0", "1/15.0"]


def test_without_a_yardstick_there_is_no_ratio() -> None:
    found = results(product={"requests": [sample(0.1)]})

    assert report.times_less(found) is None
    assert "MISSED" not in "\n".join(report.table(found, PLAN, {}))


def test_a_missed_target_is_marked() -> None:
    found = results(
        product={"requests": [sample(0.2)]}, yardstick={"requests": [sample(2.0)]}
    )

    assert line(found, "CPU per request, 32").endswith("1/10.0  1/15.0  MISSED")


def test_bad_answers_are_counted_and_named() -> None:
    found = results(
        product={"requests": [sample(0.1, bad=2)], "alone": [sample(0.1, bad=1)]}
    )

    assert found.bad("product") == 3
    assert line(found, "bad or cut answers").endswith("0  MISSED")
    assert line(found, "bad: product, alone") == "bad: product, alone: cut (1)"


def test_a_chunk_is_what_a_long_stream_takes_beyond_a_short_one() -> None:
    streams = {"stream-50-gaps": [sample(6.0)], "stream-1-gaps": [sample(1.1)]}

    figure = report.quantity(results(product=streams), "product", "chunks-gaps")

    assert figure is not None
    assert round(figure.best, 6) == 100.0  # microseconds: 4.9 ms by 49


def test_of_rates_the_highest_is_the_best() -> None:
    fast, slow = sample(0.1), sample(0.1)
    slow.seconds = 2.0

    figure = report.quantity(
        results(product={"requests": [slow, fast]}), "product", "rate"
    )

    assert figure is not None
    assert (figure.best, figure.spread) == (1000.0, 2.0)


def test_added_latency_is_beyond_the_direct_way() -> None:
    found = results(
        product={"alone": [sample(1.0, p50_ms=0.75)]},
        direct={"alone": [sample(1.0, p50_ms=0.5)]},
    )

    added = report.quantity(found, "product", "added-latency")

    assert added is not None
    assert added.best == 0.25


def test_programs_get_every_sample() -> None:
    found = results(product={"requests": [sample(0.1), sample(0.2)]})
    machine = report.machine(datetime(2026, 1, 1, tzinfo=UTC), cpus=2)

    told = json.loads(json.dumps(report.as_json(found, PLAN, machine)))

    assert [s["cpu_s"] for s in told["samples"]["product"]["requests"]] == [0.1, 0.2]
    assert told["bad"] == {"product": 0}
    assert told["machine"]["date"] == "2026-01-01T00:00+00:00"
    assert "trio 0." in told["machine"]["versions"]
