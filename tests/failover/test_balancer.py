from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.balancer import Candidate, PeakEwma, order, seed_s

# --- the estimate -----------------------------------------------------------------


def an_estimate(value_s: float, now: float = 0.0) -> PeakEwma:
    return PeakEwma(value_s, now)


def told(value_s: float) -> PeakEwma:
    """One that has answered, long ago or not."""
    estimate = an_estimate(value_s)
    estimate.observe(value_s, 0.0)
    return estimate


def test_an_unseen_target_starts_at_its_seed() -> None:
    assert an_estimate(3.0).value_s(0.0) == 3.0


def test_a_slower_sample_is_taken_at_once() -> None:
    estimate = an_estimate(1.0)
    estimate.observe(4.0, 0.1)

    assert estimate.value_s(0.1) == 4.0


def test_a_quicker_sample_counts_by_the_time_since_the_last() -> None:
    estimate = an_estimate(4.0)
    estimate.observe(1.0, 10.0)

    assert estimate.value_s(10.0) == pytest.approx(1.0 + 3.0 * exp(-1.0))


def test_quicker_samples_in_the_same_instant_change_nothing() -> None:
    estimate = an_estimate(4.0)
    for _ in range(100):
        estimate.observe(1.0, 0.0)

    assert estimate.value_s(0.0) == 4.0


def test_an_estimate_decays_while_there_is_no_news() -> None:
    estimate = an_estimate(4.0)

    assert estimate.value_s(10.0) == pytest.approx(4.0 * exp(-1.0))
    assert estimate.last_s == 4.0
    assert estimate.value_s(1e6) > 0.0


def test_a_failure_counts_as_a_slow_answer() -> None:
    estimate = an_estimate(0.5)
    estimate.failed(1.0)

    assert estimate.value_s(1.0) == 5.0
    assert estimate.value_s(11.0) == pytest.approx(5.0 * exp(-1.0))


def test_a_failure_does_not_make_a_slow_target_look_quicker() -> None:
    estimate = an_estimate(9.0)
    estimate.failed(0.0)

    assert estimate.value_s(0.0) == 9.0


@pytest.mark.parametrize(
    ("hint_s", "value_s"), [(2.0, 5.0), (60.0, 60.0), (86400.0, 300.0)]
)
def test_a_failure_with_a_hint_counts_as_long_as_the_hint(
    hint_s: float, value_s: float
) -> None:
    estimate = an_estimate(0.5)
    estimate.failed(0.0, retry_after_s=hint_s)

    assert estimate.value_s(0.0) == value_s


@pytest.mark.parametrize(
    ("others_s", "seed"),
    [([], 1.0), ([0.4], 0.4), ([9.0, 0.4, 0.6], 0.6), ([0.1, 0.2, 0.3, 0.4], 0.3)],
)
def test_an_unseen_target_is_taken_for_the_median_of_the_others(
    others_s: list[float], seed: float
) -> None:
    assert seed_s(map(told, others_s)) == seed


def test_whoever_was_never_asked_either_is_no_example_for_it() -> None:
    """Nor has it become quicker since it was looked at for the first time."""
    unseen = [an_estimate(1.0) for _ in range(20)]
    assert seed_s(unseen) == 1.0
    assert seed_s([told(0.5), *unseen]) == 0.5


@given(st.lists(st.tuples(st.floats(0.0, 600.0), st.floats(0.0, 100.0)), max_size=20))
def test_an_estimate_stays_within_what_it_was_told(
    news: list[tuple[float, float]],
) -> None:
    estimate, now = an_estimate(1.0), 0.0
    for sample_s, after_s in news:
        now += after_s
        estimate.observe(sample_s, now)
        assert sample_s <= max(estimate.value_s(now), 0.001) * (1 + 1e-9)
    slowest_s = max([1.0, *(sample_s for sample_s, _ in news)])
    assert 0.0 < estimate.value_s(now) <= slowest_s * (1 + 1e-9)


# --- the choice -------------------------------------------------------------------

GRID = 400  # draws each way, evenly spread: shares without luck


def shares(tier: Sequence[Candidate], *, now: float = 0.0) -> list[float]:
    """How much each gets, over every pair of draws."""
    wins = [0] * len(tier)
    for i in range(GRID):
        for j in range(0, GRID, 8):
            draw, second = (i + 0.5) / GRID, (j + 0.5) / GRID
            wins[order(tier, draw=draw, second_draw=second, now=now)[0]] += 1
    return [win / sum(wins) for win in wins]


def a_tier(*targets: tuple[float, float, float]) -> list[Candidate]:
    """Of (seconds, in flight, weight)."""
    return [Candidate(an_estimate(s), n, weight) for s, n, weight in targets]


UNITS = st.floats(0.0, 1.0, exclude_max=True)


@given(
    st.lists(
        st.tuples(st.floats(0.01, 100.0), st.integers(0, 50), st.floats(0.1, 100.0)),
        max_size=6,
    ),
    UNITS,
    UNITS,
)
def test_an_order_holds_the_whole_tier_and_all_but_the_first_by_cost(
    targets: list[tuple[float, float, float]], draw: float, second_draw: float
) -> None:
    ranked = order(a_tier(*targets), draw=draw, second_draw=second_draw, now=0.0)

    assert sorted(ranked) == list(range(len(targets)))
    mean = sum(w for _, _, w in targets) / max(1, len(targets))
    costs = [s * (1 + n * mean / w) for s, n, w in targets]
    rest = [costs[index] for index in ranked[1:]]
    assert rest == sorted(rest)


@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (300, 100), (1, 9), (5, 3, 1, 1)])
def test_equal_costs_are_shared_by_weight(weights: tuple[float, ...]) -> None:
    total = sum(weights)
    # In flight as the weights have it: nobody is ahead.
    for load in (0.0, 2.0):
        got = shares(a_tier(*((1.0, load * w, w) for w in weights)))
        assert got == pytest.approx([w / total for w in weights], abs=0.01)


def test_the_quicker_gets_more() -> None:
    _, quick = shares(a_tier((2.0, 0, 1), (1.0, 0, 1)))

    assert quick == pytest.approx(0.586, abs=0.01)  # its odds are the root of two


def test_the_less_loaded_gets_more() -> None:
    _, idle = shares(a_tier((1.0, 1, 1), (1.0, 0, 1)))

    assert idle == pytest.approx(0.586, abs=0.01)


def test_load_counts_by_weight() -> None:
    heavy, light = shares(a_tier((1.0, 3, 3), (1.0, 3, 1)))

    assert heavy > 0.8
    assert light > 0.25 / 2


@pytest.mark.parametrize("weights", [(1, 1), (1, 9), (9, 1), (1, 50)])
@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.parametrize("slower", [1.0, 1.5, 2.0, 3.0])
def test_up_to_three_times_slower_keeps_half_a_fair_share(
    weights: tuple[float, float], others: int, slower: float
) -> None:
    weight, other = weights
    tier = a_tier((slower, 0, weight), *[(1.0, 0, other)] * others)

    fair = weight / (weight + others * other)
    assert shares(tier)[0] >= 0.54 * fair


def test_eight_times_slower_gets_little_but_not_nothing() -> None:
    slow, _ = shares(a_tier((8.0, 0, 1), (1.0, 0, 1)))

    assert 0.01 < slow < 0.05


def test_no_target_is_so_slow_that_nobody_looks_at_it() -> None:
    slow, _ = shares(a_tier((300.0, 90, 1), (0.1, 0, 1)))

    assert slow == pytest.approx(0.005, abs=0.002)


def test_a_forgotten_estimate_counts_as_the_best_that_is_known() -> None:
    """Decayed to nothing it would draw everybody to the slowest."""
    tier = a_tier((8.0, 0, 1), (1.0, 0, 1))
    assert shares(tier)[0] < 0.05
    tier[1].estimate.observe(1.0, 100.0)

    assert shares(tier, now=100.0) == pytest.approx([0.5, 0.5], abs=0.01)


def test_a_target_that_fails_gains_nothing_by_being_idle() -> None:
    tier = a_tier((1.0, 0, 1), (1.0, 20, 1))
    tier[0].estimate.failed(0.0)
    assert shares(tier)[0] < 0.2
    tier[0].estimate.observe(1.0, 0.0)

    assert shares(tier)[0] > 0.5


def test_a_tier_of_one_needs_no_choice() -> None:
    assert order(a_tier((9.0, 9, 1)), draw=0.0, second_draw=0.0, now=0.0) == [0]
    assert order([], draw=0.0, second_draw=0.0, now=0.0) == []


# --- over time --------------------------------------------------------------------

Answer = Callable[[Random], float]


def around(median_s: float) -> Answer:
    return lambda random: median_s * random.lognormvariate(0.0, 0.4)


def drive(
    targets: Sequence[tuple[float, Answer]],
    *,
    rate: float,
    requests: int = 4000,
    failing: float = 0.0,
) -> list[int]:
    """Who was chosen for each request; `failing` is how often the first one fails."""
    random, now, numbers = Random(f"{rate}"), 0.0, count()
    estimates = [PeakEwma(1.0, now) for _ in targets]
    in_flight = [0] * len(targets)
    ends: list[tuple[float, int, int, float | None]] = []
    chosen: list[int] = []
    for _ in range(requests):
        now += random.expovariate(rate)
        while ends and ends[0][0] <= now:
            at, _, index, took_s = heappop(ends)
            in_flight[index] -= 1
            if took_s is None:
                estimates[index].failed(at)
            else:
                estimates[index].observe(took_s, at)
        tier = [
            Candidate(estimates[index], in_flight[index], weight)
            for index, (weight, _) in enumerate(targets)
        ]
        index = order(tier, draw=random.random(), second_draw=random.random(), now=now)[
            0
        ]
        chosen.append(index)
        in_flight[index] += 1
        takes_s = targets[index][1](random)
        if index == 0 and random.random() < failing:
            heappush(ends, (now + 0.1, next(numbers), index, None))
        else:
            heappush(ends, (now + takes_s, next(numbers), index, takes_s))
    return chosen


def share(chosen: Sequence[int], index: int) -> float:
    return chosen.count(index) / len(chosen)


def least_share(chosen: Sequence[int], index: int) -> float:
    """Of any thousand requests in a row."""
    within = sum(one == index for one in chosen[:1000])
    least = within
    for came, went in zip(chosen[1000:], chosen, strict=False):
        within += (came == index) - (went == index)
        least = min(least, within)
    return least / 1000


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0])
def test_weights_of_three_to_one_give_three_quarters(rate: float) -> None:
    chosen = drive([(3.0, lambda _: 1.0), (1.0, lambda _: 1.0)], rate=rate)

    assert share(chosen, 0) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0])
def test_a_target_eight_times_slower_gets_a_third_at_most(rate: float) -> None:
    chosen = drive([(1.0, around(8.0)), (1.0, around(1.0))], rate=rate)
    after_a_minute = chosen[round(60 * rate) :]

    assert 0.005 < share(after_a_minute, 0) < 0.35


@pytest.mark.parametrize("rate", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("slower", [1.0, 2.0, 2.9])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_nobody_starves_who_is_up_to_three_times_slower(
    rate: float, slower: float, weight: float
) -> None:
    targets = [(weight, lambda _: slower), (1.0, lambda _: 1.0)]
    chosen = drive(targets, rate=rate)

    assert least_share(chosen, 0) >= 0.5 * weight / (weight + 1.0)


@pytest.mark.parametrize("answer_s", [0.3, 1.0])
def test_a_target_that_fails_every_fourth_time_is_neither_ignored_nor_trusted(
    answer_s: float,
) -> None:
    targets = [(1.0, around(answer_s)), (1.0, around(answer_s))]
    chosen = drive(targets, rate=20.0, failing=0.25)

    assert 0.10 < share(chosen, 0) / 0.5 < 0.97


@pytest.mark.parametrize("answer_s", [0.3, 1.0])
def test_the_target_that_fails_fastest_is_not_the_favourite(answer_s: float) -> None:
    targets = [(1.0, around(answer_s)), (1.0, around(answer_s))]
    chosen = drive(targets, rate=20.0, failing=1.0)

    # A target that always fails is the breaker's business; here it must only not win.
    assert share(chosen, 0) < 0.45
