import pytest

from tests.factories import a_route
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.spend import may_hedge, may_overlap

ROUTE = a_route("ab", is_overlap_on=True)


@pytest.mark.parametrize("max_tokens", [1, 256])
def test_a_short_whole_answer_may_be_doubled(max_tokens: int) -> None:
    wish = Wish(is_stream=False, max_tokens=max_tokens)
    assert may_overlap(ROUTE, wish, [None], commits_whole=True)
    assert may_hedge(ROUTE, wish, [None], commits_whole=True)


@pytest.mark.parametrize("max_tokens", [None, 0, -1, 1_001])
def test_a_limit_that_is_none_promises_no_short_answer(max_tokens: int | None) -> None:
    wish = Wish(is_stream=False, max_tokens=max_tokens)
    assert not may_overlap(ROUTE, wish, [None], commits_whole=True)
    assert not may_hedge(ROUTE, wish, [None], commits_whole=True)
