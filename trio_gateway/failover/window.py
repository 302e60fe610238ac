"""How many requests went how well lately: exact counts over a span that moves along.

    | 9 | 10 | 11 | ... | 18 |     bucket numbers: now // width
      ^ dropped when 19 begins; the sums are kept, so that reading them costs nothing

The span is ten buckets that expire one by one, so the counts reach back nine to ten
tenths of it. Source: linkerd's success rate, which counts exactly because an average
that decays hides a dense burst of failures.
"""

from typing import Final

BUCKETS: Final = 10


class Window:
    """Counts of requests over the last `span_s`; what they mean is the reader's.

    A clock that steps back a little counts into the newest bucket; a lot, and the
    window begins anew.
    """

    __slots__ = (
        "_bucket",
        "_buckets",
        "_newest",
        "_width_s",
        "begun_at",
        "failures",
        "good",
        "next_at",
        "requests",
    )

    def __init__(self, span_s: float) -> None:
        self._width_s = span_s / BUCKETS
        self._newest = 0
        self.begun_at = 0.0
        """When the newest bucket began."""
        self.next_at = self._width_s
        """When the next bucket begins: until then, time alone drops nothing."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.requests = 0
        self.good = 0.0
        self.failures = 0.0
        self._buckets = [_Bucket() for _ in range(BUCKETS)]
        self._bucket = self._buckets[self._newest % BUCKETS]

    def add(self, now: float, requests: int, good: float, failures: float) -> None:
        """Count what was learned now; weights may be fractions, or take back."""
        if not self.begun_at <= now < self.next_at:
            self.move(now)
        bucket = self._bucket
        if requests:
            bucket.requests += requests
            self.requests += requests
        if good:
            bucket.good += good
            self.good += good
        if failures:
            bucket.failures += failures
            self.failures += failures

    def move(self, now: float) -> None:
        """Drop what has expired by now."""
        newest = int(now // self._width_s)
        steps = newest - self._newest
        if -BUCKETS < steps <= 0:
            return
        if abs(steps) >= BUCKETS:
            self.clear()
        else:
            for begun in range(self._newest + 1, newest + 1):
                self._drop(begun % BUCKETS)
        self._newest = newest
        self._bucket = self._buckets[newest % BUCKETS]
        self.begun_at = newest * self._width_s
        self.next_at = (newest + 1) * self._width_s

    def _drop(self, slot: int) -> None:
        bucket = self._buckets[slot]
        self.requests -= bucket.requests
        self.good -= bucket.good
        self.failures -= bucket.failures
        bucket.requests = 0
        bucket.good = bucket.failures = 0.0


class _Bucket:
    """What was counted in one tenth of the span."""

    __slots__ = ("failures", "good", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.good = 0.0
        self.failures = 0.0
