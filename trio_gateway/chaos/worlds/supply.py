"""Simulated targets at work: what each request to one gets, and the line before it.

A supply draws from dice that are named after the request, never from a stream that all
requests share: whom a policy asks, and in which order, cannot change anybody's luck.
"""

from hashlib import blake2b
from struct import Struct
from typing import Final, Protocol

from trio_gateway.chaos.worlds.line import Line
from trio_gateway.chaos.worlds.outline import Answers, Fails, Outline
from trio_gateway.chaos.worlds.world import Breaks, Shrinks, SimulatedTarget, Slows
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint

_WORDS: Final = Struct("<3Q")
# Found more quickly than the members, in Python 3.11.
_FIRST_TOKEN: Final = CommitMode.FIRST_TOKEN
_TOKENS: Final = CommitMode.TOKENS
# More tokens than any answer has: it commits when whole.
_WHOLE: Final = 1_000_000_000


def opens_at_token(commit: CommitPoint, *, is_stream: bool) -> int:
    """Say how many tokens of an answer its commit point takes."""
    if is_stream and commit.mode is _FIRST_TOKEN:
        return 1
    if is_stream and commit.mode is _TOKENS:
        return commit.tokens
    return _WHOLE


def draws(name: str) -> tuple[float, float, float]:
    """Three draws, uniform in [0, 1), of the dice with this name.

    A hash of the name: to seed a generator for each attempt would take ten times as
    long.
    """
    digest = blake2b(name.encode(), digest_size=24).digest()
    first, second, third = _WORDS.unpack(digest)
    return (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53, (third >> 11) * 2.0**-53


class Supply(Protocol):
    """Where a simulated target's answers come from."""

    @property
    def line(self) -> "Line | None":
        """What stands before its slots; None where it has room for everybody."""

    def outline(
        self, name: str, *, tokens: int, opens_at_token: int, now: float
    ) -> Outline:
        """What one request gets.

        Args:
            name: of its dice.
            tokens: how long its answer is.
            opens_at_token: how many of them its commit point takes.
            now: when it is sent.
        """


class DrawnSupply:
    """A target as described by distributions and spells."""

    __slots__ = ("_shares", "_spec", "_spells", "line")

    def __init__(self, spec: SimulatedTarget) -> None:
        self._spec = spec
        self._spells = tuple(
            s for s in spec.spells if not isinstance(s.effect, Shrinks)
        )
        # Who draws more is struck by nothing, whatever is on: with room for rounding.
        self._shares = sum(spell.share for spell in self._spells) + 1e-9
        shrinking = tuple(s for s in spec.spells if isinstance(s.effect, Shrinks))
        self.line = Line(spec.capacity, shrinking) if spec.capacity else None

    def outline(
        self, name: str, *, tokens: int, opens_at_token: int, now: float
    ) -> Outline:
        """As `Supply.outline`."""
        luck, speed, place = draws(name)
        spec = self._spec
        first_s, gap_s = spec.first_token.at(speed), spec.gap_s
        breaks: Failure | None = None
        for spell in self._spells if luck < self._shares else ():
            if not spell.is_on(now):
                continue
            if luck >= spell.share:
                luck -= spell.share  # at most one strikes: they share one draw
                continue
            match spell.effect:
                case Slows(factor):
                    first_s, gap_s = first_s * factor, gap_s * factor
                case Breaks(failure):
                    breaks = failure
                case Shrinks():
                    pass
                case outline:
                    return outline
            break
        if opens_at_token > tokens:
            opens_at_token = tokens
        opens_s = first_s + (opens_at_token - 1) * gap_s
        ends_s = first_s + (tokens - 1) * gap_s
        if breaks is None:
            return Answers(opens_s, ends_s)
        at_s = place * ends_s
        if at_s < opens_s:
            early = Failure(FailureClass.BAD_ANSWER, breaks.cause, breaks.status)
            return Fails(early, at_s)
        return Answers(opens_s, at_s, breaks)


class ScriptedSupply:
    """A target that does one thing after the other; the last for ever."""

    __slots__ = ("_outlines", "_turn", "line")

    def __init__(self, outlines: tuple[Outline, ...]) -> None:
        self._outlines = outlines
        self._turn = 0
        self.line: Line | None = None

    def outline(
        self, name: str, *, tokens: int, opens_at_token: int, now: float
    ) -> Outline:
        """As `Supply.outline`; whoever asks."""
        outline = self._outlines[min(self._turn, len(self._outlines) - 1)]
        self._turn += 1
        return outline
