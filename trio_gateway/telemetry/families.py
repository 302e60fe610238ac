"""Counters and histograms for the way of every request, shown as Prometheus' own are.

Those of prometheus-client lock, check and look up for each count; here it is one dict
and one number. All counting is of one thread, which also reads. What is counted under
names that are gone can be forgotten, so that names that come and go do not pile up.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]

_INFINITY: Final = "+Inf"


class Counts(Collector):
    """A counter with labels."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        words: str,
        labels: Sequence[str],
    ) -> None:
        self._name = name
        self._words = words
        self._labels = labels
        self._counts: dict[Labels, int] = {}
        self._created: dict[Labels, float] = {}
        registry.register(self)

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

    def collect(self) -> Iterator[CounterMetricFamily]:
        """All that was counted."""
        family = CounterMetricFamily(self._name, self._words, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count, created=self._created[values])
        yield family


class Spread:
    """Observations under one set of labels."""

    __slots__ = ("created", "numbers", "total")

    def __init__(self, buckets: int) -> None:
        self.numbers = [0] * buckets  # of observations in each bucket alone
        self.total = 0.0
        self.created = time.time()


class Spreads(Collector):
    """A histogram with labels.

    Args:
        registry: shows it.
        name: what it is called.
        words: what it says.
        labels: their names.
        bounds: the upper ends of the buckets but the last, in order.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        words: str,
        labels: Sequence[str],
        bounds: Sequence[float],
    ) -> None:
        self._name = name
        self._words = words
        self._labels = labels
        self._bounds = bounds
        self._ends = (*map(floatToGoString, bounds), _INFINITY)
        self._spreads: dict[Labels, Spread] = {}
        registry.register(self)

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

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """All that was observed."""
        family = HistogramMetricFamily(self._name, self._words, labels=self._labels)
        for values, spread in self._spreads.items():
            buckets = list(zip(self._ends, accumulate(spread.numbers), strict=True))
            family.add_metric(values, buckets, spread.total)
            labels = dict(zip(self._labels, values, strict=True))
            family.add_sample(f"{self._name}_created", labels, spread.created)
        yield family
