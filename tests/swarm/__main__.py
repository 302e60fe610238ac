"""Play seeds of the swarm, or soak.

python -m tests.swarm SEED... [--depth wire]    play these; 0:500 is a range
python -m tests.swarm soak [--first SEED]       play new ones until Ctrl-C
"""

import argparse
import sys
from collections.abc import Iterable
from signal import SIGINT, SIGTERM, default_int_handler, signal

from tests.swarm.crew import a_crew
from tests.swarm.play import Depth, Played, play
from tests.swarm.soak import soak


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.swarm")
    words.add_argument("seeds", nargs="+", metavar="SEED", help="17, 0:500, or soak")
    words.add_argument(
        "--depth", type=Depth, choices=list(Depth), default=Depth.DECISIONS
    )
    words.add_argument("--first", type=int, help="where to begin to soak")
    words.add_argument("--stop", action="store_true", help="at the first that fails")
    given = words.parse_args()
    # Else those who work for it would be left behind, were it ended or its shell gone.
    for number in (SIGINT, SIGTERM):
        signal(number, default_int_handler)
    if given.seeds == ["soak"]:
        return soak(first=given.first)
    try:
        return _play(given)
    except KeyboardInterrupt:
        return 130


def _play(given: argparse.Namespace) -> int:
    seeds = [seed for word in given.seeds for seed in _range(word)]
    if len(seeds) == 1 or given.stop:
        return _tell((play(seed, given.depth) for seed in seeds), stop=given.stop)
    with a_crew() as crew:
        return _tell(crew.play((seed, given.depth) for seed in seeds), stop=False)


def _range(word: str) -> range:
    first, colon, end = word.partition(":")
    return range(int(first), int(end) if colon else int(first) + 1)


def _tell(runs: Iterable[Played], *, stop: bool) -> int:
    failed = exchanges = judged = count = 0
    for played in runs:
        count += 1
        exchanges += played.exchanges
        judged += played.judged
        if played.findings:
            failed += 1
            print(played.text, flush=True)
            if stop:
                break
    told = f"{exchanges} exchanges, {judged} of them after healing"
    print(f"{count} seeds, {failed} failed; {told}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
