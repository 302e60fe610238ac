"""A request's own numbers never shorten what a target gets; a client's haste does."""

from collections.abc import Mapping, Sequence

import pytest

from tests.factories import TIMEOUTS, a_route, with_timeouts
from trio_gateway.failover.deadlines import Deadlines, Wish
from trio_gateway.failover.quantile import AdaptivePatience, Quantiles
from trio_gateway.policy.route import Target


@pytest.mark.parametrize("max_tokens", [None, 0, -1, -(10**18)])
def test_no_number_of_tokens_takes_time_away(max_tokens: int | None) -> None:
    wish = Wish(is_stream=False, max_tokens=max_tokens)

    deadlines = Deadlines.of(a_route(), wish, commits_whole=True, now=0.0)

    assert deadlines.extra_s == 0.0


def test_a_number_of_tokens_beyond_all_floats_is_only_large() -> None:
    wish = Wish(is_stream=False, max_tokens=10**400)

    deadlines = Deadlines.of(a_route(), wish, commits_whole=True, now=0.0)

    assert deadlines.extra_s > a_route().timeouts.total_s


# Haste: a client that waits for two seconds is to be answered within one.

HASTY = Wish(is_stream=True, patience_s=2.0)
FAST = [0.1] * 90 + [0.4] * 10
MODERATE = [0.2] * 50 + [0.4] * 50
SLOW = [0.7] * 80 + [1.4] * 20
LATE = [9.0] * 100


def known_by(samples_s: Sequence[float]) -> AdaptivePatience:
    quantiles = Quantiles(0.0)
    for sample_s in samples_s:
        quantiles.observe(sample_s, 0.0)
    return AdaptivePatience(TIMEOUTS.first_token, quantiles, 0.0)


def share_of(
    first: Sequence[float], *others: Sequence[float], wish: Wish = HASTY
) -> float:
    """What the first of some targets gets, by what is known of each."""
    names = "abc"[: len(others) + 1]
    timeouts = with_timeouts(precommit_s=1.0 if wish.patience_s is None else 45.0)
    route = a_route(names, timeouts=timeouts)
    deadlines = Deadlines.of(route, wish, commits_whole=False, now=0.0)
    known: Mapping[str, AdaptivePatience] = {
        target.id: known_by(samples_s)
        for target, samples_s in zip(route.targets, (first, *others), strict=True)
    }

    def patience_of(target: Target) -> AdaptivePatience:
        return known[target.id]

    own, *later = route.targets
    return deadlines.commit_by(patience_of(own), later, patience_of, 0.0)


@pytest.mark.parametrize(
    ("known", "share_s"),
    [
        ((SLOW, SLOW, SLOW), 1.0),
        ((MODERATE, MODERATE, MODERATE), 0.5),
        ((FAST, FAST, FAST), 1 / 3),
        ((FAST, SLOW, SLOW), 1.0),
        ((SLOW, FAST, FAST), 1 / 3),
        ((SLOW, FAST), 0.5),
        ((SLOW, (), ()), 1.0),
        ((MODERATE, ()), 0.5),
        (((), (), ()), 1.0),
        ((LATE, LATE, LATE), 1.0),
    ],
    ids=[
        "all are slow: one gets everything",
        "two can answer within a half",
        "all can answer within a third",
        "for who is slow nothing is kept",
        "who is fast is worth waiting for",
        "and so if it is the only other one",
        "the unknown are as the first",
        "the unknown one is as the first",
        "nothing is known: one second is what one takes",
        "nobody will answer in time",
    ],
)
def test_the_time_of_a_client_in_haste_goes_to_as_many_as_can_use_it(
    known: tuple[Sequence[float], ...], share_s: float
) -> None:
    assert share_of(*known) == pytest.approx(share_s)


@pytest.mark.parametrize(("patience_s", "sharers"), [(2.0, 1), (4.0, 2), (5.0, 3)])
def test_where_nothing_is_known_nobody_gets_less_than_it_usually_takes(
    patience_s: float, sharers: int
) -> None:
    wish = Wish(is_stream=True, patience_s=patience_s)
    left_s = max(patience_s / 2, patience_s - 2.0)

    assert share_of((), (), (), wish=wish) == pytest.approx(left_s / sharers)


def test_where_a_policy_is_in_haste_every_target_keeps_its_share() -> None:
    patient = Wish(is_stream=True)
    assert share_of(SLOW, SLOW, SLOW, wish=patient) == pytest.approx(1 / 3)
