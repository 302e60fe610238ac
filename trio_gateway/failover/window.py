"""How many requests went how well lately: exact counts over a span that moves along.

    | 9 | 10 | 11 | ... | 18 |     bucket numbers: floor(now / width)
      ^ dropped when 19 begins; the sums are kept, so that reading them costs nothing

The span is ten buckets that expire one by one, so the counts reach back nine to ten
tenths of it. Source: linkerd's success rate, which counts exactly because an average
that decays hides a dense burst of failures.
"""

from math import floor
from typing import Final

BUCKETS: Final = 10


class Window:
    """Counts of requests over the last `span_s`; what they mean is the reader's.

    A clock that steps back a little counts into the newest bucket; a lot, and the
    window begins anew.
    """

    __slots__ = ("_buckets", "_newest", "_width_s", "failures", "good", "requests")

    def __init__(self, span_s: float) -> None:
        self._width_s = span_s / BUCKETS
        self._newest = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.requests = 0
        self.good = 0.0
        self.failures = 0.0
        self._buckets = [(0, 0.0, 0.0)] * BUCKETS

    def add(self, now: float, requests: int, good: float, failures: float) -> None:
        """Count what was learned now; weights may be fractions, or take back."""
        self.move(now)
        slot = self._newest % BUCKETS
        r, g, f = self._buckets[slot]
        self._buckets[slot] = (r + requests, g + good, f + failures)
        self.requests += requests
        self.good += good
        self.failures += failures

    def move(self, now: float) -> None:
        """Drop what has expired by now."""
        newest = floor(now / self._width_s)
        steps = newest - self._newest
        if -BUCKETS < steps <= 0:
            return
        if abs(steps) >= BUCKETS:
            self.clear()
        else:
            for begun in range(self._newest + 1, newest + 1):
                self._drop(begun % BUCKETS)
        self._newest = newest

    def _drop(self, slot: int) -> None:
        requests, good, failures = self._buckets[slot]
        self.requests -= requests
        self.good -= good
        self.failures -= failures
        self._buckets[slot] = (0, 0.0, 0.0)
