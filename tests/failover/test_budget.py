from collections.abc import Callable
from random import Random

import pytest

from trio_gateway.failover.budget import (
    BURST,
    EXTRA_RATIO,
    EXTRA_RESERVE_PER_S,
    PANIC_MIN,
    RETRY_RATIO,
    RETRY_RESERVE_PER_S,
    TOKENS_MAX,
    DestinationBudget,
    PanicBudget,
    RatioBudget,
)

# One target's failovers


def test_a_destination_begins_full_and_open() -> None:
    budget = DestinationBudget()

    assert budget.tokens == TOKENS_MAX == 20
    assert budget.is_open


def test_ten_overload_failures_close_a_destination_and_a_success_opens_it() -> None:
    budget = DestinationBudget()
    for _ in range(9):
        budget.failed(is_overload=True)
    assert budget.is_open

    budget.failed(is_overload=True)
    assert not budget.is_open

    budget.succeeded()
    assert budget.is_open


def test_other_failures_cost_half() -> None:
    budget = DestinationBudget()
    for _ in range(19):
        budget.failed(is_overload=False)
    assert budget.is_open

    budget.failed(is_overload=False)
    assert not budget.is_open


def test_tokens_stay_between_none_and_full() -> None:
    budget = DestinationBudget()
    budget.succeeded()
    assert budget.tokens == TOKENS_MAX

    for _ in range(100):
        budget.failed(is_overload=True)
    assert budget.tokens == 0


def test_a_ramping_target_begins_with_a_full_budget() -> None:
    budget = DestinationBudget()
    for _ in range(100):
        budget.failed(is_overload=True)

    budget.refill()

    assert budget.tokens == TOKENS_MAX


@pytest.mark.parametrize(("failing", "of", "is_open"), [(3, 10, True), (2, 5, False)])
def test_overload_closes_a_destination_above_a_third(
    *, failing: int, of: int, is_open: bool
) -> None:
    budget = DestinationBudget()
    for _ in range(200):
        for n in range(of):
            if n < failing:
                budget.failed(is_overload=True)
            else:
                budget.succeeded()

    assert budget.is_open is is_open


# Extra attempts of one slug


def a_drained(budget: RatioBudget, now: float) -> RatioBudget:
    while budget.try_withdraw(now):
        pass
    return budget


def extras() -> RatioBudget:
    return RatioBudget(EXTRA_RATIO, reserve_per_s=EXTRA_RESERVE_PER_S)


def retries() -> RatioBudget:
    return RatioBudget(RETRY_RATIO, reserve_per_s=RETRY_RESERVE_PER_S)


@pytest.mark.parametrize(("kind", "price"), [(extras, 20), (retries, 10)])
def test_so_many_requests_pay_for_one_extra_attempt(
    kind: Callable[[], RatioBudget], price: int
) -> None:
    budget = a_drained(kind(), 0.0)
    granted = []
    for _ in range(5 * price):
        budget.deposit(0.0)
        granted.append(budget.try_withdraw(0.0))

    assert granted == ([False] * (price - 1) + [True]) * 5


def test_a_slug_without_traffic_may_have_a_burst_and_then_no_more() -> None:
    budget = extras()

    assert sum(budget.try_withdraw(float(n)) for n in range(1000)) == BURST == 50


def test_no_more_than_a_burst_can_be_saved() -> None:
    for budget in (extras(), retries()):
        for _ in range(10_000):
            budget.deposit(0.0)
        assert budget.left(0.0) == BURST
        assert budget.left(3600.0) == BURST


def test_the_reserve_grants_a_retry_a_second_and_no_hedge() -> None:
    retry, extra = a_drained(retries(), 0.0), a_drained(extras(), 0.0)

    assert not retry.try_withdraw(0.9)
    assert retry.left(1.0) == 1.0
    assert retry.try_withdraw(1.0)
    assert not retry.try_withdraw(1.5)
    assert not extra.try_withdraw(3600.0)


def test_a_dearer_attempt_takes_its_cost_or_nothing() -> None:
    budget = extras()
    assert budget.try_withdraw(0.0, BURST - 1)

    assert not budget.try_withdraw(0.0, 1.5)
    assert budget.left(0.0) == 1.0
    assert budget.try_withdraw(0.0, 1.0)


def test_a_clock_that_steps_back_earns_nothing() -> None:
    budget = a_drained(retries(), 1000.0)

    assert not budget.try_withdraw(10.0)
    assert not budget.try_withdraw(10.5)
    assert budget.try_withdraw(11.0)


@pytest.mark.parametrize("seed", range(5))
def test_extra_attempts_of_any_minute_are_a_twentieth_of_its_requests_and_a_burst(
    seed: int,
) -> None:
    random = Random(f"budget/{seed}")
    budget, now = extras(), 0.0
    requests: list[float] = []
    granted: list[float] = []
    for _ in range(6000):
        now += random.expovariate(random.choice([0.5, 50.0]))
        requests.append(now)
        budget.deposit(now)
        if budget.try_withdraw(now):
            granted.append(now)

    for begin in granted[::20]:
        n = sum(begin <= at < begin + 60 for at in requests)
        extra = sum(begin <= at < begin + 60 for at in granted)
        assert extra <= EXTRA_RATIO * n + BURST
    assert len(granted) == pytest.approx(EXTRA_RATIO * len(requests) + BURST, abs=1)


# Attempts though nothing works


def try_in_panic(budget: PanicBudget, now: float) -> bool:
    """Begin one if there is room."""
    has_room = budget.has_room(now)
    if has_room:
        budget.enter()
    return has_room


def test_a_small_service_may_try_five_at_once_in_panic() -> None:
    budget = PanicBudget()
    budget.note_in_flight(10, 0.0)

    tries = [try_in_panic(budget, 0.0) for _ in range(7)]
    assert tries == [True] * PANIC_MIN + [False] * 2


def test_a_big_service_may_try_a_tenth_of_its_peak() -> None:
    budget = PanicBudget()
    budget.note_in_flight(800, 0.0)
    budget.note_in_flight(30, 1.0)

    assert sum(try_in_panic(budget, 2.0) for _ in range(1000)) == 80


def test_who_leaves_makes_room_in_panic() -> None:
    budget = PanicBudget()
    for _ in range(PANIC_MIN):
        assert try_in_panic(budget, 0.0)

    budget.leave()

    assert try_in_panic(budget, 0.0)
    assert not try_in_panic(budget, 0.0)


def test_a_peak_is_remembered_for_five_minutes_and_forgotten_after_ten() -> None:
    for peak_at in range(0, 900, 7):
        budget = PanicBudget()
        budget.note_in_flight(1000, float(peak_at))
        for after_s in range(0, 301, 50):
            budget.note_in_flight(1, float(peak_at + after_s))
            assert budget.limit(float(peak_at + after_s)) == 100
        budget.note_in_flight(1, float(peak_at + 450))
        assert budget.limit(float(peak_at + 600)) == PANIC_MIN


def test_a_peak_before_a_long_silence_is_forgotten() -> None:
    budget = PanicBudget()
    budget.note_in_flight(1000, 0.0)

    assert budget.limit(700.0) == PANIC_MIN


def test_a_peak_after_a_long_silence_counts() -> None:
    budget = PanicBudget()
    budget.note_in_flight(10, 0.0)
    budget.note_in_flight(1000, 700.0)

    assert budget.limit(700.0) == 100


def test_a_clock_that_steps_back_forgets_the_peak_and_keeps_who_is_live() -> None:
    budget = PanicBudget()
    budget.note_in_flight(1000, 5000.0)
    assert try_in_panic(budget, 5000.0)

    assert budget.limit(100.0) == PANIC_MIN
    assert budget.live == 1
