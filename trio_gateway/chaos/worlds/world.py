"""A world to simulate, as values: targets and their spells of bad weather, and clients.

Targets are described by what a gateway can notice of them. A *spell* is a stretch of
time in which one effect strikes some or all of the requests that are sent then:

    seconds   0        60                 120               180
    target a  |--------|== Fails, 25 % ===|-----------------|
    target b  |--------|------------------|== Slows 8 x ====|
    target c  |--------|##  ##  ##  ##  ##|  flaps: on and off while it lasts

At most one effect strikes a request, decided when it is sent. What is under way when a
spell begins goes on, unless the spell says otherwise: then each of its beginnings may
end it. When a spell ends, nothing changes. All times are seconds from the beginning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Final

from trio_gateway.chaos.vocabulary.climate import next_lap
from trio_gateway.chaos.vocabulary.script import UnderWay
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.spread import ANSWER_TOKENS, FIRST_TOKENS, Spread
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route

_RESET: Final = Failure(FailureClass.INTERRUPTED, "connection reset")


@dataclass(frozen=True, slots=True)
class Slows:
    """Everything takes so many times as long."""

    factor: float


@dataclass(frozen=True, slots=True)
class Breaks:
    """The answer breaks off, at a point that is drawn evenly from its whole length."""

    failure: Failure = _RESET


@dataclass(frozen=True, slots=True)
class Shrinks:
    """Only this share of its slots is there; it strikes the target, not a request."""

    share: float


Effect = Fails | Hangs | Slows | Breaks | Shrinks


@dataclass(frozen=True, slots=True)
class Spell:
    """One effect, when, and on which share of the requests.

    `flaps` are the seconds that it is on and off, again and again. `under_way` is what
    becomes of the same share of what is under way, each time that it begins.
    """

    effect: Effect
    from_s: float = 0.0
    until_s: float = inf
    share: float = 1.0
    flaps: tuple[float, float] | None = None
    under_way: UnderWay = UnderWay.GOES_ON

    def is_on(self, at_s: float) -> bool:
        """Whether it reigns at this instant."""
        if not self.from_s <= at_s < self.until_s:
            return False
        if self.flaps is None:
            return True
        on_s, off_s = self.flaps
        return (at_s - self.from_s) % (on_s + off_s) < on_s

    def next_edge(self, at_s: float) -> float:
        """The next instant at which it begins or ends; inf where there is none."""
        if at_s < self.from_s:
            return self.from_s
        if at_s >= self.until_s:
            return inf
        if self.flaps is None:
            return self.until_s
        on_s, off_s = self.flaps
        lap_s = (at_s - self.from_s) % (on_s + off_s)
        next_s = on_s if lap_s < on_s else on_s + off_s
        return min(self.until_s, at_s + next_s - lap_s)

    def next_begin(self, after_s: float) -> float:
        """The next instant after this one at which it begins; inf: there is none."""
        if self.flaps is None:
            return self.from_s if after_s < self.from_s else inf
        at_s = next_lap(self.from_s, sum(self.flaps), after_s)
        return at_s if at_s < self.until_s else inf


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a target can do at once, and what becomes of the rest.

    Those beyond `slots` stand in line, first come, first served; those beyond
    `line_max` are refused as overloaded. A target that does not notice who has left
    works for nobody.
    """

    slots: int
    line_max: int | None = None
    notices_departures: bool = True


@dataclass(frozen=True, slots=True)
class SimulatedTarget:
    """How one target behaves."""

    first_token: Spread = FIRST_TOKENS["gpt-4.1"]
    gap_s: float = 0.01  # 100 tokens a second
    spells: tuple[Spell, ...] = ()
    capacity: Capacity | None = None


class Arrivals(Enum):
    """How clients come."""

    POISSON = "poisson"  # independently of each other
    EVEN = "even"  # at equal distances


@dataclass(frozen=True, slots=True)
class Library:
    """How an official client library tries again by itself.

    It obeys `x-should-retry` and `retry-after`; one that has waited `timeout_s` without
    a byte leaves, and asks again as well.
    """

    retries_max: int = 2
    timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Clients:
    """A crowd of one kind. `patience` is how long a person stays, whatever happens."""

    slug: str
    rate_per_s: float
    from_s: float = 0.0
    until_s: float = inf
    arrivals: Arrivals = Arrivals.POISSON
    is_stream: bool = True
    answer_tokens: Spread = ANSWER_TOKENS
    max_tokens: int | None = None  # what the request says
    request_bytes: int = 500
    patience: Spread | None = None
    library: Library | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a simulation runs on.

    `targets` by their id; those not described are healthy and of the usual speed.
    """

    routes: tuple[Route, ...]
    clients: tuple[Clients, ...]
    duration_s: float
    targets: Mapping[str, SimulatedTarget] = field(default_factory=dict)
    max_in_flight: int | None = None  # exchanges at once, in the whole gateway
