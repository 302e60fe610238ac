"""Hundreds of odd worlds, each played by the production engine; see README.md here."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.swarm.crew import Crew, a_crew
from tests.swarm.play import Depth, Played, play
from tests.swarm.remembered import REMEMBERED, Remembered
from tests.swarm.soak import FAILED_MAX, Books
from tests.swarm.watch import Finding
from tests.swarm.weather import Fates
from tests.swarm.worlds import draw
from trio_gateway.chaos.vocabulary.script import Refusal, UnderWay
from trio_gateway.failover.commands import Reason
from trio_gateway.relay.record import Outcome

SEEDS = {Depth.DECISIONS: 500, Depth.WIRE: 50}
# In so many tests: each ends well within the time that one may take.
PARTS = {Depth.DECISIONS: 10, Depth.WIRE: 5}

CASES = [
    pytest.param(depth, part, id=f"{depth}-{part}")
    for depth, parts in PARTS.items()
    for part in range(parts)
]


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with a_crew() as crew:
        yield crew


@pytest.fixture(scope="module")
def everything() -> list[Played]:
    """What all the tests of this module have played so far."""
    return []


def seeds_of(depth: Depth, part: int) -> range:
    size = SEEDS[depth] // PARTS[depth]
    return range(part * size, (part + 1) * size)


def hold_to_it(played: Sequence[Played]) -> None:
    failed = [each.text for each in played if each.findings]
    if failed:
        pytest.fail("\n\n".join(failed[:5]), pytrace=False)


@pytest.mark.parametrize(("depth", "part"), CASES)
def test_whatever_the_weather_nothing_forbidden_happens_and_then_all_is_well(
    depth: Depth, part: int, crew: Crew, everything: list[Played]
) -> None:
    played = list(crew.play((seed, depth) for seed in seeds_of(depth, part)))
    everything += played
    hold_to_it(played)


def test_the_swarm_sees_everything(everything: list[Played]) -> None:
    if len(everything) < sum(SEEDS.values()):
        pytest.skip("only where all seeds were played")
    reasons: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for each in everything:
        reasons.update(each.reasons)
        outcomes.update(each.outcomes)

    assert reasons.keys() == set(Reason)
    assert outcomes.keys() == set(Outcome)
    assert min(reasons.values()) > 100
    # Where nobody asks in phase two, nothing is said about liveness.
    assert sum(each.judged == 0 for each in everything) <= 0.01 * len(everything)


@pytest.mark.parametrize("remembered", REMEMBERED, ids=lambda each: str(each.seed))
def test_what_once_failed_holds(remembered: Remembered) -> None:
    hold_to_it([play(remembered.seed, remembered.depth)])


def test_a_seed_is_the_same_world_every_time() -> None:
    assert outline_of(play(3, Depth.DECISIONS)) == outline_of(play(3, Depth.DECISIONS))


def test_what_is_open_when_weather_turns_bad_meets_every_fate() -> None:
    met = {
        spell.under_way
        for seed in range(10)
        for target in draw(seed).world.targets.values()
        for spell in target.spells
    }
    assert met == set(UnderWay)


def test_half_of_the_fates_and_a_third_of_the_others_are_as_usual() -> None:
    fates = Fates(1)
    drawn = Counter(fates.draw(Refusal.CONNECT_REFUSED) for _ in range(600))
    assert drawn.keys() == set(UnderWay)
    assert 350 < drawn[UnderWay.RESET] < 450


def outline_of(played: Played) -> tuple[object, ...]:
    return played.exchanges, played.judged, played.reasons, played.outcomes


# The soak


def a_failed_seed(seed: int) -> Played:
    broken = Finding("(1) one winner", f"{seed}/0/1/1", ("0.000  start -> -",))
    return Played(
        seed=seed,
        depth=Depth.WIRE,
        findings=(broken,),
        exchanges=1,
        judged=0,
        reasons={},
        outcomes={},
        cpu_s=0.0,
    )


def test_a_soak_tells_of_a_failed_seed_and_writes_down_how_to_see_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = Books(tmp_path / "failed.txt")
    books.note(a_failed_seed(17))
    assert books.close() == 1

    said = capsys.readouterr().out
    assert "seed 17 by wire breaks: (1) one winner" in said
    assert "0.000  start" in said
    command = ".venv/bin/python -m tests.swarm 17 --depth wire"
    assert f"replay: {command}\n" in said
    assert (tmp_path / "failed.txt").read_text() == f"{command}  # (1) one winner\n"


def test_a_soak_writes_down_no_more_than_anybody_will_read(tmp_path: Path) -> None:
    books = Books(tmp_path / "failed.txt")
    for seed in range(2 * FAILED_MAX):
        books.note(a_failed_seed(seed))

    assert len((tmp_path / "failed.txt").read_text().splitlines()) == FAILED_MAX


def test_ctrl_c_ends_a_soak_with_a_sum() -> None:
    words = [sys.executable, "-u", "-m", "tests.swarm", "soak", "--first", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as soaking:
        assert soaking.stdout is not None
        assert "Ctrl-C ends it" in soaking.stdout.readline()
        soaking.send_signal(signal.SIGINT)
        said = soaking.stdout.read()
        code = soaking.wait(60)

    assert code == 0, said
    assert "by decisions" in said
    assert "0 failed" in said
