"""What the engine does with what the fleet remembers."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.factories import RETRY, TIMEOUTS, a_route, a_target, with_timeouts
from trio_gateway.failover.breaker import BreakerState
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
from trio_gateway.failover.cooldown import Disabled, Disablement
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
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Hedge, Jitter, Patience, Queue, Route

SICK = Failure(FailureClass.SERVER_ERROR, "500", 500)
TOO_LONG = Failure(FailureClass.CONTEXT_LENGTH, "too long", 400)
REFUSED_KEY = Failure(FailureClass.AUTH, "401", 401)
DAY_S = 86400.0


def throttled(seconds: float | None) -> Failure:
    return Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=seconds)


@dataclass
class House:
    """One fleet and the exchanges that share it."""

    route: Route
    fleet: Fleet = field(default_factory=lambda: Fleet(Random("test")))
    number: int = 0

    def an_exchange(self, wish: Wish | None = None) -> Engine:
        self.number += 1
        return Engine(
            self.route,
            self.fleet,
            wish or Wish(is_stream=True),
            ticket=self.number,
            random_for=lambda actor: Random(f"{self.number}/{actor}"),
        )

    def fail(self, times: int, *, now: float, failure: Failure = SICK) -> None:
        """Exchanges until the first target failed so often; all else answers."""
        failed = 0
        while failed < times:
            engine = self.an_exchange()
            commands = engine.start(now)
            if dial_of(commands).target is self.route.targets[0]:
                failed += 1
                commands = engine.advance(AttemptFailed(1, failure), now)
            if any(isinstance(command, Dial) for command in commands):
                last = len(engine.attempts)
                engine.advance(Opened(last), now)
                engine.advance(AnswerEnded(last), now)

    def answer(self, times: int, *, now: float, takes_s: float = 0.1) -> None:
        for _ in range(times):
            engine = self.an_exchange()
            engine.start(now)
            engine.advance(Opened(1), now + takes_s)
            engine.advance(AnswerEnded(1), now + takes_s)


def dial_of(commands: tuple[Command, ...]) -> Dial:
    (dial,) = [command for command in commands if isinstance(command, Dial)]
    return dial


def refusal_of(commands: tuple[Command, ...]) -> Refuse:
    (refuse,) = [command for command in commands if isinstance(command, Refuse)]
    return refuse


def alarm_of(commands: tuple[Command, ...]) -> float:
    (wake,) = [command for command in commands if isinstance(command, WakeAt)]
    return wake.at


# Probes


def test_who_is_only_asked_after_others_is_probed_all_the_same() -> None:
    """Else one that has healed would stay out as long as those before it are well."""
    house = House(a_route("ab"))
    House(a_route("b", same_target=0), house.fleet).fail(20, now=0.0)
    b = house.route.targets[1]
    assert not house.fleet.health(b, 60.0).budget.is_open

    first, second = house.an_exchange(), house.an_exchange()
    first.start(60.0)
    second.start(60.0)
    dial = dial_of(first.advance(AttemptFailed(1, throttled(1.0)), 60.0))
    assert (dial.target.id, dial.reason) == ("b/m", Reason.PROBE)
    # One at a time: the budget still protects it from all the others.
    refuse = refusal_of(second.advance(AttemptFailed(1, throttled(1.0)), 60.0))
    assert refuse.kind is RefusalKind.RATE_LIMITED


# Haste

LATE = Failure(FailureClass.TIMEOUT, "first token late")
HASTY = Wish(is_stream=True, patience_s=1.0)


def fail_hastily(house: House, times: int, *, now: float, after_s: float) -> None:
    for _ in range(times):
        engine = house.an_exchange(HASTY)
        assert dial_of(engine.start(now)).target.id == "a/m"
        engine.advance(AttemptFailed(1, LATE), now + after_s)
        engine.advance(ClientLeft(), now + after_s)


def test_a_client_in_haste_is_no_evidence_against_a_target() -> None:
    """Else its short timeout would open breakers for everybody."""
    house = House(a_route("ab"))
    fail_hastily(house, 20, now=0.0, after_s=0.25)

    health = house.fleet.health(house.route.targets[0], 1.0)
    assert health.breaker.state(1.0) is BreakerState.CLOSED
    assert health.budget.tokens == 20.0


def test_who_is_later_than_nineteen_in_twenty_is_late_for_anybody() -> None:
    house = House(a_route("ab"))
    house.answer(60, now=0.0, takes_s=0.1)
    fail_hastily(house, 5, now=2.0, after_s=0.25)

    health = house.fleet.health(house.route.targets[0], 3.0)
    assert health.breaker.state(3.0) is BreakerState.OPEN


# Alarms


def test_what_was_due_for_an_attempt_is_not_due_for_the_one_after_a_wait() -> None:
    patient = replace(RETRY, backoff_initial_s=4.0, jitter=Jitter.NONE)
    hedge = Hedge(0.5, 0.01, 0.05)
    house = House(a_route("ab", same_target=1, hedge=hedge, retry=patient))
    house.answer(60, now=0.0)
    engine = house.an_exchange()
    assert alarm_of(engine.start(1.0)) == pytest.approx(1.1, abs=0.01)  # to hedge
    engine.advance(AttemptFailed(1, SICK), 1.05)
    commands = engine.advance(TimeCame(), 5.05)

    assert dial_of(commands).reason is Reason.RETRY
    assert alarm_of(commands) == 5.05 + 2.0  # its own soft limit


# Overlap


def test_past_its_soft_limit_a_target_gets_company_and_the_first_token_wins() -> None:
    engine = House(a_route("ab", is_overlap_on=True)).an_exchange()
    soft_at = alarm_of(engine.start(0.0))
    assert soft_at == TIMEOUTS.first_token.soft_s

    dial = dial_of(engine.advance(TimeCame(), soft_at))
    assert (dial.target.id, dial.reason) == ("b/m", Reason.OVERLAP)
    assert engine.advance(Opened(2), soft_at + 1.0) == (Drop(1), Commit(2))


def test_the_late_one_may_still_win() -> None:
    engine = House(a_route("ab", is_overlap_on=True)).an_exchange()
    engine.advance(TimeCame(), alarm_of(engine.start(0.0)))

    assert engine.advance(Opened(1), 9.0) == (Drop(2), Commit(1))


def test_without_overlap_a_late_target_is_waited_for() -> None:
    engine = House(a_route("ab")).an_exchange()

    assert engine.advance(TimeCame(), alarm_of(engine.start(0.0))) == ()


def test_a_duplicate_is_never_paid_for_beyond_the_policys_multiplier() -> None:
    route = a_route("ab", is_overlap_on=True, max_cost_multiplier=1.5)
    engine = House(route).an_exchange()

    assert engine.advance(TimeCame(), alarm_of(engine.start(0.0))) == ()


@pytest.mark.parametrize(
    "wish",
    [
        Wish(is_stream=True, request_bytes=4 * 32_001),
        Wish(is_stream=False, max_tokens=1_001),
        Wish(is_stream=False),
    ],
)
def test_long_prompts_and_long_answers_are_not_doubled(wish: Wish) -> None:
    engine = House(a_route("ab", is_overlap_on=True)).an_exchange(wish)

    assert engine.advance(TimeCame(), alarm_of(engine.start(0.0))) == ()


def test_a_third_attempt_needs_the_oldest_to_end() -> None:
    route = a_route("abc", is_overlap_on=True, max_cost_multiplier=3.0)
    engine = House(route).an_exchange()
    commands = engine.advance(TimeCame(), alarm_of(engine.start(0.0)))

    commands = engine.advance(TimeCame(), alarm_of(commands))

    assert Drop(1) in commands
    assert dial_of(commands).target.id == "c/m"


def test_a_first_token_past_the_soft_limit_counts_as_slow_even_unalarmed() -> None:
    house = House(a_route("ab"))
    engines = [house.an_exchange() for _ in range(10)]
    for engine in engines:
        engine.start(100.0)
    for engine in engines:
        engine.advance(Opened(1), 108.5)
        engine.advance(AnswerEnded(1), 108.5)

    assert dial_of(house.an_exchange().start(109.0)).target.id == "b/m"


# Breaker, probe, last resort


def test_a_target_that_keeps_failing_is_no_longer_asked_first() -> None:
    house = House(a_route("ab"))
    house.fail(5, now=100.0)

    assert dial_of(house.an_exchange().start(100.1)).target.id == "b/m"


def test_after_its_time_one_real_request_probes_it() -> None:
    house = House(a_route("ab"))
    house.fail(5, now=100.0)

    dials = [dial_of(house.an_exchange().start(106.0)) for _ in range(3)]

    assert [(dial.target.id, dial.reason) for dial in dials] == [
        ("a/m", Reason.PROBE),
        ("b/m", Reason.FIRST),
        ("b/m", Reason.FIRST),
    ]


def test_a_probe_whose_client_left_gives_its_slot_back() -> None:
    house = House(a_route("ab"))
    house.fail(5, now=100.0)
    probing = house.an_exchange()
    probing.start(106.0)
    probing.advance(ClientLeft(), 106.1)

    assert dial_of(house.an_exchange().start(106.2)).reason is Reason.PROBE


def test_with_every_target_open_one_is_tried_and_no_more() -> None:
    house = House(a_route("ab"))
    for target in house.route.targets:
        health = house.fleet.health(target, 100.0)
        for _ in range(5):
            health.breaker.failed(100.0, health.breaker.sent(), "scripted")

    engine = house.an_exchange()
    dial_of(engine.start(100.1))
    refuse = refusal_of(engine.advance(AttemptFailed(1, SICK), 100.2))

    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


def test_in_despair_few_are_tried_at_once_and_the_rest_is_told_when_to_come() -> None:
    house = House(a_route("a"))
    house.fail(5, now=100.0)

    starts = [house.an_exchange().start(100.1) for _ in range(8)]

    dials = [c for commands in starts for c in commands if isinstance(c, Dial)]
    assert len(dials) == 5
    refuse = refusal_of(starts[-1])
    assert refuse.kind is RefusalKind.UNAVAILABLE
    assert refuse.is_retry_welcome
    assert refuse.retry_after_s is not None
    assert 1 <= refuse.retry_after_s <= 7


def test_the_last_resort_is_the_one_that_will_be_probed_first() -> None:
    house = House(a_route("ab"))
    for target, until in zip(house.route.targets, (130.0, 120.0), strict=True):
        breaker = house.fleet.health(target, 100.0).breaker
        for _ in range(5):
            breaker.failed(100.0, breaker.sent(), "scripted")
        breaker.open_until = until

    assert dial_of(house.an_exchange().start(101.0)).target.id == "b/m"


def test_a_failover_is_not_sent_where_too_many_have_failed() -> None:
    house = House(a_route("ab"))
    standby = house.fleet.health(house.route.targets[1], 100.0)
    standby.budget.tokens = 10.0
    for _ in range(3):
        standby.breaker.failed(100.0, standby.breaker.sent(), "scripted")
    engine = house.an_exchange()
    engine.start(100.0)

    assert refusal_of(engine.advance(AttemptFailed(1, SICK), 100.1))


def test_a_first_attempt_that_was_not_processed_is_redialled_all_the_same() -> None:
    """The budget bounds further attempts, and this is still the first one."""
    house = House(a_route("a"))
    ill = house.fleet.health(house.route.targets[0], 100.0)
    ill.budget.tokens = 10.0
    for _ in range(3):
        ill.breaker.failed(100.0, ill.breaker.sent(), "scripted")
    engine = house.an_exchange()
    engine.start(100.0)
    died = Failure(FailureClass.NOT_PROCESSED, "reused connection was closed")

    dial = dial_of(engine.advance(AttemptFailed(1, died), 100.1))
    assert (dial.target.id, dial.reason) == ("a/m", Reason.REDIAL)


def test_throttles_move_no_breaker() -> None:
    house = House(a_route("ab"))
    now = 100.0
    for _ in range(10):
        house.fail(1, now=now, failure=throttled(0.5))
        now += 1.0

    assert dial_of(house.an_exchange().start(now)).target.id == "a/m"


def test_a_client_error_moves_no_breaker() -> None:
    house = House(a_route("ab"))
    wrong = Failure(FailureClass.CLIENT_ERROR, "400", 400)
    house.fail(20, now=100.0, failure=wrong)

    assert dial_of(house.an_exchange().start(100.1)).target.id == "a/m"


def test_departures_move_no_breaker() -> None:
    house = House(a_route("ab"))
    for _ in range(20):
        engine = house.an_exchange()
        engine.start(100.0)
        engine.advance(ClientLeft(), 100.5)

    assert dial_of(house.an_exchange().start(101.0)).target.id == "a/m"


def test_streams_that_break_after_their_first_token_count() -> None:
    house = House(a_route("ab"))
    broken = Failure(FailureClass.INTERRUPTED, "ended unfinished")
    for _ in range(5):
        engine = house.an_exchange()
        engine.start(100.0)
        engine.advance(Opened(1), 100.1)
        engine.advance(AnswerEnded(1, broken), 100.2)

    assert dial_of(house.an_exchange().start(100.3)).target.id == "b/m"


def test_waiting_clients_leave_a_target_that_has_opened() -> None:
    house = House(a_route("ab"))
    waiting = house.an_exchange()
    waiting.start(98.0)
    house.fail(5, now=104.0)
    assert 1 in house.fleet.calls

    move_at = alarm_of(waiting.advance(Called(), 104.0))
    assert 104.0 <= move_at <= 105.0
    commands = waiting.advance(TimeCame(), move_at)

    assert Drop(1) in commands
    assert (dial_of(commands).target.id, dial_of(commands).reason) == (
        "b/m",
        Reason.FAILOVER,
    )


# Throttles and disablements


def test_a_hint_keeps_the_target_alone_until_it_is_over() -> None:
    house = House(a_route("ab"))
    house.fail(1, now=100.0, failure=throttled(30.0))

    assert dial_of(house.an_exchange().start(129.9)).target.id == "b/m"
    assert dial_of(house.an_exchange().start(130.1)).target.id == "a/m"


def test_a_short_hint_is_waited_out_in_line_and_not_in_step() -> None:
    house = House(a_route("a"))
    house.fleet.health(house.route.targets[0], 100.0).cooldown.hint(
        100.0, 3.0, default_s=5.0, cap_s=300.0
    )

    alarms = {alarm_of(house.an_exchange().start(100.0)) for _ in range(20)}

    assert all(103.0 <= at <= 104.5 for at in alarms)
    assert len(alarms) == 20
    engine = house.an_exchange()
    at = alarm_of(engine.start(100.0))
    assert dial_of(engine.advance(TimeCame(), at)).reason is Reason.FIRST


def test_a_throttle_without_a_hint_is_waited_out_while_its_end_is_soon() -> None:
    house = House(a_route("a"))
    first, second = house.an_exchange(), house.an_exchange()

    first.start(100.0)
    at = alarm_of(first.advance(AttemptFailed(1, throttled(None)), 100.0))
    assert 105.0 <= at <= 107.5, "`retry_after.max_wait` is 5 s"

    second.start(110.0)
    refuse = refusal_of(second.advance(AttemptFailed(1, throttled(None)), 110.0))
    assert refuse.kind is RefusalKind.RATE_LIMITED, "twice as long the second time"


def test_the_line_before_a_throttled_target_has_an_end() -> None:
    house = House(a_route("a"))
    house.fleet.health(house.route.targets[0], 100.0).cooldown.hint(
        100.0, 3.0, default_s=5.0, cap_s=300.0
    )
    starts = [house.an_exchange().start(100.0) for _ in range(33)]

    assert refusal_of(starts[-1]).kind is RefusalKind.RATE_LIMITED


def test_every_target_throttled_is_told_before_any_attempt() -> None:
    house = House(a_route("ab"))
    for target, seconds in zip(house.route.targets, (40.0, 20.0), strict=True):
        house.fleet.health(target, 0.0).cooldown.hint(
            0.0, seconds, default_s=5.0, cap_s=300.0
        )

    refuse = refusal_of(house.an_exchange().start(0.0))

    assert refuse.kind is RefusalKind.RATE_LIMITED
    assert refuse.retry_after_s is not None
    assert 20 <= refuse.retry_after_s <= 24


def told(house: House, failure: Failure, *, now: float) -> tuple[float, bool]:
    """When a client may come back whose attempts all fail so, and if it is welcome."""
    engine = house.an_exchange()
    commands = engine.start(now)
    while not any(isinstance(command, Refuse) for command in commands):
        attempt = dial_of(commands).attempt
        commands = engine.advance(AttemptFailed(attempt, failure), now)
    refuse = refusal_of(commands)
    assert refuse.kind is RefusalKind.RATE_LIMITED
    assert refuse.retry_after_s is not None
    return refuse.retry_after_s, refuse.is_retry_welcome


def test_clients_are_told_as_long_a_rest_as_throttled_targets_get() -> None:
    """Told 5 s each time, they would come back in vain ever more often."""
    house, now = House(a_route("ab")), 100.0
    for rest_s in (5.0, 10.0, 20.0, 40.0, 60.0):
        after_s, is_welcome = told(house, throttled(None), now=now)
        assert rest_s <= after_s <= 1.2 * rest_s
        assert is_welcome
        now += rest_s


def test_clients_are_told_of_a_target_that_was_not_reached() -> None:
    house = House(a_route("abcd"))

    assert told(house, throttled(200.0), now=0.0) == (1.0, True), "`d` may be asked"


def test_clients_are_told_of_a_rest_that_an_earlier_hint_asked_for() -> None:
    house = House(a_route("a"))
    engine = house.an_exchange()
    engine.start(0.0)
    house.fleet.health(house.route.targets[0], 0.0).cooldown.hint(
        0.0, 50.0, default_s=5.0, cap_s=300.0
    )

    refuse = refusal_of(engine.advance(AttemptFailed(1, throttled(20.0)), 1.0))

    assert refuse.retry_after_s is not None
    assert 49.0 <= refuse.retry_after_s <= 60.0


@pytest.mark.parametrize("hint_s", [None, 1.0, 30 * DAY_S])
def test_clients_are_told_of_the_hour_that_an_empty_account_rests(
    hint_s: float | None,
) -> None:
    no_money = Failure(FailureClass.QUOTA, "429", 429, retry_after_s=hint_s)

    after_s, is_welcome = told(House(a_route("ab")), no_money, now=0.0)

    assert 3600.0 <= after_s <= 1.2 * 3600.0
    assert not is_welcome


def test_clients_do_not_come_back_at_once_to_targets_that_are_overloaded() -> None:
    busy = Failure(FailureClass.OVERLOADED, "429", 429)

    assert told(House(a_route("ab")), busy, now=0.0) == (2.0, True)


def test_what_is_out_of_use_is_not_waited_for_whatever_it_said_before() -> None:
    house = House(a_route("ab"))
    a, b = (house.fleet.health(target, 0.0) for target in house.route.targets)
    for health, seconds in ((a, 5.0), (b, 40.0)):
        health.cooldown.hint(0.0, seconds, default_s=5.0, cap_s=300.0)
    assert house.fleet.outlook(house.route, 0.0).soonest_s == 5.0

    a.disable(Disablement.begin(Disabled.OPERATOR, 0.0))
    assert house.fleet.outlook(house.route, 0.0).soonest_s == 40.0
    b.account.disablement = Disablement.begin(Disabled.QUOTA, 0.0)
    assert house.fleet.outlook(house.route, 0.0).soonest_s == 3600.0
    b.account.disablement = Disablement.begin(Disabled.AUTH, 0.0)
    assert house.fleet.outlook(house.route, 0.0).soonest_s == 600.0
    b.disable(Disablement.begin(Disabled.OPERATOR, 0.0))
    assert house.fleet.outlook(house.route, 0.0).soonest_s is None


def test_a_refused_credential_is_benched() -> None:
    house = House(a_route("ab"))
    house.fail(1, now=100.0, failure=REFUSED_KEY)

    assert dial_of(house.an_exchange().start(101.0)).target.id == "b/m"
    assert dial_of(house.an_exchange().start(701.0)).target.id == "a/m"


def test_clients_do_not_come_back_soon_to_a_model_that_is_out_of_use() -> None:
    house = House(a_route("a"))
    house.fail(1, now=100.0, failure=REFUSED_KEY)

    (refuse,) = house.an_exchange().start(101.0)

    assert isinstance(refuse, Refuse)
    assert refuse.kind is RefusalKind.UNAVAILABLE
    assert 599.0 <= (refuse.retry_after_s or 0.0) <= 1.2 * 600.0
    assert not refuse.is_retry_welcome


def test_a_credential_that_has_worked_is_not_taken_for_dead_at_once() -> None:
    house = House(a_route("ab"))
    house.answer(1, now=100.0)
    house.fail(1, now=101.0, failure=REFUSED_KEY)

    assert dial_of(house.an_exchange().start(102.0)).target.id == "a/m"


@pytest.mark.parametrize(
    ("hint_s", "cap_s", "out_s"),
    [
        (None, 300.0, 3600.0),
        (1.0, 300.0, 3600.0),
        (30 * DAY_S, 300.0, 3600.0),
        (30 * DAY_S, 4 * 3600.0, 4 * 3600.0),
        (2 * 3600.0, 4 * 3600.0, 2 * 3600.0),
    ],
)
def test_an_account_without_money_is_benched_for_an_hour_or_a_longer_hint(
    hint_s: float | None, cap_s: float, out_s: float
) -> None:
    """A stranger's number must not bench it for a month, nor for a second."""
    house = House(replace(a_route("ab"), retry=replace(RETRY, hint_cap_s=cap_s)))
    no_money = Failure(FailureClass.QUOTA, "429", 429, retry_after_s=hint_s)
    house.fail(1, now=100.0, failure=no_money)

    just_before, just_after = 100.0 + out_s - 1.0, 100.0 + out_s + 1.0
    assert dial_of(house.an_exchange().start(just_before)).target.id == "b/m"
    assert dial_of(house.an_exchange().start(just_after)).target.id == "a/m"


def test_what_an_operator_disabled_is_not_asked() -> None:
    house = House(a_route("ab"))
    health = house.fleet.health(house.route.targets[0], 0.0)
    health.disable(Disablement.begin(Disabled.OPERATOR, 0.0))

    assert dial_of(house.an_exchange().start(1e6)).target.id == "b/m"


# Concurrency


def limited(queue: Queue | None = None, *, targets: str = "a") -> House:
    all_targets = [a_target(name, max_concurrency=1) for name in targets]
    return House(a_route(all_targets, queue=queue))


def test_a_full_target_passes_the_request_on() -> None:
    house = limited(targets="ab")
    house.an_exchange().start(0.0)

    assert dial_of(house.an_exchange().start(0.0)).target.id == "b/m"


def test_where_all_are_full_one_waits_and_is_called_when_a_slot_is_free() -> None:
    house = limited()
    first, second = house.an_exchange(), house.an_exchange()
    first.start(0.0)
    second_starts = second.start(0.0)
    assert dials_in(second_starts) == 0

    first.advance(Opened(1), 0.5)
    first.advance(AnswerEnded(1), 1.0)
    assert list(house.fleet.calls) == [2]
    # The slot is kept: nobody who comes now takes it.
    assert dials_in(house.an_exchange().start(1.0)) == 0

    assert dial_of(second.advance(Called(), 1.0)).target.id == "a/m"


def test_a_well_but_full_target_is_waited_for_rather_than_a_broken_one_tried() -> None:
    house = limited(targets="ab")
    broken = house.fleet.health(house.route.targets[1], 0.0).breaker
    for _ in range(5):
        broken.failed(0.0, broken.sent(), "scripted")
    house.an_exchange().start(0.1)

    waiting = house.an_exchange()
    assert dials_in(waiting.start(0.1)) == 0


def test_one_who_leaves_the_line_passes_its_slot_on() -> None:
    house = limited()
    first, second, third = (house.an_exchange() for _ in range(3))
    for engine in (first, second, third):
        engine.start(0.0)
    first.advance(ClientLeft(), 0.1)
    second.advance(ClientLeft(), 0.1)

    assert list(house.fleet.calls) == [2, 3]
    assert dial_of(third.advance(Called(), 0.1)).target.id == "a/m"


def test_nobody_stands_in_line_while_another_attempt_may_still_answer() -> None:
    c = a_target("c", max_concurrency=1)
    house = House(replace(a_route("ab", is_overlap_on=True), context_chain=(c,)))
    House(a_route([c]), house.fleet, number=100).an_exchange().start(0.0)

    for ends in (Opened(1), AttemptFailed(1, SICK)):
        engine = house.an_exchange()
        engine.start(0.0)
        assert dial_of(engine.advance(TimeCame(), 8.0)).attempt == 2
        assert engine.advance(AttemptFailed(2, TOO_LONG), 8.1) == ()
        assert house.fleet.lines.length(c.id) == 0

        engine.advance(ends, 8.2)
        is_waiting = isinstance(ends, AttemptFailed)
        assert house.fleet.lines.length(c.id) == is_waiting


def test_who_waits_too_long_for_a_slot_is_told_to_come_back() -> None:
    house = limited(Queue(max=10, max_wait_s=2.0))
    house.an_exchange().start(0.0)
    waiting = house.an_exchange()
    commands = waiting.start(0.0)
    now = 0.0
    while not any(isinstance(command, Refuse) for command in commands):
        now = alarm_of(commands)
        commands = waiting.advance(TimeCame(), now)

    assert now <= 2.3
    assert refusal_of(commands).kind is RefusalKind.UNAVAILABLE
    assert refusal_of(commands).is_full


def test_who_is_cut_short_in_line_was_not_refused_for_its_length() -> None:
    house = limited()
    first, waiting = house.an_exchange(), house.an_exchange()
    first.start(0.0)
    waiting.start(0.0)

    refuse = refusal_of(waiting.advance(CutShort(), 0.1))
    assert refuse.kind is RefusalKind.UNAVAILABLE
    assert not refuse.is_full


def test_a_full_line_refuses_at_once() -> None:
    house = limited(Queue(max=1, max_wait_s=2.0))
    starts = [house.an_exchange().start(0.0) for _ in range(3)]

    refuse = refusal_of(starts[-1])
    assert refuse.kind is RefusalKind.UNAVAILABLE
    assert refuse.is_retry_welcome
    assert refuse.is_full


def test_with_no_place_in_line_nobody_waits() -> None:
    house = limited(Queue(max=0, max_wait_s=2.0), targets="ab")
    starts = [house.an_exchange().start(0.0) for _ in range(3)]

    assert [dial_of(each).target.id for each in starts[:2]] == ["a/m", "b/m"]
    assert refusal_of(starts[2]).kind is RefusalKind.UNAVAILABLE


def test_whether_a_prompt_fits_is_the_targets_word_whatever_the_policy_says() -> None:
    small = replace(a_target("a"), context_tokens=1)
    house = House(a_route([small], chain="b"))
    engine = house.an_exchange(Wish(is_stream=True, request_bytes=1_000_000))

    assert dial_of(engine.start(0.0)).target is small
    moved = engine.advance(AttemptFailed(1, TOO_LONG), 0.1)
    assert dial_of(moved).target.id == "b/m"


def dials_in(commands: tuple[Command, ...]) -> int:
    return sum(isinstance(command, Dial) for command in commands)


# Hedging, adapting, clients


def a_hedging_house(targets: str = "ab") -> House:
    hedge = Hedge(quantile=0.95, min_delay_s=0.25, max_extra=0.05)
    house = House(a_route(targets, hedge=hedge))
    house.answer(100, now=100.0, takes_s=0.4)
    return house


def test_a_hedge_starts_past_the_usual_time() -> None:
    engine = a_hedging_house().an_exchange()
    hedge_at = alarm_of(engine.start(102.0))
    assert hedge_at == pytest.approx(102.4, abs=0.05)

    dial = dial_of(engine.advance(TimeCame(), hedge_at))
    assert (dial.target.id, dial.reason) == ("b/m", Reason.HEDGE)


def test_nothing_is_hedged_while_a_target_is_unwell() -> None:
    house = a_hedging_house()
    health = house.fleet.health(house.route.targets[1], 102.0)
    health.cooldown.hint(102.0, 60.0, default_s=5.0, cap_s=300.0)
    engine = house.an_exchange()

    assert dials_in(engine.advance(TimeCame(), alarm_of(engine.start(102.0)))) == 0


@pytest.mark.parametrize("reason", [Disabled.QUOTA, Disabled.AUTH])
def test_nothing_is_hedged_while_a_targets_account_is_out_of_use(
    reason: Disabled,
) -> None:
    house = a_hedging_house("abc")
    account = house.fleet.account(house.route.targets[1].account)
    account.disablement = Disablement.begin(reason, 102.0)
    engine = house.an_exchange()

    assert dials_in(engine.advance(TimeCame(), alarm_of(engine.start(102.0)))) == 0


def test_the_soft_limit_follows_what_is_measured() -> None:
    house = House(a_route("ab", is_overlap_on=True))
    house.answer(100, now=100.0, takes_s=0.4)

    assert alarm_of(house.an_exchange().start(102.0)) == pytest.approx(104.0)


def test_a_written_soft_limit_is_a_ceiling() -> None:
    patience = Patience(soft_s=1.0, hard_s=20.0, is_soft_written=True)
    house = House(a_route("ab", timeouts=with_timeouts(first_token=patience)))
    house.answer(100, now=100.0, takes_s=5.0)

    assert alarm_of(house.an_exchange().start(110.0)) == pytest.approx(111.0)


def test_the_answer_comes_before_the_clients_own_library_gives_up() -> None:
    engine = House(a_route("a")).an_exchange(Wish(is_stream=True, patience_s=10.0))

    assert dial_of(engine.start(0.0)).commit_by == pytest.approx(8.0)


def test_weights_share_a_tier() -> None:
    targets = [a_target("a", weight=3.0), a_target("b", weight=1.0)]
    house = House(replace(a_route(targets), tiers=(tuple(targets),)))
    first = [0, 0]
    for i in range(2000):
        engine = house.an_exchange()
        dial = dial_of(engine.start(i * 0.1))
        first[dial.target.account.name == "b"] += 1
        engine.advance(Opened(1), i * 0.1 + 0.05)
        engine.advance(AnswerEnded(1), i * 0.1 + 0.06)

    assert 0.71 <= first[0] / 2000 <= 0.79
