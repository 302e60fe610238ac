"""Counters and histograms for the way of every request, shown as Prometheus' own are.

Those of prometheus-client lock, check and look up for each count; here it is one dict
and one number. All counting is of one thread, which also reads. What is counted under
names that are gone can be forgotten, so that names that come and go do not pile up.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from trio_gateway.telemetry.exposition import Families, Family, Labels, Naming, escaped

_INFINITY: Final = "+Inf"


class Counts:
    """A counter with labels; `name` is without the `_total` that it is shown with."""

    def __init__(self, name: str, words: str, labels: Sequence[str]) -> None:
        self._name = name
        self._words = words
        self._total = Naming(f"{name}_total", labels)
        self._began = Naming(f"{name}_created", labels)
        self._counts: dict[Labels, int] = {}
        self._created: dict[Labels, float] = {}

    def count(self, *values: str) -> None:
        """Count one more under these labels, in their order."""
        if values in self._counts:
            self._counts[values] += 1
        else:
            self._counts[values] = 1
            self._created[values] = time.time()

    def keep(self, is_known: Callable[[Labels], bool]) -> None:
        """Forget what is counted under other labels."""
        for values in [values for values in self._counts if not is_known(values)]:
            del self._counts[values], self._created[values]

    def show(self, families: Families) -> None:
        """Add all that was counted."""
        total = Family(self._words, "counter")
        began = Family(self._words, "gauge")
        for labels, count in self._counts.items():
            values = tuple(map(escaped, labels))
            total.samples[self._total(*values)] = count
            began.samples[self._began(*values)] = self._created[labels]
        families[f"{self._name}_total"] = total
        if began.samples:
            families[f"{self._name}_created"] = began


class Spread:
    """Observations under one set of labels."""

    __slots__ = ("created", "numbers", "total")

    def __init__(self, buckets: int) -> None:
        self.numbers = [0] * buckets  # of observations in each bucket alone
        self.total = 0.0
        self.created = time.time()


class Spreads:
    """A histogram with labels.

    Args:
        name: what it is called.
        words: what it says.
        labels: their names.
        bounds: the upper ends of the buckets but the last, in order.
    """

    def __init__(
        self, name: str, words: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name = name
        self._words = words
        self._bounds = bounds
        self._ends = (*map(repr, map(float, bounds)), _INFINITY)
        self._bucket = Naming(f"{name}_bucket", (*labels, "le"))
        self._others = [
            Naming(f"{name}_{what}", labels) for what in ("count", "sum", "created")
        ]
        self._spreads: dict[Labels, Spread] = {}

    def observe(self, value: float, *values: str) -> None:
        """Note one more value under these labels, in their order."""
        spread = self._spreads.get(values)
        if spread is None:
            spread = self._spreads[values] = Spread(len(self._ends))
        spread.numbers[bisect_left(self._bounds, value)] += 1
        spread.total += value

    def keep(self, is_known: Callable[[Labels], bool]) -> None:
        """Forget what was observed under other labels."""
        for values in [values for values in self._spreads if not is_known(values)]:
            del self._spreads[values]

    def show(self, families: Families) -> None:
        """Add all that was observed."""
        histogram = Family(self._words, "histogram")
        began = Family(self._words, "gauge")
        samples, bucket = histogram.samples, self._bucket
        count, total, created = self._others
        for labels, spread in self._spreads.items():
            values = tuple(map(escaped, labels))
            so_far = 0
            for end, so_far in zip(self._ends, accumulate(spread.numbers), strict=True):
                samples[bucket(*values, end)] = so_far
            samples[count(*values)] = so_far
            samples[total(*values)] = spread.total
            began.samples[created(*values)] = spread.created
        families[self._name] = histogram
        if began.samples:
            families[f"{self._name}_created"] = began
