"""How the last requests went, in the order in which they were sent.

    sent first                                      sent last
      x   x   ?   x   .   x   n   x   x   ?   x   ?   ?
                          +-----3-----+       1
    . good   x failed (or half, slow)   n neutral   ? not known yet

A run is what failed without anything unknown between, sent after the newest that was
good; neutral ends are skipped. News come in another order: a refusal takes 20 ms, a
first token a second, a time limit a minute. Counted as they come, a few failures among
many answers look like a run, and answers to what was sent before an outage hide one.
"""

from array import array
from typing import Final

# A run reaches no further back. At a thousand requests a second it is half a second;
# a request costs eight bytes.
LENGTH: Final = 512

# What is known of a request: the weight of its failure, or one of these.
GOOD: Final = 0.0
_UNKNOWN: Final = -1.0
_NEUTRAL: Final = -2.0


class Run:
    """The last `LENGTH` requests sent, by their numbers; older ones are forgotten."""

    __slots__ = ("_known", "_newest_good", "_next", "unknown")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything; numbers begin anew."""
        self._known = array("d", (_NEUTRAL,)) * LENGTH
        self._next = 0
        self._newest_good = -1
        self.unknown = 0
        """How many of them are on their way, and nothing is known of them."""

    def send(self) -> int:
        """One more is sent; its number."""
        number = self._next
        self._next = number + 1
        slot = number % LENGTH
        if self._known[slot] != _UNKNOWN:  # else one unknown takes another's place
            self._known[slot] = _UNKNOWN
            self.unknown += 1
        return number

    def tell(self, number: int, weight: float) -> None:
        """It was good, or failed with a weight; later news replace earlier ones."""
        if number < self._next - LENGTH:
            return
        slot = number % LENGTH
        if self._known[slot] == _UNKNOWN:
            self.unknown -= 1
        self._known[slot] = weight
        if weight == GOOD:
            if number > self._newest_good:
                self._newest_good = number
        elif number == self._newest_good:
            self._find_newest_good()

    def leave(self, number: int) -> None:
        """It ended and says nothing, unless it was told of before."""
        slot = number % LENGTH
        if number >= self._next - LENGTH and self._known[slot] == _UNKNOWN:
            self._known[slot] = _NEUTRAL
            self.unknown -= 1

    def around(self, number: int) -> float:
        """The weight of the run that a failed request is part of.

        It is 0 if a later one went well: that run is over, however late the news.
        At most `LENGTH` steps, to be asked on failures only.
        """
        begin = max(self._newest_good + 1, self._next - LENGTH)
        if number < begin:
            return 0.0
        total = 0.0
        for there in (range(number, begin - 1, -1), range(number + 1, self._next)):
            for each in there:
                weight = self._known[each % LENGTH]
                if weight == _UNKNOWN:
                    break
                total += max(0.0, weight)
        return total

    def _find_newest_good(self) -> None:
        """Look back for it, as the one that was has failed after all."""
        oldest = max(0, self._next - LENGTH)
        self._newest_good = next(
            (
                number
                for number in range(self._newest_good - 1, oldest - 1, -1)
                if self._known[number % LENGTH] == GOOD
            ),
            -1,
        )
