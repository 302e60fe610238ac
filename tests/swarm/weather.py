"""Bad weather: what goes wrong with targets, when, and for how long after the spell.

Kinds are those of scenario files and some that they cannot write. Most targets that
throttle say when to come back in two ways: hints that disagree are the hard ones.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from tests.swarm.books import AUTH_S, LONGEST_UNHINTED_S, NOT_FOUND_S, QUOTA_S
from tests.swarm.policies import goes_on, is_narrow, targets_of
from trio_gateway.chaos.scenarios.forecast import Bad, an_error, effect_of
from trio_gateway.chaos.vocabulary.errors import Hint, HintForm
from trio_gateway.chaos.vocabulary.script import Refusal, UnderWay, usual_under_way
from trio_gateway.chaos.worlds.outline import Fails
from trio_gateway.chaos.worlds.world import (
    Breaks,
    Capacity,
    Effect,
    Shrinks,
    Slows,
    Spell,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Route, Target

# How long a target's own word keeps it out of use.
_OUT_S: Final = {"auth": AUTH_S, "not_found": NOT_FOUND_S, "quota": QUOTA_S}


def struck(targets: Sequence[Target], dice: Random) -> Iterator[Sequence[Target]]:
    """Whom each spell strikes: a target, or everybody at once."""
    for target in targets:
        for _ in range(dice.choice((0, 1, 1, 2, 3))):
            yield (target,)
    if dice.random() < 0.4:
        yield targets


def healed_of(routes: Sequence[Route], dice: Random) -> frozenset[str]:
    """Who is well in phase two: everybody, or just enough for every model.

    One that is well is enough only for a policy that goes on until it is found.
    """
    everybody = frozenset(target.id for target in targets_of(routes))
    if dice.random() < 0.5 or not all(map(goes_on, routes)):
        return everybody
    return frozenset(dice.choice(route.targets).id for route in routes)


def lasting(routes: Sequence[Route], dice: Random) -> Bad:
    """What is wrong with a target that does not heal."""
    kinds: list[Bad] = [
        Refusal.CONNECT_REFUSED,
        Refusal.CLOSE,
        an_error(503),
        an_error(429, hint=Hint(HintForm.SECONDS, 4.0)),
    ]
    is_patient = all(route.timeouts.precommit_s >= 20.0 for route in routes)
    if is_patient and not is_narrow(routes):
        kinds += [Refusal.SILENCE, Refusal.CONNECT_HANG]
    return dice.choice(kinds)


class Fates:
    """Draws what becomes of open answers when bad weather begins: often, as is usual.

    By dice of its own: so everything else of a seed's world is as it was before there
    was this to be drawn.
    """

    def __init__(self, seed: int) -> None:
        self._dice = Random(f"swarm/{seed}/under_way")

    def draw(self, bad: Bad | Fails) -> UnderWay:
        """One for each spell, whomever it strikes."""
        usual, other = usual_under_way(bad), self._dice.choice(tuple(UnderWay))
        return usual if self._dice.random() < 0.5 else other


class Weather:
    """Draws spells, and knows how long what they say keeps targets out of use."""

    def __init__(
        self, dice: Random, fates: Fates, heals_at: float, *, is_small: bool
    ) -> None:
        self.rests_s = LONGEST_UNHINTED_S
        self._dice = dice
        self._fates = fates
        self._heals_at = heals_at
        self._is_small = is_small

    def spells(
        self, meant: Sequence[Target]
    ) -> Iterator[tuple[Target, Spell, Bad | None]]:
        """One spell, or two that share one time, for everybody whom they strike."""
        dice = self._dice
        from_s = dice.uniform(0.0, 0.7 * self._heals_at)
        lasts_s = dice.uniform(1.0, self._heals_at)
        until_s = min(self._heals_at, from_s + lasts_s)
        share = dice.choice((0.1, 0.3, 0.6, 1.0, 1.0))
        flaps = dice.choice((None, None, None, (3.0, 4.0), (0.5, 1.0)))
        kind = dice.choice(_KINDS)
        count = dice.choice((1, 2, 2)) if kind == "throttle" else 1
        share /= count
        bads = [self._bad(kind) for _ in range(count)]
        for bad in bads:
            fate = self._fates.draw(bad)
            for target in meant:
                effect = _effect(bad, target)
                spell = Spell(effect, from_s, until_s, share, flaps, fate)
                yield target, spell, None if isinstance(bad, Fails) else bad

    def room(self) -> Capacity | None:
        """How much a target can do at once."""
        dice = self._dice
        if dice.random() < 0.8:
            return None
        return Capacity(
            slots=dice.choice((4, 40)),
            line_max=dice.choice((None, 10)),
            notices_departures=dice.random() < 0.7,
        )

    def _bad(self, kind: str) -> Bad | Fails:
        dice = self._dice
        match kind:
            case "gone":
                return dice.choice(
                    (Refusal.CONNECT_REFUSED, Refusal.CLOSE, Refusal.RESET)
                )
            case "black":
                return dice.choice((Refusal.CONNECT_HANG, Refusal.SILENCE))
            case "error":
                return an_error(dice.choice((500, 502, 503, 529, 408)))
            case "throttle":
                return self._throttle()
            case "out":
                return self._out()
            case "client":
                return an_error(
                    name=dice.choice(
                        ("bad_request", "content_filter", "context_length")
                    )
                )
            case "slow":
                return Slows(dice.choice((3.0, 8.0, 40.0)))
            case "small":
                return Shrinks(dice.choice((0.0, 0.2)))
            case _ if self._is_small:
                return Breaks()
            case _:
                unsent = Failure(FailureClass.NOT_PROCESSED, "stale connection")
                return dice.choice((Breaks(), Fails(unsent)))

    def _throttle(self) -> Bad:
        dice = self._dice
        names = ("rate_limit", "capacity", "slow_down", "overloaded")
        name = dice.choice(names)
        if dice.random() < 0.3:
            return an_error(name=name)
        forms = (HintForm.SECONDS, HintForm.MS, HintForm.TWICE, HintForm.DATE)
        wanted_s = dice.choice(
            (0.0, 1.0, 4.0, 20.0, 50.0 if self._is_small else 1000.0)
        )
        longest_s = 60.0 if self._is_small else 300.0
        self.rests_s = max(self.rests_s, min(2 * wanted_s, longest_s))
        return an_error(name=name, hint=Hint(dice.choice(forms), wanted_s))

    def _out(self) -> Bad:
        name = self._dice.choice(tuple(_OUT_S))
        hint = None
        if self._is_small:
            name = "not_found"  # the soonest over
        elif self._dice.random() < 0.6:
            name, hint = "quota", Hint(HintForm.SECONDS, 30.0)  # not to be believed
        self.rests_s = max(self.rests_s, _OUT_S[name])
        return an_error(name=name, hint=hint)


def _effect(bad: Bad | Fails, target: Target) -> Effect:
    return bad if isinstance(bad, Fails) else effect_of(bad, target)


_KINDS: Final = (
    *("gone",) * 3,
    *("black",) * 3,
    *("error",) * 4,
    *("throttle",) * 4,
    *("slow",) * 3,
    *("breaks",) * 2,
    "out",
    "client",
    "small",
)
