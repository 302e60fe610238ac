"""The swarm finds bugs: each that was planted, by a few seeds known to find it.

How many seeds it needs from the first on is counted by `make planted`, which takes
minutes; here each bug costs a second. The rare ones are left to it.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count

import pytest

from tests.swarm.planted import BUGS, Bug, Hunt, hunt

COMMON = [bug for bug in BUGS if bug.found_by is not None]
PLANTED = [bug for bug in COMMON if bug.is_possible]
# A change of the engine may change which of them is the first.
SEEDS = 10


@pytest.fixture(scope="module")
def hunts() -> Iterator[Mapping[str, Future[Hunt]]]:
    """All of them under way, as many at once as there are cores."""
    with ThreadPoolExecutor(cpu_count()) as crew:
        yield {bug.name: crew.submit(hunt, bug, seeds_for(bug)) for bug in PLANTED}


def seeds_for(bug: Bug) -> str:
    assert bug.found_by is not None
    return f"{bug.found_by}:{bug.found_by + SEEDS}"


@pytest.mark.parametrize("bug", COMMON, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, hunts: Mapping[str, Future[Hunt]]) -> None:
    if bug.name not in hunts:
        pytest.skip("the code has moved on: plant this bug anew")
    found = hunts[bug.name].result()
    again = f"which seed finds it now: python -m tests.swarm.planted {bug.name}"

    assert found.seed is not None, again
    assert "replay:" in found.said


def test_most_bugs_can_still_be_planted() -> None:
    assert len(PLANTED) >= 0.75 * len(COMMON)
    assert len(COMMON) >= 20
