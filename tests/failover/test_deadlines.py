"""A request's own numbers never shorten what a target gets."""

import pytest

from tests.factories import a_route
from trio_gateway.failover.deadlines import Deadlines, Wish


@pytest.mark.parametrize("max_tokens", [None, 0, -1, -(10**18)])
def test_no_number_of_tokens_takes_time_away(max_tokens: int | None) -> None:
    wish = Wish(is_stream=False, max_tokens=max_tokens)

    deadlines = Deadlines.of(a_route(), wish, commits_whole=True, now=0.0)

    assert deadlines.extra_s == 0.0
