"""The weather over one running provider: what it started with, and what it was told.

Whoever tells a provider of other faults starts a new count of requests and of seconds
for them; the dice go on, so that a run stays repeatable. A told weather may end by
itself, and then the first one is back, with its own count of both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from trio_gateway.chaos.vocabulary.answers import Asked, ChatRequest
from trio_gateway.chaos.vocabulary.faults import Fault
from trio_gateway.chaos.vocabulary.script import Behaviour, Onset, Overtaken
from trio_gateway.chaos.worlds.onsets import striking
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.chaos.worlds.weather import Weather

# Faults that one provider can be told of at once.
FAULTS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Reign:
    """A weather, and since and until when it is there. Times are on Trio's clock."""

    weather: Weather
    begun_at: float
    before: int = 0  # requests that came before
    ends_at: float = inf
    preset: str | None = None


Play = Callable[[ChatRequest, int, float], Behaviour | Overtaken]
"""Decides by a request, its number, and seconds."""


class Sky:
    """One provider's weather, which may be changed while it runs.

    Args:
        weather: that it starts with.
        seed: of all its dice.
        speed: how many of its seconds pass in one of ours.
        preset: the name of its preset, to be told.
        play: what is done while nobody has told it of faults, instead of the weather;
            by the request, its number, and seconds since the provider started.
    """

    def __init__(
        self,
        weather: Weather,
        *,
        seed: int = 0,
        speed: float = 1.0,
        preset: str | None = None,
        play: Play | None = None,
    ) -> None:
        self._seed = seed
        self._play = play
        self._speed = speed
        self._usual = Reign(weather.drawn(seed), begun_at=0.0, preset=preset)
        self._told: Reign | None = None
        self._is_begun = False
        self._requests = 0

    def begin(self, now: float) -> None:
        """Start the provider's time, once: at its start, or at its first request."""
        if not self._is_begun:
            self._is_begun = True
            self._usual = replace(self._usual, begun_at=now)

    def behaviour_for(
        self, request: ChatRequest, number: int, now: float
    ) -> Behaviour | Overtaken:
        """Decide what is done with the request of that number (from 1)."""
        self.begin(now)
        self._requests = number
        reign = self.reign(now)
        at_s = (now - reign.begun_at) * self._speed
        if self._play is not None and reign is self._usual:
            played = self._play(request, number, at_s)
            if isinstance(played, Overtaken):
                return replace(played, onset=self._on_clock(played.onset, reign))
            return played
        behaviour = reign.weather.behaviour_for(
            request,
            seed=self._seed,
            number=number,
            at_s=at_s,
            before=reign.before,
        )
        if not striking(reign.weather.faults):
            return behaviour  # as a rule; else the request is read once more
        try:
            model = Asked.of(request).model
        except ValueError:
            return behaviour
        onset = self.onset_for(model, number, now)
        return behaviour if onset is None else Overtaken(behaviour, onset)

    def onset_for(
        self, model: str, number: int, now: float, *, is_told: bool = False
    ) -> Onset | None:
        """Say which outage will meet the answer to a request that is there now.

        Args:
            model: that is asked for.
            number: of the request.
            now: from when on.
            is_told: whether the weather has just been told, and begins with this.
        """
        reign = self.reign(now)
        if self._play is not None and reign is self._usual:
            return None  # who plays knows
        after_s = (now - reign.begun_at) * self._speed
        onset = reign.weather.onset_for(
            model,
            seed=self._seed,
            number=number,
            after_s=-inf if is_told and reign is self._told else after_s,
        )
        return None if onset is None else self._on_clock(onset, reign)

    def _on_clock(self, onset: Onset, reign: Reign) -> Onset:
        return replace(onset, at_s=reign.begun_at + onset.at_s / self._speed)

    def reign(self, now: float) -> Reign:
        """Say which weather it is."""
        if self._told is not None and now >= self._told.ends_at:
            self._told = None
        return self._told or self._usual

    def tell(
        self,
        faults: Sequence[Fault],
        *,
        preset: str | None = None,
        lasts_s: float = inf,
        now: float,
    ) -> None:
        """Change the faults, from now on and for so many seconds of the clock.

        A preset's faults come before the others; its pace and capacity do not come:
        they are a provider's own.

        Raises:
            ValueError: the faults cannot be together; all is as it was.
        """
        ready = PRESETS[preset].faults if preset else ()
        chosen = (*ready, *faults)
        if len(chosen) > FAULTS_MAX:
            raise ValueError(f"{len(chosen)} faults are too many: {FAULTS_MAX} at most")
        weather = replace(self._usual.weather, faults=chosen).drawn(self._seed)
        ends_at = now + lasts_s
        self._told = Reign(weather, now, self._requests, ends_at, preset)

    def restore(self) -> None:
        """Go back to the weather it started with."""
        self._told = None
