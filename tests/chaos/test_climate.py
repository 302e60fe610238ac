from itertools import pairwise
from math import inf
from random import Random
from statistics import mean, median, pstdev

import pytest

from trio_gateway.chaos.vocabulary.climate import (
    WINDOWS_MAX,
    Bursts,
    Day,
    Flaps,
    Incident,
    Outages,
    When,
    Window,
)

DAY_S = 86_400.0


def draw(rhythm: Outages | Bursts, name: str = "dice") -> list[Window]:
    draws = rhythm.draws(Random(name))
    return [next(draws) for _ in range(20_000)]


def test_outages_come_in_clusters_and_last_log_normally() -> None:
    windows = draw(Outages(every_s=5.64 * DAY_S, lasts_s=74 * 60))
    gaps = [b[0] - a[1] for a, b in pairwise(windows)]
    lasts = [ends - begins for begins, ends in windows]

    assert mean(gaps) == pytest.approx(5.64 * DAY_S, rel=0.1)
    # Poisson's would be 1; those of OpenAI and Anthropic are 1.8 to 2.2.
    assert 1.8 < pstdev(gaps) / mean(gaps) < 2.6
    assert median(lasts) == pytest.approx(74 * 60, rel=0.05)
    assert all(gap > 0 for gap in gaps)


def test_bursts_have_no_memory() -> None:
    windows = draw(Bursts(every_s=10.0, lasts_s=2.0))
    gaps = [b[0] - a[1] for a, b in pairwise(windows)]
    assert mean(gaps) == pytest.approx(10.0, rel=0.05)
    assert pstdev(gaps) / mean(gaps) == pytest.approx(1.0, rel=0.1)
    assert mean(b - a for a, b in windows) == pytest.approx(2.0, rel=0.05)


def test_the_same_name_of_the_dice_gives_the_same_windows() -> None:
    when = When(rhythm=Outages(100.0, 10.0))
    assert when.drawn("7/a/0") == when.drawn("7/a/0")
    assert when.drawn("7/a/0") != when.drawn("7/b/0")


def test_a_rhythm_of_chance_reigns_exactly_in_its_windows() -> None:
    when = When(from_s=50.0, rhythm=Bursts(10.0, 2.0))
    assert not any(when.reigns(at) for at in range(1000))
    drawn = when.drawn("dice")
    for begins, ends in draw(Bursts(10.0, 2.0))[:100]:
        assert not drawn.reigns(50.0 + begins - 1e-6)
        assert drawn.reigns(50.0 + begins + 1e-6)
        assert drawn.reigns(50.0 + ends - 1e-6)
        assert not drawn.reigns(50.0 + ends + 1e-6)


def test_what_was_drawn_ends_some_day() -> None:
    drawn = When(rhythm=Bursts(1.0, 1.0)).drawn("dice")
    assert not any(drawn.reigns(WINDOWS_MAX * 4.0 + at) for at in range(100))


def test_an_incident_is_there_from_the_beginning_and_once() -> None:
    drawn = When(rhythm=Incident(60.0)).drawn("dice")
    reigning = [at for at in range(100_000) if drawn.reigns(at)]
    assert reigning == list(range(len(reigning)))
    assert 0 < len(reigning) < 100_000


def test_flaps_begin_with_on_and_keep_inside_their_window() -> None:
    when = When(from_s=5.0, until_s=30.0, rhythm=Flaps(on_s=4.0, off_s=6.0))
    reigning = [at for at in range(60) if when.reigns(at)]
    assert reigning == [5, 6, 7, 8, 15, 16, 17, 18, 25, 26, 27, 28]


@pytest.mark.parametrize("until_s", [1.0, 2.0, -inf])
def test_an_end_before_the_beginning_cannot_be(until_s: float) -> None:
    with pytest.raises(ValueError, match="not after from"):
        When(from_s=2.0, until_s=until_s)


def test_a_day_is_quiet_at_its_ends_and_busiest_at_noon() -> None:
    day = Day(peak=3.0, period_s=24.0)
    assert day.factor(0.0) == day.factor(24.0) == pytest.approx(1.0)
    assert day.factor(6.0) == pytest.approx(2.0)
    assert day.factor(12.0) == pytest.approx(3.0)
