"""An explanation tells what the engine does, with the health that is given."""

import json
from dataclasses import replace
from random import Random

import pytest

from tests.factories import RETRY, a_route, a_target, with_timeouts
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.failures import FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.view import TargetState
from trio_gateway.policy.explanation.explain import (
    Asked,
    Ended,
    Refused,
    Timeline,
    Waited,
    explain,
    is_asked_again,
)
from trio_gateway.policy.explanation.explain_text import as_json, as_mermaid, as_text
from trio_gateway.policy.explanation.given import (
    Given,
    GivenError,
    Ill,
    impose,
    parse_given,
)
from trio_gateway.policy.judgement.bounds import bounds_of
from trio_gateway.policy.route import CommitMode, CommitPoint, OnHint, Patience, Route

OVERLAP = Reason.OVERLAP


def a_fleet(route: Route, given: str = "", now: float = 0.0) -> Fleet:
    fleet = Fleet(Random("test"))
    impose(parse_given(given), route, fleet, now)
    return fleet


def timelines(route: Route, given: str = "") -> dict[str, Timeline]:
    explanation = explain(route, a_fleet(route, given))
    return {timeline.name: timeline for timeline in explanation.timelines}


def test_silence_is_told_with_overlap_limits_and_the_error_at_the_end() -> None:
    steps = timelines(a_route("ab", is_overlap_on=True))["silent"].steps

    assert steps == (
        Asked(0.0, 1, "a/m", Reason.FIRST, 20.0),
        Asked(8.0, 2, "b/m", Reason.OVERLAP, 45.0),
        Ended(20.0, 1, "a/m", FailureClass.TIMEOUT),
        Ended(45.0, 2, "b/m", FailureClass.TIMEOUT),
        Refused(45.0, "504 deadline_exceeded", None),
    )


def test_failures_are_told_at_once_or_with_the_backoff_of_a_lone_target() -> None:
    steps = timelines(a_route("ab"))["failing"].steps
    assert [type(step) for step in steps] == [Asked, Ended, Asked, Ended, Refused]
    assert steps[-1].at_s == 0.0

    _, _, wait, again, *_ = timelines(a_route("a"))["failing"].steps
    assert wait == Waited(0.0, RETRY.backoff_initial_s)
    assert again == Asked(0.25, 2, "a/m", Reason.RETRY, 45.0)


def test_given_health_changes_who_is_tried() -> None:
    route = a_route("abc")

    def order(given: str) -> list[str]:
        steps = timelines(route, given)["failing"].steps
        return [step.target[0] for step in steps if isinstance(step, Asked)]

    assert order("") == ["a", "b", "c"]
    assert order("a=open") == ["b", "c", "a"]
    assert order("a=disabled,b/m=throttled:200s") == ["c", "c"]
    assert order("a=full") == ["b", "c"]


def test_a_short_throttle_is_waited_for_with_the_longest_jitter() -> None:
    (wait, asked, *_) = timelines(a_route("a"), "a=throttled:4s")["silent"].steps

    assert isinstance(wait, Waited)
    assert wait.until_s == pytest.approx(6.0)
    assert asked.at_s == pytest.approx(6.0)


def test_a_wait_in_line_is_one_step() -> None:
    wait, refused = timelines(a_route("a"), "a=full")["silent"].steps

    assert isinstance(wait, Waited)
    assert wait.until_s == 2.0  # the queue's max_wait
    assert isinstance(refused, Refused)
    assert refused.client_gets == "503 unavailable"


def test_an_answer_that_is_held_whole_has_no_timeline_of_its_own() -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.COMPLETE))
    assert list(timelines(route)) == ["silent-whole", "failing"]


def test_the_fleet_at_work_is_not_touched() -> None:
    route = a_route("ab", is_overlap_on=True)
    fleet = a_fleet(route, "a=open", now=100.0)
    before = [explain(route, fleet, 100.0).timelines for _ in range(3)]

    assert before[0] == before[1] == before[2]
    health = fleet.health(route.targets[0], 100.0)
    assert health.breaker.state(100.0) is BreakerState.OPEN
    assert health.limiter.in_flight == 0
    assert not health.waiting
    assert not fleet.calls
    assert fleet.budgets(route).in_flight == 0


def test_times_count_from_the_request_whatever_the_clock_says() -> None:
    route = a_route("ab", is_overlap_on=True)
    early = explain(route, a_fleet(route, "b=open"), 0.0)
    late = explain(route, a_fleet(route, "b=open", 5000.0), 5000.0)

    assert early.timelines == late.timelines


@pytest.mark.parametrize("targets", ["a", "ab", "abc"])
def test_no_timeline_exceeds_the_stated_bounds(targets: str) -> None:
    limits = with_timeouts(first_token=Patience(1.0, 2.0, is_hard_written=True))
    route = a_route(targets, timeouts=limits)
    bounds = bounds_of(route)
    for name, timeline in timelines(route).items():
        most_s = bounds.answer_s if name == "silent-whole" else bounds.stream_s
        assert timeline.steps[-1].at_s <= most_s
        asked = [step for step in timeline.steps if isinstance(step, Asked)]
        assert len(asked) <= bounds.attempts


def test_the_text_tells_states_rules_and_steps() -> None:
    route = a_route("ab", chain="c", is_overlap_on=True, same_target=2)
    text = as_text(explain(route, a_fleet(route, "a=open:20s,b=full")))

    assert "1  a/m: broken: a last resort for 20s more (5 in a row: as given)" in text
    assert "2  b/m: full" in text
    assert "a prompt that is too long goes to c/m" in text
    assert "tried: up to 2 times more, after up to 0.25s" in text
    assert "the client gets" in text


def test_weights_are_told_where_a_tier_is_balanced() -> None:
    tier = (a_target("a", weight=3.0), a_target("b"))
    route = replace(a_route("ab"), tiers=(tier,))

    text = as_text(explain(route, Fleet()))

    assert "1  a/m (weight 3 in its tier): well" in text
    assert "1  b/m (weight 1 in its tier): well" in text


def test_programs_get_everything_as_json() -> None:
    route = a_route("ab", chain="c")
    told = json.loads(json.dumps(as_json(explain(route, a_fleet(route, "a=open:9s")))))

    first = told["targets"][0]
    assert (first["target"], first["state"], first["for_s"]) == ("a/m", "open", 9.0)
    assert told["context_length_fallback"] == ["c/m"]
    assert "timeout" in told["fallback_on"]
    (silent,) = [t for t in told["timelines"] if t["name"] == "silent"]
    assert silent["steps"][0] == {
        "step": "asked",
        "at_s": 0.0,
        "attempt": 1,
        "target": "b/m",
        "reason": "first",
        "until_s": 20.0,
    }


def test_the_drawing_has_each_target_once_and_every_way() -> None:
    route = a_route("ab", chain="c", is_overlap_on=True)
    drawn = as_mermaid(explain(route, Fleet())).splitlines()

    assert drawn[0] == "flowchart LR"
    assert drawn.count('  t0["a/m"]') == 1
    assert '  t0 -->|"silent: overlap 8s"| t1' in drawn
    assert '  t1 -.->|"context_length"| t2' in drawn


@pytest.mark.parametrize(
    ("text", "givens"),
    [
        ("", ()),
        ("a=open", (Given("a", Ill.OPEN),)),
        ("a/m=open:20s", (Given("a/m", Ill.OPEN, 20.0),)),
        (
            "a=throttled:500ms, b=full",
            (Given("a", Ill.THROTTLED, 0.5), Given("b", Ill.FULL)),
        ),
    ],
)
def test_what_is_given_is_read(text: str, givens: tuple[Given, ...]) -> None:
    assert parse_given(text) == givens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "is not NAME=STATE"),
        ("=open", "is not NAME=STATE"),
        ("a=opne", "Did you mean open?"),
        ("a=full:3s", "full takes no time"),
        ("a=open:5", "Write 5s"),
    ],
)
def test_what_cannot_be_given_is_said(text: str, said: str) -> None:
    with pytest.raises(GivenError, match=said.replace("?", r"\?")):
        parse_given(text)


def test_a_name_that_the_route_does_not_have_is_said_with_the_nearest() -> None:
    with pytest.raises(GivenError, match=r"no target 'azuer'. Did you mean azure\?"):
        a_fleet(a_route([a_target("azure")]), "azuer=open")


def test_disabled_is_an_operators_word() -> None:
    route = a_route("ab")
    fleet = a_fleet(route, "a=disabled")

    (a, _) = explain(route, fleet).targets
    assert a.standing.state is TargetState.DISABLED
    disablement = fleet.health(route.targets[0], 0.0).disablement
    assert disablement is not None
    assert disablement.reason is Disabled.OPERATOR


@pytest.mark.parametrize(
    ("same_target", "said"),
    [(None, "only one"), (0, "never"), (1, "once more,"), (2, "up to 2 times more")],
)
def test_retries_are_told_in_words(same_target: int | None, said: str) -> None:
    assert said in is_asked_again(a_route("ab", same_target=same_target))


def test_waiting_for_a_hint_is_told() -> None:
    rules = replace(RETRY, on_hint=OnHint.WAIT)
    assert "within 5s, it is waited for" in is_asked_again(a_route("ab", retry=rules))
