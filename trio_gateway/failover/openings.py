"""How long a breaker stays open: about twice as long each time, up to a limit.

    trips       1     2     3     4     5        base 5 s, limit 30 s
    at most     5 s  10 s  20 s  30 s  30 s      at least: half of it

Source: equal jitter, from "Exponential Backoff and Jitter" (AWS): gateways that saw the
same outage do not probe in step.
"""

from random import Random
from typing import Final

from trio_gateway.policy.route import BreakerRules

# 2^31 times any base is longer than any outage, and still a float.
_TRIPS_MAX: Final = 32


def time_open_s(rules: BreakerRules, trips: int, random: Random) -> float:
    """Draw the seconds it stays open, opening for the `trips`-th time."""
    most_s = _most_s(rules, trips)
    return most_s / 2 + random.uniform(0.0, most_s / 2)


def trips_that_count(rules: BreakerRules) -> int:
    """The number of trips from which on the time open no longer grows.

    Counting on would not lengthen it, but would take an outage of hours days to forget.
    """
    trips = 1
    while trips < _TRIPS_MAX and _most_s(rules, trips) < rules.open_max_s:
        trips += 1
    return trips


def _most_s(rules: BreakerRules, trips: int) -> float:
    return min(rules.open_max_s, rules.open_base_s * 2.0 ** (trips - 1))
