from random import Random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import a_policy, a_route, a_target
from tests.telemetry.records import COMPLETED, FAILED, WON, a_record
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.failures import FailureClass
from trio_gateway.failover.fleet import Denied, Fleet
from trio_gateway.failover.health import Kind
from trio_gateway.failover.view import describe
from trio_gateway.relay.record import Outcome, Shed
from trio_gateway.telemetry.exposition import CONTENT_TYPE
from trio_gateway.telemetry.metrics import Metrics

KIND = Kind(commits_whole=False, prompt_bucket=0)


def read(metrics: Metrics, name: str, **labels: str) -> float | None:
    return sample(metrics.render(), name, labels)


def sample(rendered: bytes, name: str, labels: dict[str, str]) -> float | None:
    for family in text_string_to_metric_families(rendered.decode()):
        for sample in family.samples:
            if sample.name == f"trio_gateway_{name}" and sample.labels == labels:
                return sample.value
    return None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(slugs={"demo-chat"})


def test_an_exchange_is_counted_by_what_the_client_got(metrics: Metrics) -> None:
    metrics.observe(COMPLETED)
    metrics.observe(COMPLETED)
    metrics.observe(a_record(outcome=Outcome.REFUSED, status=502))

    by = {"model": "demo-chat", "outcome": "completed", "status": "200"}
    assert read(metrics, "exchanges_total", **by) == 2
    by = {"model": "demo-chat", "outcome": "refused", "status": "502"}
    assert read(metrics, "exchanges_total", **by) == 1
    assert (
        read(metrics, "exchange_seconds_count", model="demo-chat", stream="true") == 3
    )


def test_an_exchange_is_counted_for_its_org_and_project(metrics: Metrics) -> None:
    metrics.observe(COMPLETED)
    metrics.observe(a_record(org="acme", project=None))

    by = {"org": "acme", "outcome": "completed"}
    assert read(metrics, "org_exchanges_total", **by, project="support") == 1
    assert read(metrics, "org_exchanges_total", **by, project="") == 1


def test_a_failed_handshake_is_counted_by_its_reason(metrics: Metrics) -> None:
    metrics.handshake_failed("timeout")
    metrics.handshake_failed("timeout")

    assert read(metrics, "tls_handshakes_failed_total", reason="timeout") == 2


def test_a_slug_that_no_policy_has_is_no_label(metrics: Metrics) -> None:
    for n in range(50):
        metrics.observe(a_record(model=f"made-up-{n}\ud800", status=404))

    assert b"made-up" not in metrics.render()
    by = {"model": "unknown", "outcome": "completed", "status": "404"}
    assert read(metrics, "exchanges_total", **by) == 50


def test_a_new_policy_brings_new_slugs(metrics: Metrics) -> None:
    metrics.slugs = {"new-chat": None}
    metrics.observe(a_record(model="new-chat"))
    by = {"model": "new-chat", "outcome": "completed", "status": "200"}
    assert read(metrics, "exchanges_total", **by) == 1


def test_what_a_new_policy_does_not_know_is_forgotten(metrics: Metrics) -> None:
    steady = a_target("steady", model="demo")
    kept = a_record(model="demo-chat", org="acme", project="tests")
    metrics.observe(kept)
    metrics.observe(a_record(project="gone"))
    metrics.observe(a_record(model="made-up", org=None, project=None))

    metrics.adopt(a_policy(a_route([steady], slug="demo-chat")))
    after = metrics.render()
    assert b"flaky/demo" not in after
    assert b'project="gone"' not in after
    by = {"model": "demo-chat", "outcome": "completed", "status": "200"}
    assert sample(after, "exchanges_total", by) == 2
    by = {"target": "steady/demo", "reason": "failover", "class": "ok"}
    assert sample(after, "attempts_total", by) == 3
    by = {"org": "acme", "project": "tests", "outcome": "completed"}
    assert sample(after, "org_exchanges_total", by) == 1
    by = {"org": "", "project": "", "outcome": "completed"}
    assert sample(after, "org_exchanges_total", by) == 1

    metrics.adopt(a_policy(a_route([steady], slug="new-chat")))
    after = metrics.render()
    assert b"demo-chat" not in after
    by = {"model": "unknown", "outcome": "completed", "status": "200"}
    assert sample(after, "exchanges_total", by) == 1

    metrics.observe(kept)
    by = {"model": "unknown", "outcome": "completed", "status": "200"}
    assert read(metrics, "exchanges_total", **by) == 2


@pytest.mark.parametrize(
    ("first_token_s", "bucket", "before"), [(0.05, "0.05", None), (0.06, "0.1", "0.05")]
)
def test_a_bucket_holds_its_upper_end(
    metrics: Metrics, first_token_s: float, bucket: str, before: str | None
) -> None:
    metrics.observe(a_record(first_token_s=first_token_s))
    by = {"model": "demo-chat"}
    assert read(metrics, "first_token_seconds_bucket", **by, le=bucket) == 1
    if before is not None:
        assert read(metrics, "first_token_seconds_bucket", **by, le=before) == 0
    assert read(metrics, "first_token_seconds_bucket", **by, le="+Inf") == 1
    assert read(metrics, "first_token_seconds_count", **by) == 1


def test_every_attempt_is_counted_by_its_class(metrics: Metrics) -> None:
    metrics.observe(COMPLETED)

    by = {"target": "flaky/demo", "reason": "first", "class": "server_error"}
    assert read(metrics, "attempts_total", **by) == 1
    by = {"target": "steady/demo", "reason": "failover", "class": "ok"}
    assert read(metrics, "attempts_total", **by) == 1


def test_a_client_waits_for_all_attempts_and_a_target_for_its_own(
    metrics: Metrics,
) -> None:
    metrics.observe(COMPLETED)

    client = read(metrics, "first_token_seconds_sum", model="demo-chat")
    target = read(metrics, "target_first_token_seconds_sum", target="steady/demo")
    assert client == pytest.approx(0.216)
    assert target == pytest.approx(0.2)
    assert read(metrics, "target_first_token_seconds_sum", target="flaky/demo") is None


def test_an_answer_that_is_not_a_stream_has_no_first_token(metrics: Metrics) -> None:
    metrics.observe(a_record(is_stream=False))
    assert read(metrics, "first_token_seconds_count", model="demo-chat") is None
    assert read(metrics, "exchange_seconds_count", model="demo-chat", stream="false")


def test_a_client_that_leaves_is_counted_on_its_side_of_the_commit_point(
    metrics: Metrics,
) -> None:
    waiting = FAILED._replace(failure=FailureClass.CANCELLED, status=None)
    reading = WON._replace(failure=FailureClass.CANCELLED)
    gone = a_record(outcome=Outcome.CANCELLED, status=None, attempts=(waiting,))
    metrics.observe(gone)
    metrics.observe(gone)
    metrics.observe(a_record(outcome=Outcome.CANCELLED, attempts=(FAILED, reading)))
    metrics.observe(COMPLETED)

    assert read(metrics, "cancellations_total", phase="before_commit") == 2
    assert read(metrics, "cancellations_total", phase="after_commit") == 1
    by = {"model": "demo-chat", "outcome": "cancelled", "status": "none"}
    assert read(metrics, "exchanges_total", **by) == 2


def test_what_goes_on_is_gauged(metrics: Metrics) -> None:
    metrics.exchange_admitted()
    metrics.exchange_admitted()
    metrics.stream_opened()
    assert read(metrics, "in_flight") == 2
    assert read(metrics, "open_streams") == 1

    metrics.stream_closed()
    metrics.exchange_ended()
    assert read(metrics, "in_flight") == 1
    assert read(metrics, "open_streams") == 0


def test_an_attempt_beside_another_has_won_or_lost(metrics: Metrics) -> None:
    late = FAILED._replace(failure=FailureClass.CANCELLED, status=None)
    beside = WON._replace(reason=Reason.OVERLAP)
    metrics.observe(a_record(attempts=(late, beside)))
    metrics.observe(a_record(attempts=(WON, late._replace(reason=Reason.HEDGE))))

    assert read(metrics, "extra_attempts_total", reason="overlap", result="won") == 1
    assert read(metrics, "extra_attempts_total", reason="hedge", result="lost") == 1
    assert (
        read(metrics, "extra_attempts_total", reason="failover", result="won") is None
    )


def test_what_was_shed_is_counted_by_its_reason(metrics: Metrics) -> None:
    metrics.observe(a_record(status=503, outcome=Outcome.REFUSED, shed=Shed.LAG))
    metrics.observe(a_record(status=503, outcome=Outcome.REFUSED))

    assert read(metrics, "shed_total", reason="lag") == 1
    by = {"model": "demo-chat", "outcome": "refused", "status": "503"}
    assert read(metrics, "exchanges_total", **by) == 2


def test_the_loops_lateness_is_told_with_what_follows(metrics: Metrics) -> None:
    metrics.loop_was_late(0.15, shed_share=0.2)

    assert read(metrics, "loop_lag_seconds_bucket", le="0.1") == 0
    assert read(metrics, "loop_lag_seconds_bucket", le="0.2") == 1
    assert read(metrics, "shed_share") == 0.2


def test_the_fleet_is_told_as_it_is_when_read(metrics: Metrics) -> None:
    route, fleet = a_route("ab"), Fleet(Random("metrics"))
    first, second = route.targets
    fleet.disable(first, Disabled.OPERATOR, 1.0)
    fleet.dial(route, second, KIND, ticket="x", now=2.0)
    fleet.budgets(route).retries.try_withdraw(3.0, cost=1000.0)
    fleet.passed_over["a/m", Denied.DISABLED] += 3

    def read_now(name: str, **labels: str) -> float | None:
        return sample(metrics.render(describe(fleet, [route], 4.0)), name, labels)

    assert read_now("target_state", target="a/m", state="disabled") == 1
    assert read_now("target_state", target="a/m", state="closed") == 0
    assert read_now("target_state", target="b/m", state="closed") == 1
    assert read_now("target_in_flight", target="b/m") == 1
    assert read_now("target_waiting", target="b/m") == 0
    assert read_now("target_budget_tokens", target="b/m") == 20
    assert read_now("target_passed_over_total", target="a/m", why="disabled") == 3
    assert read_now("budget_denied_total", model="chat", budget="retry") == 1
    assert read_now("budget_denied_total", model="chat", budget="extra") == 0
    assert read(metrics, "target_in_flight", target="b/m") is None


def test_dropped_log_lines_are_asked_for_when_read() -> None:
    dropped = [3]
    metrics = Metrics(slugs=(), lines_dropped=lambda: dropped[0])
    assert read(metrics, "log_lines_dropped_total") == 3
    dropped[0] = 5
    assert read(metrics, "log_lines_dropped_total") == 5


def test_two_gateways_in_one_process_do_not_count_together(metrics: Metrics) -> None:
    other = Metrics(slugs={"demo-chat"})
    other.observe(COMPLETED)
    assert b"demo-chat" not in metrics.render()


def test_the_content_type_is_what_prometheus_asks_for() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
