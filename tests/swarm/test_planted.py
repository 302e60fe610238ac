"""The swarm finds bugs: each that was planted, by a seed that is known to find it.

How many seeds it needs from the first on is counted by `make planted`, which takes
minutes; here each bug costs a second.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count

import pytest

from tests.swarm.planted import BUGS, Bug, Hunt, hunt

PLANTED = [bug for bug in BUGS if bug.is_possible]


@pytest.fixture(scope="module")
def hunts() -> Iterator[Mapping[str, Future[Hunt]]]:
    """All of them under way, as many at once as there are cores."""
    with ThreadPoolExecutor(cpu_count()) as crew:
        yield {bug.name: crew.submit(hunt, bug, str(bug.found_by)) for bug in PLANTED}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, hunts: Mapping[str, Future[Hunt]]) -> None:
    if bug.name not in hunts:
        pytest.skip("the code has moved on: plant this bug anew")
    found = hunts[bug.name].result()
    again = f"which seed finds it now: python -m tests.swarm.planted {bug.name}"

    assert found.seed == bug.found_by, again
    assert "replay:" in found.said


def test_most_bugs_can_still_be_planted() -> None:
    assert len(PLANTED) >= 0.75 * len(BUGS)
    assert len(BUGS) >= 10
