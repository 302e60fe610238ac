"""Seeds that once failed, and what each of them found; they are always played.

A seed is remembered as long as the worlds are drawn as they were when it failed. What
was mended has a test of its own as well, in the room where it was wrong.
"""

from dataclasses import dataclass
from typing import Final

from tests.swarm.play import Depth


@dataclass(frozen=True, slots=True)
class Remembered:
    """One seed, at one depth, and what was wrong."""

    seed: int
    found: str
    depth: Depth = Depth.DECISIONS


REMEMBERED: Final = (
    Remembered(
        2,
        "a hedge that fell due during a wait struck the retry after it, and the "
        "simulator's time stepped back for it",
    ),
    Remembered(112, "who could be probed was not, as its budget was spent"),
    Remembered(1193, "the watch took what was sent before the healing for news"),
    Remembered(131, "the watch took a first attempt that was sent again for another"),
    Remembered(5251, "the watch took a disablement that was over for a present one"),
    Remembered(5297, "the watch reserved time for a target that was not next"),
    Remembered(
        1344, "a request that came after its client had gone ended the run", Depth.WIRE
    ),
)
