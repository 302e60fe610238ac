"""When a worker that died is started again: pure."""

import pytest

from trio_gateway.serving.workers.restarts import (
    DEATHS_MAX,
    FIRST_DELAY_S,
    SLOW_DELAY_S,
    WINDOW_S,
    Restarts,
)


def delays(*died_at: float) -> list[float]:
    restarts = Restarts()
    return [restarts.died(at) for at in died_at]


def test_one_death_in_a_while_is_an_accident() -> None:
    assert delays(0, WINDOW_S, 2 * WINDOW_S) == [0, 0, 0]


def test_quick_deaths_are_waited_after_for_ever_longer_and_then_slowly() -> None:
    assert delays(0, 1, 2, 3, 4, 40, 100, 1000) == [
        *(0, FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S),
        *[SLOW_DELAY_S] * 4,
    ]


@pytest.mark.parametrize("lived_s", [0.0, 0.5, 2.0])
def test_a_crash_loop_is_bounded_however_quickly_they_die(lived_s: float) -> None:
    restarts, now, starts = Restarts(), 0.0, 0
    while now < 600:
        now += lived_s
        starts += 1
        now += restarts.died(now)
    assert starts <= DEATHS_MAX + 600 / SLOW_DELAY_S


def test_a_crash_loop_ends_when_a_worker_has_lived() -> None:
    restarts = Restarts()
    for at in range(DEATHS_MAX):
        restarts.died(at)
    assert restarts.is_looping
    restarts.lived()
    assert not restarts.is_looping
    assert restarts.died(100) == 0
