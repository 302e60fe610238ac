"""Soak: new seeds until somebody stops it; those that fail are written down.

It begins at a seed that depends on the time, so that no two soaks play the same worlds,
and writes each failure down as it comes: what was found in an hour is not lost with the
terminal.
"""

import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from tests.swarm.crew import a_crew
from tests.swarm.play import Depth, Played, command

# Not a part of the project: what was found is mended, and remembered in `remembered`.
FAILED: Final = Path(__file__).parents[2] / "swarm-failed.txt"
# A bug that many seeds find needs no further ones.
FAILED_MAX: Final = 200
# Of so many seeds one is played in bytes: then both depths get about as much time.
_WIRE_EVERY: Final = 4
_TELL_EVERY_S: Final = 10.0
# Those of the tests come before.
_FIRST: Final = 1_000_000


def soak(*, first: int | None = None, failed: Path = FAILED) -> int:
    """Play until interrupted; 1 if a seed has failed."""
    first = _FIRST + int(time.time()) if first is None else first
    books = Books(failed)
    with suppress(KeyboardInterrupt):
        print(f"soaking from seed {first} on; Ctrl-C ends it", flush=True)
        with a_crew() as crew:
            for played in crew.play((seed, _depth(seed)) for seed in count(first)):
                books.note(played)
    return books.close()


class Books:
    """Tells of seeds as they come, and writes down those that failed."""

    def __init__(self, failed: Path) -> None:
        self._failed = failed
        self._began_at = self._told_at = time.monotonic()
        self._played: Counter[Depth] = Counter()
        self._exchanges = self._found = 0

    def note(self, played: Played) -> None:
        """One more."""
        self._played[played.depth] += 1
        self._exchanges += played.exchanges
        if played.findings:
            self._found += 1
            print(played.text, flush=True)
            if self._found <= FAILED_MAX:
                self._write_down(played)
        if time.monotonic() > self._told_at + _TELL_EVERY_S:
            self._told_at = time.monotonic()
            print(self._sum, flush=True)

    def close(self) -> int:
        """Tell what it came to; 1 if a seed has failed."""
        lasted_s = time.monotonic() - self._began_at
        print(f"\n{self._sum}, {self._exchanges} exchanges in {lasted_s:.0f} s")
        if self._found:
            print(f"written down in {self._failed}")
        return int(self._found > 0)

    @property
    def _sum(self) -> str:
        seeds = ", ".join(f"{self._played[depth]} by {depth}" for depth in Depth)
        return f"{seeds}: {self._found} failed"

    def _write_down(self, played: Played) -> None:
        line = f"{command(played.seed, played.depth)}  # {played.findings[0].rule}\n"
        with self._failed.open("a", encoding="utf-8") as out:
            out.write(line)


def _depth(seed: int) -> Depth:
    return Depth.DECISIONS if seed % _WIRE_EVERY else Depth.WIRE
