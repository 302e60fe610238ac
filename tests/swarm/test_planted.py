"""The swarm finds bugs: each that was planted, by a few seeds known to find it.

How many seeds it needs from the first on is counted by `make planted`, which takes
minutes; here each bug costs a second. The rare ones are left to it.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

import pytest

from tests.swarm.planted import BUGS, HOUSE, Bug, Change, Hunt, hunt

COMMON = [bug for bug in BUGS if bug.found_by is not None]
RARE = [bug for bug in BUGS if bug.found_by is None]
# A change of the engine may change which of them is the first.
SEEDS = 10


@pytest.fixture(scope="module")
def hunts() -> Iterator[Mapping[str, Future[Hunt]]]:
    """All of them under way, as many at once as there are cores."""
    with ThreadPoolExecutor(cpu_count()) as crew:
        yield {bug.name: crew.submit(hunt, bug, seeds_for(bug)) for bug in COMMON}


def seeds_for(bug: Bug) -> str:
    assert bug.found_by is not None
    return f"{bug.found_by}:{bug.found_by + SEEDS}"


@pytest.mark.parametrize("bug", COMMON, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, hunts: Mapping[str, Future[Hunt]]) -> None:
    found = hunts[bug.name].result()
    again = f"which seed finds it now: python -m tests.swarm.planted {bug.name}"

    assert found.seed is not None, again
    assert "replay:" in found.said


@pytest.mark.parametrize("bug", RARE, ids=lambda bug: bug.name)
def test_a_rare_one_can_still_be_planted(bug: Bug, tmp_path: Path) -> None:
    shutil.copytree(HOUSE / "trio_gateway", tmp_path / "trio_gateway")
    for change in bug.changes:
        change.make(tmp_path)


@pytest.mark.parametrize("text", ["words of today", "twice, twice"])
def test_a_bug_that_the_code_has_left_behind_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "trio_gateway" / "engine.py"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(AssertionError, match=r"plant this bug anew: engine\.py"):
        Change("engine.py", "twice", "").make(tmp_path)
    with pytest.raises(AssertionError, match=r"plant this bug anew: gone\.py"):
        Change("gone.py", "twice", "").make(tmp_path)


def test_the_readme_tells_of_each_as_it_is_found() -> None:
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    _, _, table = text.partition("<!-- planted: begin -->")
    rows = re.findall(r"^\| ([^|]+) \| ([0-9]+) \|", table, re.MULTILINE)

    assert [what for what, _ in rows] == [bug.what for bug in BUGS]
    for bug, (_, seeds) in zip(BUGS, rows, strict=True):
        assert bug.found_by in (None, int(seeds) - 1)
    assert len(COMMON) >= 20
