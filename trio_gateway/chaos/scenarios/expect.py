"""What a scenario expects of a policy, measured and held beside its bounds.

Every scenario also expects that no invariant breaks; that is not written down, and
cannot be switched off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from trio_gateway.chaos.scenarios.reading import (
    Section,
    count,
    duration,
    instant,
    number,
    rate,
    share,
)
from trio_gateway.policy.format.texts import TextError


class Unit(Enum):
    """What a measured number counts."""

    SHARE = "share"
    SECONDS = "seconds"
    FACTOR = "factor"
    PER_S = "per second"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that can be measured and bounded."""

    key: str  # as in the file: `first_token.p99`
    title: str
    unit: Unit
    is_at_least: bool = False  # else the bound is a most


@dataclass(frozen=True, slots=True)
class Bound:
    """One expectation."""

    measure: Measure
    value: float

    def holds(self, measured: float | None) -> bool:
        """Whether it is met; what could not be measured does not break it."""
        if measured is None:
            return True
        if self.measure.is_at_least:
            return measured >= self.value - _EPSILON
        return measured <= self.value + _EPSILON


# Shares and sums of floats, far below anything that a bound could mean.
_EPSILON: Final = 1e-9

Expectations = tuple[Bound, ...]

MEASURES: Final = (
    Measure("availability", "availability", Unit.SHARE, is_at_least=True),
    Measure("first_token.p50", "first token, p50", Unit.SECONDS),
    Measure("first_token.p95", "first token, p95", Unit.SECONDS),
    Measure("first_token.p99", "first token, p99", Unit.SECONDS),
    Measure("worst_request", "worst wait for a first token", Unit.SECONDS),
    Measure("amplification", "attempts a request", Unit.FACTOR),
    Measure("cost_multiplier", "prompts paid an answer", Unit.FACTOR),
    Measure("cut_streams", "streams cut", Unit.COUNT),
    Measure("sick_target", "requests to a sick target", Unit.PER_S),
    Measure("recovery", "last failure after healing", Unit.SECONDS),
    Measure("failback", "first target used again after", Unit.SECONDS),
)
"""All that can be expected, in the order of reports."""


def read_expectations(section: Section | None) -> Expectations:
    """Read `expect:`."""
    if section is None:
        return ()
    bounds: list[Bound] = []
    inner = section.section("first_token", like="{p99: 6s}")
    for measure in MEASURES:
        outer, _, key = measure.key.rpartition(".")
        place = inner if outer else section
        if place is not None:
            value = place.take(key, _PARSERS[measure.unit], None)
            if value is not None:
                bounds.append(Bound(measure, value))
    if inner is not None:
        inner.close()
    section.close()
    return tuple(bounds)


def _any_share(value: object) -> float:
    is_none = value == "0%" or (value == 0 and not isinstance(value, bool))
    return 0.0 if is_none else share(value)


def _factor(value: object) -> float:
    factor = number(value)
    if factor < 1:
        raise TextError("is below 1", "Write 1 or more: every answer takes a request.")
    return factor


_PARSERS: Final[dict[Unit, Callable[[object], float | None]]] = {
    Unit.SHARE: _any_share,
    Unit.SECONDS: lambda value: instant(value) if value == "0s" else duration(value),
    Unit.FACTOR: _factor,
    Unit.PER_S: rate,
    Unit.COUNT: count,
}
