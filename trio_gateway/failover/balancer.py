"""Whom next inside a tier: two are drawn by weight, and the dearer one gives way.

How dear a target is, says its time to the first token, remembered pessimistically: a
slower sample replaces the estimate at once, quicker ones bring it down over ten
seconds, and so does time alone. A failure counts as a slow answer of a busy target, for
else the one that fails fastest looks like the best.

    seconds      x sample above: taken at once
       |         |'-.                      o failure: 5 s, or what it asked for
       |         |   '-._  x x             |'-.
       |   ------'       '--_x_ x _        |   '-._     no news: decays as read
       |                         '---------'       '-.__
       '--------------------------------------------------> time

A target costs `estimate * (1 + in_flight / relative weight)`. Two different ones are
drawn by weight (of two targets: both). The first stands if it costs no more than the
second; if it costs more, its weight shrinks by the tilt, and the two weights are what
decides between them:

    tilt  1 |.                   up to three times dearer: by the square root, so that a
            | '--..__            target keeps more than half its share (no starvation)
        .58 |        ''.
            |          :         beyond: steeply, yet never to nothing: one request in
          0 |          '..____   a hundred goes anywhere, so that a recovery is seen
            '-----------------> cost / the other's cost
            1          3

Why not the plain power of two choices, `estimate * (in_flight + 1) / weight` compared
outright? Of two targets it would always take the quicker by a hair, weights or not,
until that one is loaded. Here the draw holds the weights exactly where costs are equal,
and cost only tilts it. Why not a smooth weighted rotation, which is exact without luck?
Its memory resonates: if each request asks twice because the first target fails, each
would begin at the same target. Draws remember nothing.

An estimate that nobody refreshed decays towards zero, but counts as no less than the
best that the tier has shown: forgotten means "as good as any", or the slowest target,
left alone for a minute, would draw everybody.

Sources: Peak-EWMA of Finagle and linkerd, with linkerd's failure penalty;
M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

# Long enough to average a dozen requests of a quiet target, short enough to see it
# recover before its users complain. Finagle's and linkerd's default.
_DECAY_S: Final = 10.0
# No model answers within a millisecond; costs are divided by each other.
_LEAST_S: Final = 0.001
# A failure is as bad as a slow answer of a healthy model.
_FAILURE_S: Final = 5.0
# A hint beyond this is a disablement, and not a matter of balance.
_RETRY_AFTER_MAX_S: Final = 300.0
# What linkerd assumes of whom it never met; close to the median of common models.
_UNSEEN_S: Final = 1.0


class PeakEwma:
    """One target's time to the first token: a moving average that believes in peaks."""

    __slots__ = ("_at", "has_news", "is_failing", "last_s")

    def __init__(self, seed_s: float, now: float) -> None:
        """Start at what others take: see `seed_s`."""
        self.last_s = max(seed_s, _LEAST_S)  # at the last news, not decayed since
        self.has_news = False  # whether it was ever asked
        self.is_failing = False  # whether the last news was a failure
        self._at = now

    def observe(self, sample_s: float, now: float) -> None:
        """An attempt committed after so long."""
        if sample_s > self.last_s:
            self.last_s = sample_s
        else:
            share = exp((self._at - now) / _DECAY_S)
            mixed_s = self.last_s * share + sample_s * (1.0 - share)
            self.last_s = max(mixed_s, _LEAST_S)
        self.has_news = True
        self.is_failing = False
        self._at = now

    def failed(self, now: float, *, retry_after_s: float = 0.0) -> None:
        """An attempt failed in a way that is the target's own fault."""
        hint_s = min(retry_after_s, _RETRY_AFTER_MAX_S)
        self.last_s = max(self.value_s(now), _FAILURE_S, hint_s)
        self.has_news = True
        self.is_failing = True
        self._at = now

    def value_s(self, now: float) -> float:
        """The estimate in seconds; it decays while there is no news."""
        return max(self.last_s * exp((self._at - now) / _DECAY_S), _LEAST_S)


def seed_s(others: Iterable[PeakEwma]) -> float:
    """What to assume of a target never asked: the median of those that were.

    Infinity would starve it, zero send everybody there. So the others count as they
    were at their last news: time makes an estimate vague, and no target quicker.
    """
    values_s = sorted([other.last_s for other in others if other.has_news])
    return values_s[len(values_s) // 2] if values_s else _UNSEEN_S


# Not frozen: that would take four times as long to make, twice for every request.
@dataclass(slots=True)
class Candidate:
    """One target of a tier, as far as the choice is concerned."""

    estimate: PeakEwma
    in_flight: float  # attempts, or their size: any measure, if all have the same
    weight: float


# One request in a hundred goes anywhere: enough to see that a slow target has
# recovered, and one request in a hundred at most pays for it.
_EXPLORED: Final = 0.01


def order(
    tier: Sequence[Candidate], *, draw: float, second_draw: float, now: float
) -> list[int]:
    """All of a tier as indices: the chosen one first, then the others by cost.

    Both draws are uniform in [0, 1), and independent.
    """
    if len(tier) < 2:
        return [0] * len(tier)
    costs = _costs(tier, now)
    ranked = sorted(range(len(tier)), key=costs.__getitem__)
    if draw < _EXPLORED:
        chosen = int(draw / _EXPLORED * len(tier))
    else:
        draw = (draw - _EXPLORED) / (1.0 - _EXPLORED)
        chosen = _choose([c.weight for c in tier], costs, draw, second_draw)
    if ranked[0] != chosen:
        ranked.remove(chosen)
        ranked.insert(0, chosen)
    return ranked


def _choose(
    weights: list[float], costs: Sequence[float], draw: float, second_draw: float
) -> int:
    """Draw two by weight; keep the first, or less often than not if it costs more."""
    first, chance = _drawn(weights, draw)
    weight, weights[first] = weights[first], 0.0
    second, _ = _drawn(weights, second_draw)
    if costs[first] <= costs[second]:
        return first
    # Such that of two targets, the dearer is chosen as often as its tilted weight says.
    other = weights[second]
    tilt = _tilt(costs[first] / costs[second])
    kept = tilt * (weight + other) / (tilt * weight + other)
    return first if chance < kept else second


def _drawn(weights: Sequence[float], draw: float) -> tuple[int, float]:
    """Draw an index by weight; what is left of the draw is again uniform in [0, 1)."""
    point = draw * sum(weights)
    last = 0
    for index, weight in enumerate(weights):
        if point < weight:
            return index, point / weight
        point -= weight
        if weight:
            last = index
    return last, 0.0  # rounding alone leads here


# Up to here a target must keep half its share of the tier. The square root leaves it
# .58, and what is above the half is left to chance.
_TOLERATED: Final = 3.0


def _tilt(ratio: float) -> float:
    """What is left of a weight when its target costs so many times as much."""
    if ratio <= _TOLERATED:
        return float(ratio**-0.5)
    # Eight times dearer leaves a thirtieth.
    return float(_TOLERATED**-0.5 * (_TOLERATED / ratio) ** 3)


def _costs(tier: Sequence[Candidate], now: float) -> list[float]:
    best_s = min([candidate.estimate.last_s for candidate in tier])
    mean_weight = sum([candidate.weight for candidate in tier]) / len(tier)
    loads = [1.0 + c.in_flight * mean_weight / c.weight for c in tier]
    most = max(loads)
    return [
        # Who fails at once is never busy: that is no merit.
        max(estimate.value_s(now), best_s) * (most if estimate.is_failing else load)
        for estimate, load in zip([c.estimate for c in tier], loads, strict=True)
    ]
