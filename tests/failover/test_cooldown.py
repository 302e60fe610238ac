from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.cooldown import (
    WAITERS_MAX,
    AuthVerdict,
    AuthWatch,
    Cooldown,
    Disabled,
    Disablement,
)


def hint(cooldown: Cooldown, now: float, d_s: float | None = None) -> float:
    """Throttle it; how long it is left alone then."""
    cooldown.hint(now, d_s, default_s=5.0, cap_s=300.0)
    return cooldown.left_s(now)


# Being told when


def test_nothing_rests_at_first() -> None:
    cooldown = Cooldown()

    assert not cooldown.is_active(0.0)
    assert cooldown.left_s(0.0) == 0.0


def test_a_hint_is_kept_to_the_instant() -> None:
    cooldown = Cooldown()
    hint(cooldown, 100.0, 3.0)

    assert cooldown.is_active(100.0)
    assert cooldown.is_active(102.9)
    assert cooldown.left_s(101.0) == 2.0
    assert not cooldown.is_active(103.0)
    assert cooldown.left_s(104.0) == 0.0


def test_a_shorter_hint_that_comes_later_does_not_shorten() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0, 30.0)
    hint(cooldown, 1.0, 2.0)

    assert cooldown.until == 30.0


def test_a_longer_hint_lengthens() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0, 3.0)
    hint(cooldown, 1.0, 20.0)

    assert cooldown.until == 21.0


def test_a_hint_above_the_cap_is_cut_to_it() -> None:
    assert hint(Cooldown(), 0.0, 86_400.0) == 300.0


@pytest.mark.parametrize("d_s", [None, nan, inf, -inf, -1.0])
def test_what_is_no_duration_counts_as_no_hint(d_s: float | None) -> None:
    assert hint(Cooldown(), 0.0, d_s) == 5.0


def test_a_hint_of_nothing_at_all_is_obeyed() -> None:
    assert hint(Cooldown(), 0.0, 0.0) == 0.0


def test_the_default_too_is_cut_to_the_cap() -> None:
    cooldown = Cooldown()
    cooldown.hint(0.0, None, default_s=5.0, cap_s=2.0)

    assert cooldown.until == 2.0


def test_without_a_hint_the_wait_doubles_up_to_a_minute() -> None:
    cooldown, now, waits = Cooldown(), 0.0, []
    for _ in range(2000):
        waits.append(hint(cooldown, now))
        now = cooldown.until + 1.0

    assert waits[:6] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert waits[-1] == 60.0


def test_many_throttles_of_one_moment_double_once() -> None:
    cooldown = Cooldown()
    for n in range(100):
        hint(cooldown, n / 1000)

    assert cooldown.until == pytest.approx(5.1, abs=0.01)
    assert hint(cooldown, 6.0) == 10.0


def test_the_doubling_is_forgotten_after_a_minute_of_success() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0)
    hint(cooldown, 6.0)
    cooldown.succeeded(20.0)
    cooldown.succeeded(79.0)

    assert hint(cooldown, 80.0) == 5.0


def test_less_than_a_minute_of_success_forgets_nothing() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0)
    cooldown.succeeded(20.0)

    assert hint(cooldown, 79.0) == 10.0


def test_success_counts_from_the_last_throttle() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0)
    cooldown.succeeded(20.0)
    hint(cooldown, 70.0, 1.0)
    cooldown.succeeded(75.0)

    assert hint(cooldown, 90.0) == 10.0


def test_silence_is_not_success() -> None:
    cooldown = Cooldown()
    hint(cooldown, 0.0)

    assert hint(cooldown, 1000.0) == 10.0


def test_a_clock_before_the_hint_ends_the_rest_and_the_next_is_not_longer() -> None:
    cooldown = Cooldown()
    hint(cooldown, 10_000.0, 30.0)

    assert not cooldown.is_active(100.0)
    assert hint(cooldown, 100.0, 5.0) == 5.0
    assert cooldown.until == 105.0


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 200.0),
            st.none() | st.floats(allow_nan=True, allow_infinity=True),
        ),
        min_size=1,
    )
)
def test_no_hint_shortens_raises_or_exceeds_the_cap(
    hints: list[tuple[float, float | None]],
) -> None:
    cooldown, now = Cooldown(), 0.0
    for after_s, d_s in hints:
        now += after_s
        before = cooldown.until
        left_s = hint(cooldown, now, d_s)
        assert cooldown.until >= before
        assert left_s <= 300.0 + 1e-9
        if d_s is not None and 0.0 <= d_s < inf:
            assert cooldown.until >= now + min(d_s, 300.0)


# Waiting in line


def test_a_bounded_number_waits_in_line() -> None:
    cooldown = Cooldown()
    assert [cooldown.join() for _ in range(WAITERS_MAX + 2)] == [True] * 32 + [
        False
    ] * 2

    cooldown.leave()

    assert cooldown.waiters == 31
    assert cooldown.join()
    assert not cooldown.join()


def test_waiters_resume_one_by_one_after_the_end_and_never_before() -> None:
    cooldown = Cooldown()
    hint(cooldown, 100.0, 4.0)

    assert cooldown.resume_at(100.0, 0.0) == 104.0
    assert cooldown.resume_at(100.0, 0.5) == 105.0
    assert cooldown.resume_at(102.0, 0.5) == 104.5
    assert cooldown.resume_at(104.0, 0.5) == 104.0
    assert cooldown.resume_at(110.0, 0.5) == 110.0


@given(st.floats(0.0, 1e6), st.floats(0.0, 300.0), st.floats(0.0, 0.999))
def test_no_rounding_resumes_during_the_rest(now: float, d_s: float, u: float) -> None:
    cooldown = Cooldown()
    hint(cooldown, now, d_s)
    at = cooldown.resume_at(now, u)

    assert not cooldown.is_active(at)
    assert at <= now + 1.5 * d_s + 1e-6


# Out of use


@pytest.mark.parametrize(
    ("reason", "for_s"),
    [(Disabled.AUTH, 600), (Disabled.QUOTA, 3600), (Disabled.MISCONFIGURED, 300)],
)
def test_a_disablement_ends_by_itself(reason: Disabled, for_s: float) -> None:
    disablement = Disablement.begin(reason, 50.0)

    assert disablement.until == 50.0 + for_s
    assert disablement.is_active(50.0)
    assert disablement.is_active(50.0 + for_s - 0.1)
    assert not disablement.is_active(50.0 + for_s)


@pytest.mark.parametrize("reason", [Disabled.OPERATOR, Disabled.DRAINED])
def test_what_an_operator_disabled_stays_so(reason: Disabled) -> None:
    disablement = Disablement.begin(reason, 50.0)

    assert disablement.until is None
    assert disablement.is_active(1e12)
    assert disablement.is_active(0.0)


def test_a_known_end_is_kept() -> None:
    disablement = Disablement.begin(Disabled.QUOTA, 0.0, until=7200.0)

    assert disablement.is_active(7199.0)
    assert not disablement.is_active(7200.0)


def test_a_clock_before_its_beginning_ends_a_timed_disablement() -> None:
    assert not Disablement.begin(Disabled.AUTH, 5000.0).is_active(10.0)


def test_the_longer_of_two_disablements_holds() -> None:
    auth = Disablement.begin(Disabled.AUTH, 0.0)
    quota = Disablement.begin(Disabled.QUOTA, 0.0)
    operator = Disablement.begin(Disabled.OPERATOR, 0.0)

    assert auth.or_later(None) is auth
    assert auth.or_later(quota) is quota
    assert quota.or_later(auth) is quota
    assert auth.or_later(operator) is operator
    assert operator.or_later(quota) is operator


# Dead keys, or none


def test_one_refused_key_of_two_is_dead() -> None:
    watch = AuthWatch(frozenset("ab"))
    watch.succeeded("a")

    assert watch.refused("a", 0.0) is AuthVerdict.DISABLE_KEY
    assert watch.refused("a", 1.0) is AuthVerdict.DISABLE_KEY


def test_two_keys_refused_within_a_minute_are_an_outage() -> None:
    watch = AuthWatch(frozenset("abc"))

    assert watch.refused("a", 0.0) is AuthVerdict.DISABLE_KEY
    assert watch.refused("b", 60.0) is AuthVerdict.OUTAGE


def test_two_keys_refused_further_apart_are_two_dead_keys() -> None:
    watch = AuthWatch(frozenset("ab"))
    watch.refused("a", 0.0)

    assert watch.refused("b", 60.1) is AuthVerdict.DISABLE_KEY


def test_the_only_key_that_worked_before_is_an_outage() -> None:
    watch = AuthWatch(frozenset("a"))
    watch.succeeded("a")

    assert watch.refused("a", 9999.0) is AuthVerdict.OUTAGE


def test_the_only_key_that_never_worked_is_dead() -> None:
    assert AuthWatch(frozenset("a")).refused("a", 0.0) is AuthVerdict.DISABLE_KEY


def test_a_key_that_works_again_no_longer_speaks_for_an_outage() -> None:
    watch = AuthWatch(frozenset("ab"))
    watch.refused("a", 0.0)
    watch.refused("b", 1.0)
    watch.succeeded("b")

    assert watch.refused("a", 2.0) is AuthVerdict.DISABLE_KEY


def test_a_refusal_from_before_the_clock_stepped_back_is_no_outage() -> None:
    watch = AuthWatch(frozenset("ab"))
    watch.refused("a", 1000.0)

    assert watch.refused("b", 10.0) is AuthVerdict.DISABLE_KEY
