"""How long answers take at one target, and the limits on waiting that follow from it.

Its durations fall into a histogram whose buckets grow by 5 %, so that a quantile read
back is never off by more than half a bucket, whatever the scale:

     1 ms                         1 s                             15 min
      |_|_|__|__|___|____|_____|______|_______|________|_________|
                          .:|||||:...       .     :
                            p50   p95       p99   attempts we gave up on, at 1.5 t

Two histograms of five minutes each take turns and are added when read, so a sample is
forgotten between five and ten minutes after it came:

    |---- previous ----|---- current ..now          at a turn current becomes previous,
    '---------- read together ---------'            and the oldest five minutes are gone

An attempt that was cancelled or timed out after t would have taken longer, nobody knows
how much. Left out, the slow ones vanish from the picture, the limit shrinks, cuts more
of them, and shrinks again. So it enters as 1.5 t; and if that is less than the median,
as the median: to have been cut off early does not make an attempt a quick one.

While the target is unwell its owner freezes learning, for an outage teaches nothing
about health. Forgetting goes on: after ten minutes there is too little left to say, and
the limits of the policy hold again. Else a limit that has become too tight would break
every attempt, call that an outage, freeze, and stay for ever.

Sources: log buckets as in HdrHistogram and DDSketch; recording what timed out or was
superseded as in Finagle's backup requests.
"""

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from math import ceil, log
from operator import add
from typing import Final

from trio_gateway.policy.route import Patience

# 5 % is finer than any decision made from a quantile, and 281 counters stay small.
_GROWTH: Final = 1.05
_LOG_GROWTH: Final = log(_GROWTH)
# No model answers within a millisecond.
_LOWEST_S: Final = 0.001
# The longest sample there is: an attempt given up on after the usual total of 600 s.
_HIGHEST_S: Final = 900.0
_BUCKETS: Final = ceil(log(_HIGHEST_S / _LOWEST_S) / _LOG_GROWTH)
_NOTHING: Final = array("I", [0]) * _BUCKETS

# Long enough to gather samples of a target that is rarely used, short enough to follow
# the hours of the day.
_TURN_S: Final = 300.0
# A p99 of fewer samples is their maximum, and a p95 of fewer a matter of two or three.
_SAMPLES_MIN: Final = 50
# What an attempt would have taken, had we not cut it off: more than it had, by a half.
_CENSORED_FACTOR: Final = 1.5
# Adding two histograms up takes as long as parsing a request; once a second is enough
# to follow what is measured over minutes.
_REFRESH_S: Final = 1.0

# Prompts of different size take different time to read. Bounds in tokens.
_PROMPT_BOUNDS: Final = (1_000, 8_000, 32_000)
_BYTES_PER_TOKEN: Final = 4  # English prose and JSON, as tokenizers of today cut them
PROMPT_BUCKETS: Final = ("<1k", "<8k", "<32k", ">=32k")


def prompt_bucket(request_bytes: int) -> int:
    """Which of `PROMPT_BUCKETS` a request of this size belongs to: an index."""
    return bisect_right(_PROMPT_BOUNDS, request_bytes // _BYTES_PER_TOKEN)


class _Histogram:
    """What came within five minutes, and the least and the most bucket of it."""

    __slots__ = ("counts", "least", "most")

    def __init__(self) -> None:
        self.counts = _NOTHING[:]
        self.least = _BUCKETS
        self.most = -1

    def add(self, value_s: float) -> None:
        """Count one."""
        bucket = _bucket_of(value_s)
        self.counts[bucket] += 1
        if bucket < self.least:
            self.least = bucket
        if bucket > self.most:
            self.most = bucket


class Quantiles:
    """What was measured at one (target, streamed or not, prompt bucket).

    Quantiles are read from a sum that is at most a second old.
    """

    __slots__ = (
        "_current",
        "_fresh_until",
        "_least",
        "_previous",
        "_sums",
        "_total",
        "_turns_at",
        "is_frozen",
    )

    def __init__(self, now: float) -> None:
        self.is_frozen = False  # while True nothing is learnt
        self._current = _Histogram()
        self._previous = _Histogram()
        self._turns_at = now + _TURN_S
        self._least = 0
        self._sums = array("Q")  # of both, cumulative, from the least bucket in use on
        self._total = 0
        self._fresh_until = now

    def observe(self, value_s: float, now: float) -> None:
        """An attempt committed after so long."""
        if self.is_frozen:
            return
        if now >= self._turns_at:
            self._turn(now)
        self._current.add(value_s)

    def censored(self, at_s: float, now: float) -> None:
        """An attempt was cancelled or timed out after so long, without a token."""
        value_s = _CENSORED_FACTOR * at_s
        median_s = self.quantile(0.5, now)
        self.observe(value_s if median_s is None else max(value_s, median_s), now)

    def quantile(self, q: float, now: float) -> float | None:
        """The q-quantile in seconds, within 5 %; None with fewer than 50 samples."""
        if now >= self._fresh_until:
            self._refresh(now)
        if self._total < _SAMPLES_MIN:
            return None
        rank = max(1, ceil(q * self._total))
        bucket = self._least + bisect_left(self._sums, rank)
        return float(_LOWEST_S * _GROWTH ** (bucket + 0.5))

    def share_within(self, limit_s: float, now: float) -> float | None:
        """How many came within so long; None with fewer than 50 samples."""
        if now >= self._fresh_until:
            self._refresh(now)
        if self._total < _SAMPLES_MIN:
            return None
        below = _bucket_of(limit_s) - self._least
        if below <= 0:
            return 0.0
        return float(self._sums[min(below, len(self._sums)) - 1] / self._total)

    def p50_s(self, now: float) -> float | None:
        """The median in seconds; None with too few samples."""
        return self.quantile(0.5, now)

    def p95_s(self, now: float) -> float | None:
        """What one in twenty exceeds, in seconds; None with too few samples."""
        return self.quantile(0.95, now)

    def p99_s(self, now: float) -> float | None:
        """What one in a hundred exceeds, in seconds; None with too few samples."""
        return self.quantile(0.99, now)

    def samples(self, now: float) -> int:
        """How many samples the quantiles are read from."""
        if now >= self._fresh_until:
            self._refresh(now)
        return self._total

    def _refresh(self, now: float) -> None:
        if now >= self._turns_at:
            self._turn(now)
        one, other = self._current, self._previous
        used = slice(min(one.least, other.least), max(one.most, other.most) + 1)
        counts = map(add, one.counts[used], other.counts[used])
        self._sums = array("Q", accumulate(counts))
        self._total = self._sums[-1] if self._sums else 0
        self._least = used.start
        self._fresh_until = now + _REFRESH_S

    def _turn(self, now: float) -> None:
        is_recent = now < self._turns_at + _TURN_S
        self._previous = self._current if is_recent else _Histogram()
        self._current = _Histogram()
        self._turns_at = (self._turns_at if is_recent else now) + _TURN_S


def _bucket_of(value_s: float) -> int:
    if value_s <= _LOWEST_S:
        return 0
    return min(int(log(value_s / _LOWEST_S) / _LOG_GROWTH), _BUCKETS - 1)


# Below 2 s an overlap would start for ordinary hiccups; above 20 s nobody still waits
# for a chat model's first token. Likewise for giving up, at about twice that.
_SOFT_MIN_S: Final = 2.0
_SOFT_MAX_S: Final = 20.0
_HARD_MIN_S: Final = 5.0
_HARD_MAX_S: Final = 60.0
# One in a hundred is past the soft limit; past twice that, nothing comes.
_HARD_FACTOR: Final = 2.0
# A later target's fair chance: what 19 in 20 of its answers take, and half of it again.
_RESERVE_FACTOR: Final = 1.5
_RESERVE_MIN_S: Final = 2.0
_RESERVE_MAX_S: Final = 10.0
# What a policy calls late is several times what is usual: 8 s for a first token that
# takes one.
_LATE_FACTOR: Final = 8.0
# A target that slows down within seconds is ill, not new: patience follows slowly,
# doubling in about three minutes, and shrinks at once.
_GROWTH_PER_MIN: Final = 1.25
# Nothing older is remembered, so nothing older can have held a limit down.
_GROWTH_SPAN_S: Final = 2 * _TURN_S


class AdaptivePatience:
    """A policy's soft and hard limit, adapted to what is measured.

        seconds                         ___________ top: what is written, or the clamp
           |                     __..--'
           |  policy's   _..--''    grows by a quarter a minute at most
           |  value __.-'
           |________|     shrinks at once to p99 (soft), 2 x p99 (hard)
           |        |______________________________ 2 s (soft), 5 s (hard)
           '--------+-------------------------------------> time
             < 50 samples

    A written limit is a ceiling. An unwritten one stays within 2-20 s (soft) and
    5-60 s (hard), except that learning never takes the top below the policy's own
    value: a reasoning model may keep the patience it was given.

    What a long answer may take on top (so much per token) is the caller's to add.
    """

    __slots__ = (
        "_fresh_until",
        "_hard_s",
        "_patience",
        "_quantiles",
        "_refreshed_at",
        "_reserve_s",
        "_soft_s",
        "is_hard_written",
    )

    def __init__(self, patience: Patience, quantiles: Quantiles, now: float) -> None:
        self._patience = patience
        self._quantiles = quantiles
        self.is_hard_written = patience.is_hard_written
        self._refreshed_at = now
        self._fresh_until = now
        self._soft_s = patience.soft_s
        self._hard_s = patience.hard_s
        self._reserve_s = _clamp(patience.hard_s / 2, _RESERVE_MIN_S, _RESERVE_MAX_S)

    def soft_s(self, now: float) -> float:
        """After so long another target may start beside this one; at most `hard_s`."""
        if now >= self._fresh_until:
            self._refresh(now)
        return min(self._soft_s, self._hard_s)

    def hard_s(self, now: float) -> float:
        """After so long an attempt is given up."""
        if now >= self._fresh_until:
            self._refresh(now)
        return self._hard_s

    def reserve_s(self, now: float) -> float:
        """How much of the time before the commit point to keep for this target."""
        if now >= self._fresh_until:
            self._refresh(now)
        return min(self._reserve_s, self._hard_s)

    def p95_s(self, now: float) -> float:
        """What one in twenty exceeds; half the soft limit while nothing is known."""
        known_s = self._quantiles.p95_s(now)
        soft_s = self.soft_s(now)
        return soft_s / 2 if known_s is None else min(known_s, soft_s)

    def chance_within(self, limit_s: float, now: float) -> float | None:
        """How likely an answer is within so long; None while nothing is known."""
        return self._quantiles.share_within(limit_s, now)

    def guess_within(self, limit_s: float) -> float:
        """The same by the policy alone: all or nothing."""
        return float(limit_s >= self._patience.soft_s / _LATE_FACTOR)

    def _refresh(self, now: float) -> None:
        policy, quantiles = self._patience, self._quantiles
        p95_s, p99_s = quantiles.p95_s(now), quantiles.p99_s(now)
        since_s = min(now - self._refreshed_at, _GROWTH_SPAN_S)
        self._refreshed_at, self._fresh_until = now, now + _REFRESH_S
        if p95_s is None or p99_s is None:
            self._soft_s, self._hard_s = policy.soft_s, policy.hard_s
            likely_s = policy.hard_s / 2  # nothing is known: half of what it may take
        else:
            growth = _GROWTH_PER_MIN ** (since_s / 60.0)
            soft_top_s = _top_s(
                policy.soft_s, _SOFT_MAX_S, is_written=policy.is_soft_written
            )
            soft_s = _clamp(p99_s, _SOFT_MIN_S, soft_top_s)
            self._soft_s = min(soft_s, self._soft_s * growth)
            hard_top_s = _top_s(
                policy.hard_s, _HARD_MAX_S, is_written=policy.is_hard_written
            )
            hard_s = _clamp(_HARD_FACTOR * p99_s, _HARD_MIN_S, hard_top_s)
            self._hard_s = min(hard_s, self._hard_s * growth)
            likely_s = _RESERVE_FACTOR * p95_s
        self._reserve_s = _clamp(likely_s, _RESERVE_MIN_S, _RESERVE_MAX_S)


def _top_s(policy_s: float, clamp_s: float, *, is_written: bool) -> float:
    return policy_s if is_written else max(clamp_s, policy_s)


def _clamp(value_s: float, least_s: float, most_s: float) -> float:
    return min(max(value_s, least_s), most_s)
