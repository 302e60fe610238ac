"""Health that is made up: `azure=open,openai=throttled:30s`, put upon a fleet.

    open[:TIME]        its breaker is open, for so long; else for as long as usual
    throttled[:TIME]   it has asked to be left alone: 30s, unless said otherwise
    disabled           an operator has taken it out of use
    full               it has as many attempts as it may have

A name is a provider's, for all of its targets, or a target's: `openai/gpt-4o`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trio_gateway.failover.cooldown import Disabled, Disablement
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.files.problems import did_you_mean, listed
from trio_gateway.policy.format.quantities import QuantityError, parse_duration
from trio_gateway.policy.route import Route, Target

# What a provider's rate limit, counted by the minute, asks for on average.
_THROTTLED_S: Final = 30.0


class Ill(StrEnum):
    """How a target may be given to be."""

    OPEN = "open"
    THROTTLED = "throttled"
    DISABLED = "disabled"
    FULL = "full"


_TIMED: Final = (Ill.OPEN, Ill.THROTTLED)


@dataclass(frozen=True, slots=True)
class Given:
    """One provider or target, and how it is."""

    name: str
    ill: Ill
    for_s: float | None = None


class GivenError(ValueError):
    """What was given cannot be; the text says what can."""


def parse_given(text: str) -> tuple[Given, ...]:
    """Read `NAME=STATE[:TIME],...`; nothing from an empty text.

    Raises:
        GivenError: It is anything else.
    """
    return tuple(map(_one, filter(None, map(str.strip, text.split(",")))))


def _one(text: str) -> Given:
    name, _, state = text.rpartition("=")
    word, _, time = state.partition(":")
    if not name or word not in list(Ill):
        instead = did_you_mean(word, Ill) or ""
        raise GivenError(
            f"{text!r} is not NAME=STATE; states are {listed(Ill)}. {instead}".strip()
        )
    ill = Ill(word)
    if not time:
        return Given(name, ill)
    if ill not in _TIMED:
        raise GivenError(f"{text!r}: {ill} takes no time")
    try:
        return Given(name, ill, parse_duration(time))
    except QuantityError as error:
        raise GivenError(f"{text!r}: {error}") from error


def impose(givens: Iterable[Given], route: Route, fleet: Fleet, now: float) -> None:
    """Make a fleet's targets of this route be as given.

    Raises:
        GivenError: A name is none of the route's.
    """
    for given in givens:
        named = list(_named(given.name, route))
        if not named:
            targets = (*route.targets, *route.context_chain)
            known = {t.id for t in targets} | {t.account.name for t in targets}
            instead = did_you_mean(given.name, known) or f"There are {listed(known)}."
            raise GivenError(f"{route.slug} has no target {given.name!r}. {instead}")
        for target in named:
            _impose(given, target, route, fleet, now)


def _named(name: str, route: Route) -> Iterator[Target]:
    for target in (*route.targets, *route.context_chain):
        if name in (target.id, target.account.name):
            yield target


def _impose(
    given: Given, target: Target, route: Route, fleet: Fleet, now: float
) -> None:
    health = fleet.health(target, now)
    match given.ill:
        case Ill.OPEN:
            breaker = health.breaker
            enough = float(target.breaker.consecutive)
            breaker.failed(now, breaker.sent(), "as given", weight=enough)
            if given.for_s is not None:
                breaker.open_until = now + given.for_s
        case Ill.THROTTLED:
            rest_s = given.for_s or _THROTTLED_S
            cap_s = route.retry.hint_cap_s
            health.cooldown.hint(now, rest_s, default_s=rest_s, cap_s=cap_s)
        case Ill.DISABLED:
            health.disable(Disablement.begin(Disabled.OPERATOR, now))
        case Ill.FULL:
            health.limiter.most = 0
