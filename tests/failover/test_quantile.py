from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.quantile import (
    PROMPT_BUCKETS,
    AdaptivePatience,
    Quantiles,
    prompt_bucket,
)
from trio_gateway.policy.route import Patience

STATIC = Patience(soft_s=8.0, hard_s=20.0)
WRITTEN = Patience(soft_s=8.0, hard_s=20.0, is_soft_written=True, is_hard_written=True)
REASONING = Patience(soft_s=30.0, hard_s=120.0)
TURN_S = 300.0


def filled(value_s: float, count: int = 50, now: float = 0.0) -> Quantiles:
    quantiles = Quantiles(now)
    for _ in range(count):
        quantiles.observe(value_s, now)
    return quantiles


def patience_of(
    p99_s: float, *, policy: Patience = STATIC, settled: bool = True
) -> tuple[AdaptivePatience, float]:
    """What a policy becomes where everything takes so long, and when it is that."""
    patience = AdaptivePatience(policy, filled(p99_s), 0.0)
    now = 0.0
    while settled and now < 299.0:
        now += 1.0
        patience.soft_s(now)
    return patience, now


# --- the histogram ----------------------------------------------------------------


@given(
    st.lists(st.floats(0.001, 900.0), min_size=50, max_size=200),
    st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_quantile_is_within_five_percent(values: list[float], q: float) -> None:
    quantiles = Quantiles(0.0)
    for value in values:
        quantiles.observe(value, 0.0)

    exact = sorted(values)[ceil(q * len(values)) - 1]
    assert quantiles.quantile(q, 0.0) == pytest.approx(exact, rel=0.05)


@given(
    st.lists(st.floats(0.001, 900.0), min_size=50, max_size=200),
    st.floats(0.001, 900.0),
)
def test_a_share_is_of_those_that_came_in_time_within_five_percent(
    values: list[float], limit: float
) -> None:
    quantiles = Quantiles(0.0)
    for value in values:
        quantiles.observe(value, 0.0)

    share = quantiles.share_within(limit, 0.0)
    assert share is not None
    surely, maybe = (
        sum(value <= bound for value in values) / len(values)
        for bound in (limit / 1.06, limit * 1.06)
    )
    assert surely <= share <= maybe


def test_of_few_samples_there_is_no_share() -> None:
    assert filled(1.0, count=49).share_within(60.0, 0.0) is None
    assert filled(1.0).share_within(60.0, 0.0) == 1.0


def test_named_quantiles_are_those_they_are_named_for() -> None:
    quantiles = Quantiles(0.0)
    for value_s, count in ((1.0, 940), (5.0, 40), (50.0, 20)):
        for _ in range(count):
            quantiles.observe(value_s, 0.0)

    assert quantiles.p50_s(0.0) == pytest.approx(1.0, rel=0.05)
    assert quantiles.p95_s(0.0) == pytest.approx(5.0, rel=0.05)
    assert quantiles.p99_s(0.0) == pytest.approx(50.0, rel=0.05)


def test_a_quantile_is_reached_by_at_least_its_share() -> None:
    quantiles = filled(1.0, count=25)
    for _ in range(26):
        quantiles.observe(4.0, 0.0)

    assert quantiles.p50_s(0.0) == pytest.approx(4.0, rel=0.05)


def test_fewer_than_fifty_samples_say_nothing() -> None:
    assert filled(1.0, count=49).quantile(0.5, 0.0) is None
    assert filled(1.0, count=50).quantile(0.5, 0.0) is not None


@pytest.mark.parametrize("value_s", [0.0, 1e-9, 0.001, 900.0, 86400.0])
def test_any_duration_finds_a_bucket(value_s: float) -> None:
    quantile_s = filled(value_s).quantile(0.5, 0.0)

    assert quantile_s == pytest.approx(min(max(value_s, 0.001), 900.0), rel=0.05)


@pytest.mark.parametrize("asked_at", [0.0, 150.0, 299.0, 301.0, 599.0])
def test_a_sample_is_remembered_for_five_minutes_at_least(asked_at: float) -> None:
    observed_at = max(0.0, asked_at - 299.0)
    quantiles = Quantiles(0.0)
    for _ in range(50):
        quantiles.observe(1.0, observed_at)

    assert quantiles.samples(asked_at) == 50


@pytest.mark.parametrize("observed_at", [0.0, 299.0, 301.0, 1e6])
def test_a_sample_is_forgotten_after_ten_minutes(observed_at: float) -> None:
    quantiles = Quantiles(0.0)
    quantiles.observe(1.0, observed_at)

    assert quantiles.samples(observed_at + 2 * TURN_S) == 0


def test_both_halves_are_read_together() -> None:
    quantiles = filled(1.0, count=30)
    for _ in range(70):
        quantiles.observe(4.0, 301.0)

    assert quantiles.samples(301.0) == 100
    assert quantiles.quantile(0.3, 301.0) == pytest.approx(1.0, rel=0.05)
    assert quantiles.quantile(0.31, 301.0) == pytest.approx(4.0, rel=0.05)


def test_a_sum_is_read_again_after_a_second_and_not_before() -> None:
    quantiles = filled(1.0)
    assert quantiles.samples(0.0) == 50
    quantiles.observe(1.0, 0.0)

    assert quantiles.samples(0.9) == 50
    assert quantiles.samples(1.0) == 51


def test_a_frozen_target_learns_nothing() -> None:
    quantiles = filled(1.0)
    quantiles.is_frozen = True
    quantiles.observe(100.0, 2.0)
    quantiles.censored(100.0, 2.0)
    assert quantiles.samples(2.0) == 50

    quantiles.is_frozen = False
    quantiles.observe(100.0, 3.0)
    assert quantiles.samples(3.0) == 51


def test_a_frozen_target_still_forgets() -> None:
    quantiles = filled(1.0)
    quantiles.is_frozen = True

    assert quantiles.samples(2 * TURN_S) == 0


def test_an_attempt_cut_off_counts_as_half_as_long_again() -> None:
    quantiles = Quantiles(0.0)
    for _ in range(50):
        quantiles.censored(4.0, 0.0)

    assert quantiles.quantile(0.5, 1.0) == pytest.approx(6.0, rel=0.05)


def test_an_attempt_cut_off_early_does_not_count_as_a_quick_one() -> None:
    quantiles = filled(4.0, count=60)
    for _ in range(40):
        quantiles.censored(0.1, 0.0)

    assert quantiles.samples(1.0) == 100
    assert quantiles.quantile(0.01, 1.0) == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize(
    ("tokens", "bucket"),
    [
        (0, "<1k"),
        (999, "<1k"),
        (1_000, "<8k"),
        (7_999, "<8k"),
        (8_000, "<32k"),
        (31_999, "<32k"),
        (32_000, ">=32k"),
        (10_000_000, ">=32k"),
    ],
)
def test_a_prompt_belongs_to_the_bucket_of_its_tokens(tokens: int, bucket: str) -> None:
    assert PROMPT_BUCKETS[prompt_bucket(4 * tokens)] == bucket
    assert PROMPT_BUCKETS[prompt_bucket(4 * tokens + 3)] == bucket


# --- the limits -------------------------------------------------------------------


@pytest.mark.parametrize("policy", [STATIC, WRITTEN, REASONING])
def test_the_policy_holds_while_there_are_few_samples(policy: Patience) -> None:
    patience = AdaptivePatience(policy, filled(0.5, count=49), 0.0)

    assert patience.soft_s(0.0) == policy.soft_s
    assert patience.hard_s(0.0) == policy.hard_s


@pytest.mark.parametrize(
    ("p99_s", "soft_s", "hard_s"),
    [
        (0.5, 2.0, 5.0),  # no less than two seconds, and five
        (2.4, 2.4, 5.0),
        (4.0, 4.0, 8.0),
        (15.0, 15.0, 30.0),
        (25.0, 20.0, 50.0),
        (100.0, 20.0, 60.0),  # no more than twenty seconds, and sixty
    ],
)
def test_limits_follow_the_p99_within_their_clamps(
    p99_s: float, soft_s: float, hard_s: float
) -> None:
    patience, now = patience_of(p99_s)

    assert patience.soft_s(now) == pytest.approx(soft_s, rel=0.05)
    assert patience.hard_s(now) == pytest.approx(hard_s, rel=0.05)


@pytest.mark.parametrize("p99_s", [9.0, 100.0])
def test_a_written_limit_is_a_ceiling(p99_s: float) -> None:
    patience, now = patience_of(p99_s, policy=WRITTEN)

    assert patience.soft_s(now) == 8.0
    assert patience.hard_s(now) == pytest.approx(min(2 * p99_s, 20.0), rel=0.05)


def test_a_written_limit_below_the_clamp_holds() -> None:
    short = Patience(0.3, 0.9, is_soft_written=True, is_hard_written=True)
    patience, now = patience_of(10.0, policy=short)

    assert (patience.soft_s(now), patience.hard_s(now)) == (0.3, 0.9)
    assert patience.reserve_s(now) == 0.9


def test_a_soft_limit_stays_below_a_written_hard_one() -> None:
    short = Patience(0.3, 0.9, is_hard_written=True)
    patience, now = patience_of(10.0, policy=short)

    assert patience.soft_s(now) == 0.9


def test_a_written_limit_adapts_downwards() -> None:
    patience, now = patience_of(3.0, policy=WRITTEN)

    assert patience.soft_s(now) == pytest.approx(3.0, rel=0.05)
    assert patience.hard_s(now) == pytest.approx(6.0, rel=0.05)


def test_a_reasoning_model_may_keep_the_patience_it_was_given() -> None:
    patience, now = patience_of(70.0, policy=REASONING)

    assert patience.soft_s(now) == 30.0
    assert patience.hard_s(now) == 120.0


def test_a_generous_written_limit_is_not_cut_to_the_clamp() -> None:
    generous = Patience(40.0, 90.0, is_soft_written=True, is_hard_written=True)
    patience, now = patience_of(35.0, policy=generous)

    assert patience.soft_s(now) == pytest.approx(35.0, rel=0.05)
    assert patience.hard_s(now) == pytest.approx(70.0, rel=0.05)


def test_a_limit_shrinks_at_once() -> None:
    patience = AdaptivePatience(STATIC, filled(2.5), 0.0)

    assert patience.soft_s(0.0) == pytest.approx(2.5, rel=0.05)
    assert patience.hard_s(0.0) == pytest.approx(5.0, rel=0.05)


def test_a_limit_grows_by_a_quarter_a_minute_at_most() -> None:
    quantiles = filled(1.0)
    patience = AdaptivePatience(STATIC, quantiles, 0.0)
    soft_s, hard_s = [patience.soft_s(0.0)], [patience.hard_s(0.0)]
    for second in range(1, 1201):
        quantiles.observe(50.0, float(second))
        soft_s.append(patience.soft_s(float(second)))
        hard_s.append(patience.hard_s(float(second)))

    for limit_s, least_s, most_s in ((soft_s, 2.0, 20.0), (hard_s, 5.0, 60.0)):
        assert limit_s[0] == least_s
        assert limit_s[-1] == most_s
        minutes = zip(limit_s, limit_s[60:], strict=False)
        growths = [after / before for before, after in minutes]
        assert max(growths) == pytest.approx(1.25)


def test_growth_starts_at_the_policy_value() -> None:
    patience = AdaptivePatience(STATIC, filled(100.0), 0.0)

    assert patience.soft_s(0.0) == STATIC.soft_s
    assert patience.soft_s(60.0) == pytest.approx(1.25 * STATIC.soft_s)
    assert patience.hard_s(60.0) == pytest.approx(1.25 * STATIC.hard_s)


def test_a_limit_nobody_asked_for_in_months_can_be_asked_for_again() -> None:
    quantiles = filled(1.0)
    patience = AdaptivePatience(STATIC, quantiles, 0.0)
    patience.soft_s(0.0)
    later = 1e7
    for _ in range(50):
        quantiles.observe(10.0, later)

    assert patience.soft_s(later) == pytest.approx(10.0, rel=0.05)


def test_limits_are_computed_once_a_second() -> None:
    patience = AdaptivePatience(STATIC, filled(100.0), 0.0)
    before_s = patience.soft_s(0.0)

    assert patience.soft_s(0.9) == before_s
    assert patience.soft_s(1.0) > before_s


@given(
    st.floats(0.01, 200.0),
    st.floats(0.1, 300.0),
    st.floats(0.1, 300.0),
    st.booleans(),
    st.booleans(),
)
def test_soft_never_exceeds_hard_nor_a_written_limit_its_ceiling(
    value_s: float, one_s: float, other_s: float, is_soft: bool, is_hard: bool
) -> None:
    soft_s, hard_s = sorted((one_s, other_s))
    policy = Patience(soft_s, hard_s, is_soft_written=is_soft, is_hard_written=is_hard)
    patience, now = patience_of(value_s, policy=policy, settled=False)

    assert patience.reserve_s(now) <= patience.hard_s(now)
    assert patience.soft_s(now) <= patience.hard_s(now)
    assert not is_soft or patience.soft_s(now) <= soft_s
    assert not is_hard or patience.hard_s(now) <= hard_s


@pytest.mark.parametrize(
    ("p95_s", "reserve_s"), [(0.5, 2.0), (2.0, 3.0), (6.0, 9.0), (30.0, 10.0)]
)
def test_a_reserve_is_a_typical_answer_and_a_half(
    p95_s: float, reserve_s: float
) -> None:
    patience, now = patience_of(p95_s)

    assert patience.reserve_s(now) == pytest.approx(reserve_s, rel=0.05)


@pytest.mark.parametrize(
    ("hard_s", "reserve_s"), [(1.0, 1.0), (3.0, 2.0), (12.0, 6.0), (60.0, 10.0)]
)
def test_an_unknown_target_gets_half_its_limit_as_reserve(
    hard_s: float, reserve_s: float
) -> None:
    patience = AdaptivePatience(Patience(hard_s / 2, hard_s), Quantiles(0.0), 0.0)

    assert patience.reserve_s(0.0) == reserve_s


def drive(
    patience: AdaptivePatience, quantiles: Quantiles, *, median_s: float
) -> float:
    """Twenty minutes of a target whose slow answers are cut; the share that was."""
    random = Random("spiral")
    cut = 0
    for tenth in range(12_000):
        now = tenth / 10
        takes_s = median_s * random.lognormvariate(0.0, 0.6)
        hard_s = patience.hard_s(now)
        if takes_s > hard_s:
            cut += tenth >= 6_000
            quantiles.censored(hard_s, now)
        else:
            quantiles.observe(takes_s, now)
    return cut / 6_000


def test_cutting_the_slow_ones_does_not_shrink_the_limit_that_cuts_them() -> None:
    quantiles = Quantiles(0.0)
    patience = AdaptivePatience(STATIC, quantiles, 0.0)

    assert drive(patience, quantiles, median_s=3.0) < 0.01


def test_a_limit_that_is_too_tight_widens() -> None:
    quantiles = filled(0.5, count=500)
    patience = AdaptivePatience(STATIC, quantiles, 0.0)
    assert patience.hard_s(0.0) == 5.0

    assert drive(patience, quantiles, median_s=9.0) < 0.02


def test_a_frozen_target_whose_limit_is_too_tight_gets_the_policy_back() -> None:
    quantiles = filled(0.5)
    patience = AdaptivePatience(STATIC, quantiles, 0.0)
    assert patience.hard_s(0.0) == 5.0
    quantiles.is_frozen = True

    assert patience.hard_s(2 * TURN_S) == STATIC.hard_s
