"""Names that were meant are found, and the search stays short among thousands."""

from difflib import get_close_matches

import pytest

from tests.failover.test_cost import calls_in
from trio_gateway.web.nearest import near_to

FEW = ("gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "claude", "llama-3.3-70b")
MANY = tuple(f"vendor-{n % 20}/model-{n}-instruct-v{n % 7}" for n in range(2_000))


@pytest.mark.parametrize("name", ["gpt-4o-mni", "GPT-4o", "lama", "claud", "", "x" * 9])
def test_among_few_it_is_pythons_own_search(name: str) -> None:
    assert near_to(name, FEW) == tuple(get_close_matches(name, FEW))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vendor-17/model-977-instruct-v", "vendor-17/model-977-instruct-v4"),
        ("vendor-17/modl-977-instruct-v4", "vendor-17/model-977-instruct-v4"),
        ("vendor17/model1977instruct-v3", "vendor-17/model-1977-instruct-v3"),
    ],
)
def test_among_many_the_one_that_was_meant_is_first(name: str, meant: str) -> None:
    assert near_to(name, MANY)[0] == meant


def test_a_search_among_many_takes_few_steps_and_the_same_one_none() -> None:
    name = "vendor-3/model-1977-instruct"
    assert calls_in(lambda: near_to(name, MANY)) < 20 * len(MANY)
    assert calls_in(lambda: near_to(name, MANY)) < 10
    assert calls_in(lambda: get_close_matches(name, MANY)) > 200 * len(MANY)
