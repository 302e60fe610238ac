"""What an outage does at its beginning to the answers that are under way.

A fault strikes what is sent while it reigns. When a provider goes down, though, or a
network splits, what was sent before is struck as well, at that instant: each answer
draws for itself at each beginning, from dice of its own. So it is known when a request
is sent what will befall it, and all who ask by the same name are told the same.
"""

from collections.abc import Iterable
from math import inf
from typing import Final, Protocol, TypeVar

from trio_gateway.chaos.vocabulary.script import Onset, UnderWay
from trio_gateway.chaos.worlds.supply import draws

# An answer that so many beginnings have spared is spared by all: no answer is as long.
_BEGINNINGS_MAX: Final = 100


class Begins(Protocol):
    """What has beginnings: a spell or a fault."""

    @property
    def share(self) -> float:
        """Which part of what is under way it strikes."""

    @property
    def under_way(self) -> UnderWay:
        """What becomes of that."""

    def next_begin(self, after_s: float) -> float:
        """The next instant after this one at which it begins; inf: there is none."""


BeginsT = TypeVar("BeginsT", bound=Begins)


def striking(outages: Iterable[BeginsT]) -> tuple[BeginsT, ...]:
    """Those that do not let everything go on."""
    return tuple(one for one in outages if one.under_way is not UnderWay.GOES_ON)


def onset_of(
    outages: Iterable[Begins], name: str, *, after_s: float, until_s: float = inf
) -> Onset | None:
    """The first beginning that strikes one answer; None: it is left alone.

    Args:
        outages: the `striking` ones of its provider.
        name: of the answer's dice.
        after_s: when it was asked for.
        until_s: when it is over at the latest.
    """
    found = None
    for place, outage in enumerate(outages):
        at_s = _struck_at(outage, f"{name}/onset/{place}", after_s, until_s)
        if at_s < until_s:
            found, until_s = Onset(at_s, outage.under_way), at_s
    return found


def _struck_at(outage: Begins, name: str, at_s: float, until_s: float) -> float:
    for number in range(_BEGINNINGS_MAX):
        at_s = outage.next_begin(at_s)
        if at_s >= until_s:
            break
        if outage.share >= 1.0 or draws(f"{name}/{number}")[0] < outage.share:
            return at_s
    return inf
