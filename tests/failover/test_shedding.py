from itertools import pairwise

import pytest

from trio_gateway.failover.shedding import LagShedder, retry_after_s


def watch(
    shedder: LagShedder, lag_s: float, *, start: float, seconds: float
) -> list[float]:
    """Note the same lag every 50 ms (and the lag); the share after each second."""
    now, shares, second = start, [], 1
    while now < start + seconds - 1e-6:
        now += 0.05 + lag_s
        shedder.note(lag_s, now)
        while now >= start + second - 1e-6:
            shares.append(round(shedder.share, 3))
            second += 1
    return shares


def test_a_loop_in_time_sheds_nothing() -> None:
    shedder = LagShedder(0.0)

    assert set(watch(shedder, 0.049, start=0.0, seconds=20.0)) == {0.0}
    assert not shedder.should_shed(0.0)


def test_a_loop_on_the_edge_sheds_nothing() -> None:
    assert set(watch(LagShedder(0.0), 0.1, start=0.0, seconds=20.0)) == {0.0}


def test_a_late_loop_sheds_a_fifth_more_each_second_up_to_four() -> None:
    shares = watch(LagShedder(0.0), 0.2, start=0.0, seconds=9.0)

    assert shares[0] == 0.0
    assert sorted(set(shares)) == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert shares == sorted(shares)
    assert shares[-1] == 0.8


def test_one_late_second_is_no_overload() -> None:
    shedder = LagShedder(0.0)
    for tick in range(1, 201):
        shedder.note(0.3 if tick == 30 else 0.0, tick * 0.05)
        assert shedder.share == 0.0


def test_one_wake_up_in_four_may_be_late() -> None:
    """A loop that is not given the CPU now and then catches up by itself."""

    def after(late: int) -> float:
        shedder = LagShedder(0.0)
        for tick in range(1, 61):
            shedder.note(0.3 if tick % 20 < late else 0.0, tick * 0.05)
        return shedder.share

    assert after(5) == 0.0
    assert after(6) > 0.0


def test_who_slept_through_a_whole_second_was_late_in_all_of_it() -> None:
    shedder = LagShedder(0.0)
    shedder.note(3.0, 3.05)

    assert shedder.share == 0.2


def overloaded_shedder() -> LagShedder:
    shedder = LagShedder(0.0)
    watch(shedder, 0.2, start=0.0, seconds=9.0)
    assert shedder.share == pytest.approx(0.8)
    return shedder


def test_five_calm_seconds_take_a_fifth_back() -> None:
    shares = watch(overloaded_shedder(), 0.0, start=10.0, seconds=25.0)

    changes = [i for i, share in enumerate(shares[1:], 1) if share != shares[i - 1]]
    assert len(changes) == 4
    for before, after in pairwise(changes):
        assert after - before in (5, 6)  # a window ends at the first note past it
    assert shares[3] == 0.8
    assert shares[-1] == 0.0


def test_neither_calm_nor_late_changes_nothing() -> None:
    shedder = overloaded_shedder()

    assert set(watch(shedder, 0.08, start=10.0, seconds=60.0)) == {0.8}


def test_unease_interrupts_the_calm() -> None:
    shedder, now = overloaded_shedder(), 10.0
    for _ in range(10):
        watch(shedder, 0.0, start=now, seconds=4.0)
        watch(shedder, 0.08, start=now + 4.0, seconds=1.2)
        now += 5.2

    assert shedder.share == pytest.approx(0.8)


def test_the_draw_decides_who_is_shed() -> None:
    shedder = overloaded_shedder()

    assert sum(shedder.should_shed(n / 100) for n in range(100)) in (80, 81)


def test_who_is_shed_comes_back_spread_and_later_the_more_are_shed() -> None:
    assert (retry_after_s(0.0), retry_after_s(0.5)) == (1.0, 2.0)
    assert retry_after_s(0.5, steps=overloaded_shedder().steps) == 10.0
