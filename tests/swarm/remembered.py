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
    Remembered(44, "a hedge that was overdue struck a retry as soon as it began"),
    Remembered(91, "a move that was overdue dropped a retry as soon as it began"),
    Remembered(190, "the simulator's time stepped back for an alarm that was overdue"),
    Remembered(101, "a target only asked after others was never probed again"),
)
