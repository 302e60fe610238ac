from dataclasses import replace
from random import Random

import pytest

from tests.factories import RETRY, a_route, a_target, with_timeouts
from trio_gateway.failover.attempts import MisuseError
from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    Reason,
    RefusalKind,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    ClientLeft,
    CutShort,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass, UpstreamError
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import FallbackOn, OnHint, Patience, Route

SICK = Failure(FailureClass.SERVER_ERROR, "500", 500)
LATE = Failure(FailureClass.TIMEOUT, "first token late")
TOO_LONG = Failure(FailureClass.CONTEXT_LENGTH, "too long", 400)


def throttled(seconds: float | None) -> Failure:
    return Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=seconds)


def an_engine(
    route: Route, *, is_stream: bool = True, fleet: Fleet | None = None
) -> Engine:
    wish = Wish(is_stream=is_stream)
    return Engine(route, fleet or Fleet(), wish, ticket="x", random_for=Random)


def dial_of(commands: tuple[Command, ...]) -> Dial:
    (dial,) = [command for command in commands if isinstance(command, Dial)]
    return dial


def refusal_of(commands: tuple[Command, ...]) -> Refuse:
    (refuse,) = commands
    assert isinstance(refuse, Refuse)
    return refuse


def test_the_first_target_is_tried_first_and_its_answer_wins() -> None:
    engine = an_engine(a_route("ab"))

    dial = dial_of(engine.start(0.0))
    assert (dial.target.id, dial.reason) == ("a/m", Reason.FIRST)
    assert engine.advance(Opened(1), 0.4) == (Commit(1),)
    assert engine.advance(AnswerEnded(1), 3.0) == ()
    assert engine.attempts.winner is engine.attempts[0]


def test_a_failure_moves_to_the_next_target_in_the_same_instant() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)

    dial = dial_of(engine.advance(AttemptFailed(1, SICK), 0.1))

    assert (dial.attempt, dial.target.id, dial.reason) == (2, "b/m", Reason.FAILOVER)


def test_when_every_target_failed_the_last_failure_is_told() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)
    engine.advance(AttemptFailed(1, LATE), 1.0)

    refuse = refusal_of(engine.advance(AttemptFailed(2, SICK), 2.0))

    assert refuse == Refuse(RefusalKind.UPSTREAM_FAILED, SICK)


def test_a_single_target_is_tried_once_more_after_a_backoff() -> None:
    engine = an_engine(a_route("a"))
    engine.start(0.0)

    (wake,) = engine.advance(AttemptFailed(1, SICK), 1.0)
    assert isinstance(wake, WakeAt)
    assert 1.0 <= wake.at <= 1.0 + RETRY.backoff_initial_s
    again = dial_of(engine.advance(TimeCame(), wake.at))
    assert (again.target.id, again.reason) == ("a/m", Reason.RETRY)

    refuse = refusal_of(engine.advance(AttemptFailed(2, SICK), 2.0))
    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


@pytest.mark.parametrize(
    "kind",
    [
        FailureClass.RESET,
        FailureClass.TIMEOUT,
        FailureClass.BAD_ANSWER,
        FailureClass.AUTH,
        FailureClass.QUOTA,
        FailureClass.NOT_FOUND,
    ],
)
def test_what_may_have_been_billed_or_cannot_pass_is_not_repeated(
    kind: FailureClass,
) -> None:
    engine = an_engine(a_route("a"))
    engine.start(0.0)

    refusal_of(engine.advance(AttemptFailed(1, Failure(kind, "scripted")), 0.1))


def test_retries_at_one_target_come_before_the_next_where_the_policy_says_so() -> None:
    engine = an_engine(a_route("ab", same_target=1))
    engine.start(0.0)
    (wake,) = engine.advance(AttemptFailed(1, SICK), 0.1)
    assert isinstance(wake, WakeAt)
    assert dial_of(engine.advance(TimeCame(), wake.at)).target.id == "a/m"

    assert dial_of(engine.advance(AttemptFailed(2, SICK), 1.0)).target.id == "b/m"


def test_a_connection_that_died_unused_is_redialled_once_and_not_counted() -> None:
    engine = an_engine(a_route("ab", attempts_max=1))
    engine.start(0.0)
    died = Failure(FailureClass.NOT_PROCESSED, "reused connection died")

    again = dial_of(engine.advance(AttemptFailed(1, died), 0.1))
    assert (again.target.id, again.reason) == ("a/m", Reason.REDIAL)

    refuse = refusal_of(engine.advance(AttemptFailed(2, died), 0.2))
    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


def test_a_clients_own_error_is_final_after_one_attempt() -> None:
    said = UpstreamError("no such parameter", code="unknown", param="temprature")
    wrong = Failure(FailureClass.CLIENT_ERROR, "400", 400, said=said)
    engine = an_engine(a_route("abc"))
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, wrong), 0.1))

    assert refuse == Refuse(RefusalKind.CLIENT_ERROR, wrong)


def test_a_clients_error_moves_on_where_an_operator_listed_its_status() -> None:
    listed = FallbackOn(frozenset(), statuses=frozenset({400}))
    engine = an_engine(a_route("ab", fallback_on=listed))
    engine.start(0.0)
    wrong = Failure(FailureClass.CLIENT_ERROR, "400", 400)

    assert dial_of(engine.advance(AttemptFailed(1, wrong), 0.1)).target.id == "b/m"
    refuse = refusal_of(engine.advance(AttemptFailed(2, wrong), 0.2))
    assert refuse.kind is RefusalKind.CLIENT_ERROR


def test_a_failure_that_is_not_listed_ends_the_exchange() -> None:
    listed = FallbackOn(frozenset({FailureClass.TIMEOUT}))
    engine = an_engine(a_route("ab", fallback_on=listed))
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, SICK), 0.1))

    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


def test_a_context_length_error_goes_to_its_chain_and_only_there() -> None:
    engine = an_engine(a_route("ab", chain="xy"))
    engine.start(0.0)

    assert dial_of(engine.advance(AttemptFailed(1, TOO_LONG), 0.1)).target.id == "x/m"
    assert dial_of(engine.advance(AttemptFailed(2, SICK), 0.2)).target.id == "y/m"
    refuse = refusal_of(engine.advance(AttemptFailed(3, TOO_LONG), 0.3))
    assert refuse.kind is RefusalKind.CLIENT_ERROR


def test_without_a_chain_a_context_length_error_is_the_clients() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, TOO_LONG), 0.1))

    assert refuse == Refuse(RefusalKind.CLIENT_ERROR, TOO_LONG)


def test_only_when_every_target_is_throttled_is_the_client_told_so() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)
    engine.advance(AttemptFailed(1, throttled(40.0)), 0.1)

    refuse = refusal_of(engine.advance(AttemptFailed(2, throttled(20.0)), 0.2))

    assert refuse.kind is RefusalKind.RATE_LIMITED
    assert refuse.retry_after_s is not None
    assert 20 <= refuse.retry_after_s <= 24
    assert refuse.is_retry_welcome


def test_a_long_throttle_does_not_invite_the_client_back() -> None:
    engine = an_engine(a_route("a"))
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, throttled(1e9)), 0.1))

    assert refuse.retry_after_s is not None
    assert 300 <= refuse.retry_after_s <= 360, "clipped to the cap"
    assert not refuse.is_retry_welcome


def test_a_short_hint_is_waited_out_where_nobody_else_is_left() -> None:
    engine = an_engine(a_route("a"))
    engine.start(0.0)

    (wake,) = engine.advance(AttemptFailed(1, throttled(2.0)), 1.0)

    assert isinstance(wake, WakeAt)
    assert 3.0 <= wake.at <= 4.0


def test_a_policy_may_prefer_waiting_to_moving_on() -> None:
    retry = replace(RETRY, on_hint=OnHint.WAIT)
    engine = an_engine(a_route("ab", retry=retry))
    engine.start(0.0)

    (wake,) = engine.advance(AttemptFailed(1, throttled(2.0)), 0.0)
    assert isinstance(wake, WakeAt)
    engine.advance(TimeCame(), wake.at)

    # A second throttle moves on: one wait is enough.
    dial = dial_of(engine.advance(AttemptFailed(2, throttled(2.0)), wake.at + 0.1))
    assert dial.target.id == "b/m"


def test_every_attempt_late_is_a_deadline_exceeded() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)
    engine.advance(AttemptFailed(1, LATE), 20.0)

    refuse = refusal_of(engine.advance(AttemptFailed(2, LATE), 45.0))

    assert refuse.kind is RefusalKind.DEADLINE_EXCEEDED


def test_no_attempt_starts_that_could_not_be_of_use() -> None:
    route = a_route("abc", timeouts=with_timeouts(precommit_s=10.0))
    engine = an_engine(route)
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, SICK), 9.8))

    assert refuse.kind is RefusalKind.DEADLINE_EXCEEDED


def test_a_client_that_leaves_ends_everything() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)

    assert engine.advance(ClientLeft(), 0.1) == ()
    assert engine.attempts[0].failure is not None
    assert engine.attempts[0].failure.kind is FailureClass.CANCELLED
    with pytest.raises(MisuseError):
        engine.advance(Opened(1), 0.2)


def test_an_ending_gateway_drops_what_runs_and_invites_the_client_back() -> None:
    engine = an_engine(a_route("ab"))
    engine.start(0.0)

    drop, refuse = engine.advance(CutShort(), 0.1)

    assert drop == Drop(1)
    assert isinstance(refuse, Refuse)
    assert refuse.kind is RefusalKind.UNAVAILABLE
    assert refuse.is_retry_welcome


def test_a_written_hard_limit_binds_the_last_target_too() -> None:
    patience = Patience(soft_s=0.3, hard_s=0.3, is_hard_written=True)
    engine = an_engine(a_route("ab", timeouts=with_timeouts(first_token=patience)))

    assert dial_of(engine.start(0.0)).commit_by == pytest.approx(0.3)
    dial = dial_of(engine.advance(AttemptFailed(1, LATE), 0.3))
    assert dial.commit_by == pytest.approx(0.6)


def test_the_last_target_may_use_what_is_left_where_no_limit_is_written() -> None:
    engine = an_engine(a_route("ab"))
    assert dial_of(engine.start(0.0)).commit_by == 20.0

    assert dial_of(engine.advance(AttemptFailed(1, LATE), 20.0)).commit_by == 45.0


def test_a_later_target_keeps_its_reserve() -> None:
    route = a_route("abc", timeouts=with_timeouts(precommit_s=30.0))
    engine = an_engine(route)

    assert dial_of(engine.start(0.0)).commit_by == 10.0
    assert dial_of(engine.advance(AttemptFailed(1, LATE), 10.0)).commit_by == 20.0
    assert dial_of(engine.advance(AttemptFailed(2, LATE), 20.0)).commit_by == 30.0


def test_too_little_time_is_shared_equally() -> None:
    route = a_route("abc", timeouts=with_timeouts(precommit_s=3.0))
    engine = an_engine(route)

    assert dial_of(engine.start(0.0)).commit_by == pytest.approx(1.0)


def test_an_answer_that_is_not_streamed_has_its_own_limits() -> None:
    engine = an_engine(a_route("ab"), is_stream=False)

    assert dial_of(engine.start(0.0)).commit_by == 120.0


def test_a_hint_longer_than_the_policy_would_wait_is_not_waited_out() -> None:
    engine = an_engine(a_route("a"))
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, throttled(6.0)), 0.1))

    assert refuse.kind is RefusalKind.RATE_LIMITED


def test_a_wait_that_leaves_no_time_for_an_attempt_is_not_begun() -> None:
    route = a_route("a", timeouts=with_timeouts(precommit_s=5.0))
    engine = an_engine(route)
    engine.start(0.0)

    refuse = refusal_of(engine.advance(AttemptFailed(1, throttled(2.0)), 2.6))

    assert refuse.kind is RefusalKind.RATE_LIMITED


def test_no_written_limit_reaches_past_the_deadline() -> None:
    patience = Patience(soft_s=50.0, hard_s=50.0, is_hard_written=True)
    engine = an_engine(a_route("a", timeouts=with_timeouts(first_token=patience)))

    assert dial_of(engine.start(0.0)).commit_by == 45.0


def test_an_overloaded_provider_is_its_failure_not_our_rate_limit() -> None:
    overloaded = Failure(FailureClass.OVERLOADED, "529", 529)
    engine = an_engine(a_route("ab"))
    engine.start(0.0)
    engine.advance(AttemptFailed(1, overloaded), 0.1)

    refuse = refusal_of(engine.advance(AttemptFailed(2, overloaded), 0.2))

    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


def test_whoever_waited_for_one_target_in_vain_fails_over_to_the_next() -> None:
    fleet, route = Fleet(), a_route("ab", same_target=1)
    engine, other = an_engine(route, fleet=fleet), an_engine(route, fleet=fleet)
    engine.start(0.0)
    (wake,) = engine.advance(AttemptFailed(1, SICK), 0.1)
    other.start(0.1)
    other.advance(AttemptFailed(1, throttled(40.0)), 0.1)

    assert isinstance(wake, WakeAt)
    dial = dial_of(engine.advance(TimeCame(), wake.at))

    assert (dial.target.id, dial.reason) == ("b/m", Reason.FAILOVER)


DIED = Failure(FailureClass.NOT_PROCESSED, "reused connection died")


def test_a_redial_waits_its_turn_where_its_slot_has_gone_to_another() -> None:
    fleet, route = Fleet(), a_route([a_target("a", max_concurrency=1)])
    engine = an_engine(route, fleet=fleet)
    other = Engine(
        route, fleet, Wish(is_stream=True), ticket="other", random_for=Random
    )
    engine.start(0.0)
    other.start(0.0)  # in line

    (wake,) = engine.advance(AttemptFailed(1, DIED), 0.1)

    assert isinstance(wake, WakeAt)
    assert dial_of(other.advance(Called(), 0.1)).target.id == "a/m"
    other.advance(Opened(1), 0.15)
    other.advance(AnswerEnded(1), 0.2)
    assert dial_of(engine.advance(Called(), 0.2)).reason is Reason.REDIAL


def test_no_redial_goes_to_a_target_that_has_asked_others_to_stay_away() -> None:
    fleet, route = Fleet(), a_route("ab")
    engine, other = an_engine(route, fleet=fleet), an_engine(route, fleet=fleet)
    engine.start(0.0)
    other.start(0.0)
    other.advance(AttemptFailed(1, throttled(40.0)), 0.1)

    dial = dial_of(engine.advance(AttemptFailed(1, DIED), 0.1))

    assert (dial.target.id, dial.reason) == ("b/m", Reason.FAILOVER)


def test_a_slot_is_not_used_if_it_came_with_a_word_to_stay_away() -> None:
    fleet = Fleet()
    route = a_route([a_target("a", max_concurrency=1)], same_target=0)
    engine = an_engine(route, fleet=fleet)
    other = Engine(
        route, fleet, Wish(is_stream=True), ticket="other", random_for=Random
    )
    engine.start(0.0)
    other.start(0.0)  # in line
    engine.advance(AttemptFailed(1, throttled(3.0)), 0.1)

    refuse = refusal_of(other.advance(Called(), 0.1))

    assert refuse.kind is RefusalKind.RATE_LIMITED
    assert fleet.health(route.targets[0], 0.1).limiter.in_flight == 0
