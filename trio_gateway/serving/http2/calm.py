"""How much a client may ask of its connection that comes to nothing.

A ping is answered, a window opened, a request begun and left within the same packet:
each is honest, and a flood of them is how HTTP/2 servers are overwhelmed ("rapid reset"
and its kin). They are not counted one by one, but paid for: from an allowance that time
refills slowly and that answers refill as they are sent, since it is answers that honest
clients accompany with such frames. It is pure arithmetic.
"""

from typing import Final

from h2.exceptions import DenialOfServiceError

# What a client may spend at once, and what it gets each second. A page of a browser
# spends dozens as it begins; a hundred streams left at once, half of this.
BURST: Final = 1000.0
REFILL_PER_S: Final = 10.0

# Clients open two windows for what they received, some of them for each frame.
EARNED_BY_FRAME: Final = 4.0
EARNED_BY_ANSWER: Final = 10.0

# Earned by answers; a client whose windows hold a long one reads it all at once.
SAVED_MAX: Final = 100_000.0

FRAME_COST: Final = 1.0

# A request that is refused, or left before its answer began: reading its head, and
# beginning what was asked for.
FUTILE_COST: Final = 5.0


class Calm:
    """One connection's allowance."""

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._at = now

    def spend(self, cost: float, now: float) -> None:
        """Pay for something.

        Raises:
            DenialOfServiceError: The allowance is used up.
        """
        refilled = self._left + REFILL_PER_S * (now - self._at)
        self._left = max(self._left, min(refilled, BURST)) - cost
        self._at = now
        if self._left < 0:
            raise DenialOfServiceError("too much that comes to nothing")

    def earn(self, points: float) -> None:
        """Add to the allowance, for something that was answered."""
        self._left = min(self._left + points, SAVED_MAX)
