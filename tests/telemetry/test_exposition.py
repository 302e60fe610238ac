"""The text format: what is written is what Prometheus reads, and what we read back."""

from math import inf, isnan, nan

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trio_gateway.telemetry.exposition import (
    Families,
    Naming,
    escaped,
    labels_of,
    parse,
    show,
    show_number,
    text_of,
)
from trio_gateway.telemetry.families import Counts, Spreads


def a_number(value: float) -> Families:
    families: Families = {}
    show_number(families, "gauge", "depth", "How deep.", value)
    return families


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0.0"),
        (True, "1.0"),
        (3, "3.0"),
        (0.25, "0.25"),
        (1_234_567, "1234567.0"),
        (inf, "+Inf"),
        (-inf, "-Inf"),
    ],
)
def test_a_number_is_written_as_prometheus_reads_it(value: float, written: str) -> None:
    text = text_of(a_number(value))
    assert text == f"# HELP depth How deep.\n# TYPE depth gauge\ndepth {written}\n"
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].value == value
    assert parse(text) == a_number(value)


def test_what_is_not_a_number_is_written_as_that() -> None:
    (family,) = text_string_to_metric_families(text_of(a_number(nan)))
    assert isnan(family.samples[0].value)


def test_a_sample_is_called_the_same_whatever_the_order_of_its_labels() -> None:
    named = 'x{a="1",b="2"}'
    assert (
        Naming("x", ["b", "a"])("2", "1") == Naming("x", ["a", "b"])("1", "2") == named
    )


@pytest.mark.parametrize(
    "odd",
    [
        *('"', "\\", "\n", "{0}", "}", "a b", 'x"} 9\ny'),
        *("", "\\n", '\\"', 'x",label="y', "a=b,c", "a\r\x0b\x85\u2028b"),
    ],
)
def test_a_label_may_hold_anything(odd: str) -> None:
    families: Families = {}
    show(families, "gauge", "x", "Words.", [((odd,), 1)], ["label"])
    text = text_of(families)
    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"label": odd}
    assert parse(text) == families
    assert f'x{{label="{escaped(odd)}"}} 1.0' in text
    named = Naming("x", ["label", "other"])(escaped(odd), escaped(odd))
    assert labels_of(named) == {"label": odd, "other": odd}


def test_a_sample_without_labels_has_none() -> None:
    assert labels_of("x") == {}


def test_a_counter_is_shown_with_the_instant_of_its_first_count() -> None:
    counts = Counts("asked", "How often.", ["who"])
    families: Families = {}
    counts.show(families)
    assert text_of(families) == (
        "# HELP asked_total How often.\n# TYPE asked_total counter\n"
    )
    counts.count("a")
    counts.count("a")
    counts.show(families)
    assert families["asked_total"].samples == {'asked_total{who="a"}': 2}
    assert families["asked_created"].samples.keys() == {'asked_created{who="a"}'}


def test_a_histogram_counts_up_to_each_bound() -> None:
    spreads = Spreads("took_seconds", "How long.", ["who"], (0.5, 1, 10))
    for value in (0.1, 0.5, 0.7, 99.0):
        spreads.observe(value, "a")
    families: Families = {}
    spreads.show(families)
    samples = families["took_seconds"].samples
    bucket = 'took_seconds_bucket{{le="{}",who="a"}}'.format
    assert {end: samples[bucket(end)] for end in ("0.5", "1.0", "10.0", "+Inf")} == {
        "0.5": 2,
        "1.0": 3,
        "10.0": 3,
        "+Inf": 4,
    }
    assert samples['took_seconds_count{who="a"}'] == 4
    assert samples['took_seconds_sum{who="a"}'] == pytest.approx(100.3)
