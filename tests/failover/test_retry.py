"""The strategies by themselves; what the engine does with them is tested there."""

from dataclasses import replace
from random import Random

import pytest

from tests.factories import RETRY
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.retry import SameTarget
from trio_gateway.policy.route import Jitter, RetryRules

SICK = Failure(FailureClass.SERVER_ERROR, "500", 500)


def throttled(seconds: float | None) -> Failure:
    return Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=seconds)


def same_target(
    rules: RetryRules = RETRY, *, retries_max: int = 5, by: float = 45.0
) -> SameTarget:
    return SameTarget(
        rules=rules,
        retries_max=retries_max,
        precommit_by=by,
        useful_s=0.5,
        random=Random("dice"),
    )


def test_a_retry_never_comes_before_the_hint() -> None:
    for _ in range(50):
        wait_s = same_target().wait_s(throttled(3.0), tries=1, now=0.0)
        assert wait_s is not None
        assert 3.0 <= wait_s <= 4.5


def test_a_retry_that_leaves_no_useful_time_is_not_begun() -> None:
    rules = replace(RETRY, jitter=Jitter.NONE, backoff_initial_s=2.0)

    assert same_target(rules, by=12.5).wait_s(SICK, tries=1, now=10.0) == 2.0
    assert same_target(rules, by=12.4).wait_s(SICK, tries=1, now=10.0) is None


@pytest.mark.parametrize(
    ("tries", "most_s"), [(1, 0.25), (2, 0.5), (3, 1.0), (6, 8.0), (60, 8.0)]
)
def test_a_backoff_doubles_up_to_its_maximum(tries: int, most_s: float) -> None:
    rules = replace(RETRY, jitter=Jitter.NONE)
    strategy = same_target(rules, retries_max=100)

    assert strategy.wait_s(SICK, tries=tries, now=0.0) == most_s


def test_jitter_spreads_over_all_or_half_of_it() -> None:
    full = same_target(retries_max=10)
    equal = same_target(replace(RETRY, jitter=Jitter.EQUAL), retries_max=10)
    spread = [full.wait_s(SICK, tries=3, now=0.0) or 0.0 for _ in range(200)]
    upper = [equal.wait_s(SICK, tries=3, now=0.0) or 0.0 for _ in range(200)]

    assert min(spread) < 0.1 < 0.9 < max(spread) <= 1.0
    assert 0.5 <= min(upper) < 0.6 < 0.9 < max(upper) <= 1.0


def test_so_many_retries_and_no_more() -> None:
    strategy = same_target(retries_max=2)

    assert strategy.wait_s(SICK, tries=2, now=0.0) is not None
    assert strategy.wait_s(SICK, tries=3, now=0.0) is None
