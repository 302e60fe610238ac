"""How clients are written in a scenario, and what crowds a written one comes to.

The simulator's crowds have one rate each. A load that changes, over a day or in bursts,
is cut into pieces, each a crowd of its own.
"""

import itertools
from dataclasses import dataclass
from math import ceil, cos, inf, pi
from typing import Final

from trio_gateway.chaos.scenarios.reading import (
    Section,
    count,
    duration,
    instant,
    number,
    one_of,
    rate,
    share,
    switch,
    text,
)
from trio_gateway.chaos.scenarios.spreads import seconds, tokens
from trio_gateway.chaos.worlds.spread import ANSWER_TOKENS
from trio_gateway.chaos.worlds.world import Arrivals, Clients, Library
from trio_gateway.policy.files.document import KeyPath
from trio_gateway.policy.format.quantities import parse_size

# A day by the half hour: the rate hardly changes within one.
_DAY_S: Final = 24 * 3600.0
_PIECES_A_DAY: Final = 48
# Each piece is a crowd that the simulator keeps; a day has so many bursts at most.
_PIECES_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Bursts:
    """Every so often, for some seconds, so many times as many come."""

    factor: float
    every_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class CrowdSpec:
    """Clients as written; `slug` is None where the policy's first model is meant."""

    path: KeyPath
    slug: str | None
    base: Clients
    lowest_share: float | None
    day_s: float
    bursts: Bursts | None

    def crowds(self, slug: str, duration_s: float) -> tuple[Clients, ...]:
        """The crowds that it comes to, for one model."""
        until_s = min(self.base.until_s, duration_s)
        edges = sorted({self.base.from_s, until_s, *self._edges(until_s)})
        pieces = [
            (from_s, to_s)
            for from_s, to_s in itertools.pairwise(edges)
            if self.base.from_s <= from_s < to_s <= until_s
        ]
        base = self.base
        return tuple(
            Clients(
                slug=slug,
                rate_per_s=base.rate_per_s * self._factor((from_s + to_s) / 2),
                from_s=from_s,
                until_s=to_s,
                arrivals=base.arrivals,
                is_stream=base.is_stream,
                answer_tokens=base.answer_tokens,
                max_tokens=base.max_tokens,
                request_bytes=base.request_bytes,
                patience=base.patience,
                library=base.library,
            )
            for from_s, to_s in pieces
        )

    def _edges(self, until_s: float) -> list[float]:
        edges: list[float] = []
        if self.lowest_share is not None:
            step_s = self.day_s / _PIECES_A_DAY
            edges += [index * step_s for index in range(ceil(until_s / step_s))]
        if self.bursts is not None:
            every_s, for_s = self.bursts.every_s, self.bursts.for_s
            for index in range(ceil(until_s / every_s)):
                edges += [index * every_s, index * every_s + for_s]
        return edges

    def _factor(self, at_s: float) -> float:
        factor = 1.0
        if self.lowest_share is not None:
            # Lowest at the beginning, highest half a day later.
            height = (1 - cos(2 * pi * at_s / self.day_s)) / 2
            factor = self.lowest_share + (1 - self.lowest_share) * height
        if self.bursts is not None and at_s % self.bursts.every_s < self.bursts.for_s:
            factor *= self.bursts.factor
        return factor


def read_crowd(section: Section, duration_s: float) -> CrowdSpec:
    """Read one entry of `clients:`."""
    slug = section.take("model", text, None)
    arrivals = one_of([each.value for each in Arrivals], what="a way to arrive")
    per_s = section.need("rate", rate, 1.0, "Write how many come: 20/s.")
    base = Clients(
        slug=slug or "",
        rate_per_s=per_s,
        from_s=section.take("from", instant, 0.0),
        until_s=section.take("until", duration, inf),
        arrivals=Arrivals(section.take("arrivals", arrivals, "poisson")),
        is_stream=section.take("stream", switch, default=True),
        answer_tokens=section.take("answer_tokens", tokens, ANSWER_TOKENS),
        max_tokens=section.take("max_tokens", count, None),
        request_bytes=section.take("prompt", parse_size, 500),
        patience=section.take("leave_after", seconds, None),
        library=_library(section.section("library", like="{retries: 2}")),
    )
    daily = section.section("daily", like="{lowest: 30%}")
    bursts = section.section("bursts", like="{factor: 5, every: 1m, for: 5s}")
    spec = CrowdSpec(
        path=section.path,
        slug=slug,
        base=base,
        lowest_share=daily.take("lowest", share, 0.3) if daily else None,
        day_s=daily.take("day", duration, _DAY_S) if daily else _DAY_S,
        bursts=_bursts(bursts),
    )
    if daily is not None:
        daily.close()
    if len(spec._edges(duration_s)) > _PIECES_MAX:  # noqa: SLF001 - made right here
        section.complain(None, "changes its rate too often", "Lengthen the periods.")
    section.close()
    return spec


def _library(section: Section | None) -> Library | None:
    if section is None:
        return None
    library = Library(
        retries_max=section.take("retries", count, 2),
        timeout_s=section.take("timeout", duration, 600.0),
    )
    section.close()
    return library


def _bursts(section: Section | None) -> Bursts | None:
    if section is None:
        return None
    bursts = Bursts(
        factor=section.need("factor", number, 1.0, "Write how many times as many: 5."),
        every_s=section.need("every", duration, 60.0, "Write how often: 1m."),
        for_s=section.need("for", duration, 5.0, "Write how long: 5s."),
    )
    section.close()
    return bursts
