"""Several processes' metrics as one, also after some of them are gone."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import a_policy, a_route, a_target
from tests.telemetry.records import COMPLETED, a_record
from trio_gateway.telemetry.exposition import Families, parse, text_of
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.names import Names
from trio_gateway.telemetry.sums import Sums, joined


def counted(exchanges: int, *, model: str = "demo-chat") -> Metrics:
    metrics = Metrics(slugs={model: None})
    for _ in range(exchanges):
        metrics.observe(COMPLETED._replace(model=model))
    return metrics


def text(metrics: Metrics) -> str:
    return metrics.render().decode()


def text_of_all(sums: Sums) -> str:
    return text_of(sums.families())


def value(said: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)}\S* (\S+)$", said, re.MULTILINE)
    return float(found[1]) if found else 0.0


EXCHANGES = 'trio_gateway_exchanges_total{model="demo-chat"'
DURATIONS = 'trio_gateway_exchange_seconds_count{model="demo-chat"'


def test_one_process_alone_is_shown_as_it_shows_itself() -> None:
    shown = text(counted(3))
    assert text_of(parse(shown)) == shown


def test_counters_and_histograms_are_summed() -> None:
    sums = Sums()
    sums.note("a", text(counted(3)))
    sums.note("b", text(counted(4)))
    assert value(text_of_all(sums), EXCHANGES) == 7
    assert value(text_of_all(sums), DURATIONS) == 7


@pytest.mark.parametrize(
    "odd",
    [
        'a "quoted" slug, with \\ and a\nline',
        "a\rb",
        "a\x0b\x1cb",
        "a\x85b\u2028c",
        " }",
    ],
)
def test_what_is_shown_can_be_read_by_prometheus(odd: str) -> None:
    sums = Sums()
    sums.note("a", text(counted(1, model=odd)))
    sums.note("b", text(counted(2, model=odd)))
    families = {f.name: f for f in text_string_to_metric_families(text_of_all(sums))}
    (sample,) = families["trio_gateway_exchanges"].samples
    assert (sample.labels["model"], sample.value) == (odd, 3)


def test_gauges_are_summed_or_the_worst_as_they_mean() -> None:
    one, other = counted(0), counted(0)
    for metrics, share in ((one, 0.2), (other, 0.6)):
        metrics.exchange_admitted()
        metrics.loop_was_late(0.2, shed_share=share)
    tokens = '# HELP {0} x\n# TYPE {0} gauge\n{0}{{target="a"}} {1}\n'
    name = "trio_gateway_target_budget_tokens"
    sums = Sums()
    sums.note("a", text(one) + tokens.format(name, 20.0))
    sums.note("b", text(other) + tokens.format(name, 4.5))
    said = text_of_all(sums)
    assert value(said, "trio_gateway_in_flight") == 2
    assert value(said, "trio_gateway_shed_share") == 0.6
    assert value(said, name) == 4.5


# Of two processes: what each shows, and what both do.
GAUGES = {
    "trio_gateway_in_flight": (2.0, 3.0, 5.0),
    "trio_gateway_open_streams": (2.0, 3.0, 5.0),
    "trio_gateway_target_in_flight": (2.0, 3.0, 5.0),
    "trio_gateway_target_waiting": (2.0, 3.0, 5.0),
    "trio_gateway_shed_share": (0.2, 0.6, 0.6),
    "trio_gateway_policy_refused": (1.0, 1.0, 1.0),
    "trio_gateway_target_state": (1.0, 1.0, 1.0),
    "trio_gateway_target_budget_tokens": (20.0, 4.5, 4.5),
}


@pytest.mark.parametrize("name", GAUGES)
def test_each_gauge_is_summed_or_the_worst_as_it_means(name: str) -> None:
    *each, both = GAUGES[name]
    sums = Sums()
    for process, one in enumerate(each):
        lines = f'# HELP {name} x\n# TYPE {name} gauge\n{name}{{target="a"}} {one}\n'
        sums.note(process, lines)
    assert value(text_of_all(sums), name) == both


def test_of_every_gauge_it_was_decided_how_it_is_summed() -> None:
    families = parse(text(counted(1)))
    gauges = {name for name, family in families.items() if family.kind == "gauge"}
    assert {name for name in gauges if not name.endswith("_created")} == GAUGES.keys()


def test_no_counter_steps_back_when_a_process_dies_and_another_begins() -> None:
    sums = Sums()
    shown = [0.0]
    for generation in range(5):
        sums.note(generation, text(counted(10)))
        shown.append(value(text_of_all(sums), EXCHANGES))
        sums.gone(generation)
        shown.append(value(text_of_all(sums), EXCHANGES))
        sums.note(generation + 1, text(counted(1)))
        shown.append(value(text_of_all(sums), EXCHANGES))
    assert shown == sorted(shown)
    assert shown[-1] == 51


def test_what_a_process_had_open_is_gone_with_it() -> None:
    metrics = counted(1)
    metrics.exchange_admitted()
    sums = Sums()
    sums.note("a", text(metrics))
    sums.gone("a")
    assert value(text_of_all(sums), EXCHANGES) == 1
    assert "trio_gateway_in_flight" not in text_of_all(sums)


def test_counting_began_when_the_first_process_began() -> None:
    def began(at: float) -> str:
        return f"# HELP x_created x\n# TYPE x_created gauge\nx_created {at}\n"

    assert joined([parse(began(200.0)), parse(began(100.0))])["x_created"].samples == {
        "x_created": 100.0
    }


def test_what_is_kept_of_the_gone_is_bounded_by_what_still_counts() -> None:
    sums = Sums(kept_max=200)
    sums.note("steady", text(counted(1)))
    for generation in range(30):
        sums.note(generation, text(counted(1, model=f"m{generation}")))
        sums.gone(generation)
    sums.note("a", text(counted(5)))
    sums.gone("a")
    said = text_of_all(sums)
    assert said.count("\n") < 400
    assert value(said, EXCHANGES) >= 6


def test_what_is_counted_here_is_added() -> None:
    sums = Sums()
    sums.note("a", text(counted(1)))
    assert value(text_of(sums.families(counted(2).families())), EXCHANGES) == 3


# A reload

STEADY = a_target("steady", model="demo")  # `records` have another one, too
LATER = a_policy(a_route([STEADY], slug='kept "model"\n'))


def counted_before() -> Metrics:
    metrics = Metrics(slugs=dict.fromkeys(("demo-chat", *LATER.routes)))
    for model in ("demo-chat", "made-up", *LATER.routes):
        metrics.observe(a_record(model=model))
        metrics.observe(a_record(model=model, org=None, project=None))
        metrics.observe(a_record(model=model, project="gone"))
    return metrics


def counts(families: Families) -> dict[str, float]:
    return {
        sample: value
        for family in families.values()
        if family.kind in ("counter", "histogram")
        for sample, value in family.samples.items()
    }


@pytest.mark.parametrize("dies_first", [True, False])
def test_after_a_reload_of_one_that_is_gone_remains_what_it_would_have_kept_itself(
    dies_first: bool,
) -> None:
    metrics, sums = counted_before(), Sums()
    sums.note("a", text(metrics))
    if dies_first:
        sums.gone("a")
        sums.keep(Names.of(LATER).have)
    else:
        sums.keep(Names.of(LATER).have)
        sums.note("a", text(metrics))  # it was asked before it was told
        sums.gone("a")

    before = counts(metrics.families())
    metrics.adopt(LATER)
    remaining = counts(metrics.families())
    assert 0 < len(remaining) < len(before)
    assert counts(sums.families()) == remaining
