"""A target that is well says "too much" now and then, and is not held back for it."""

from random import Random

import pytest

from tests.factories import a_route
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import Health, Kind, Lease
from trio_gateway.failover.noise import Noise

STREAMS = Kind(commits_whole=False, prompt_bucket=0)
BUSY = Failure(FailureClass.OVERLOADED, "503", 503)
THROTTLED = Failure(FailureClass.RATE_LIMIT, "429", 429)
HINTED = Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=7.0)


class Site:
    """One target with a hundred requests under way; each that ends begins another."""

    def __init__(self) -> None:
        self.route = a_route("a")
        self.fleet = Fleet(Random("test"))
        self.leases = [self._begin() for _ in range(100)]

    @property
    def health(self) -> Health:
        return self.fleet.health(self.route.targets[0], 0.0)

    def answer(self, times: int) -> None:
        for _ in range(times):
            lease = self.leases.pop(0)
            self.fleet.opened(lease, 0.0)
            self._end(lease, None)

    def refuse(self, failure: Failure) -> None:
        self._end(self.leases.pop(0), failure)

    def is_held_back(self) -> bool:
        limit, rests_s = (
            self.health.limiter.limit(0.0),
            self.health.cooldown.left_s(0.0),
        )
        return limit is not None or rests_s > 0.0

    def _begin(self) -> Lease:
        (target,) = self.route.targets
        return self.fleet.dial(self.route, target, STREAMS, ticket=1, now=0.0)

    def _end(self, lease: Lease, failure: Failure | None) -> None:
        self.fleet.ended(self.route, lease, failure, 0.0)
        self.leases.append(self._begin())


@pytest.mark.parametrize("failure", [BUSY, THROTTLED])
def test_one_refusal_in_twenty_is_no_reason_to_hold_back(failure: Failure) -> None:
    site = Site()
    site.answer(100)
    for _ in range(200):
        site.refuse(failure)
        site.answer(19)

    assert not site.is_held_back()


def test_one_overload_in_four_is_no_reason_either() -> None:
    """In a brown-out, to hold back costs clients, and to fail over costs little."""
    site = Site()
    site.answer(100)
    for _ in range(200):
        site.refuse(BUSY)
        site.answer(3)

    assert not site.is_held_back()


@pytest.mark.parametrize(("failure", "answers"), [(BUSY, 1), (THROTTLED, 4)])
def test_more_of_them_are_believed(failure: Failure, answers: int) -> None:
    site = Site()
    site.answer(100)
    for _ in range(20):
        site.refuse(failure)
        site.answer(answers)

    assert site.is_held_back()


@pytest.mark.parametrize(("failure", "excused"), [(BUSY, 10), (THROTTLED, 5)])
def test_so_many_in_a_row_are_believed(failure: Failure, excused: int) -> None:
    site = Site()
    site.answer(1000)
    for _ in range(excused):
        site.refuse(failure)
    assert not site.is_held_back()
    site.refuse(failure)
    assert site.is_held_back()


@pytest.mark.parametrize("failure", [BUSY, THROTTLED])
def test_who_has_answered_nothing_yet_is_believed(failure: Failure) -> None:
    site = Site()
    site.refuse(failure)

    assert site.is_held_back()


def test_when_to_come_back_is_always_believed() -> None:
    site = Site()
    site.answer(1000)
    site.refuse(HINTED)

    assert site.health.cooldown.left_s(0.0) == 7.0


def test_excuses_are_earned_by_answers_and_some_may_be_saved() -> None:
    noise = Noise(answers_an_excuse=10, excuses_most=5)
    for _ in range(10):
        noise.answered()
    assert noise.excuses()
    assert not noise.excuses()
    for _ in range(1000):
        noise.answered()
    assert [noise.excuses() for _ in range(6)] == [True] * 5 + [False]
