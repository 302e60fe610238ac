"""Which fault strikes which request: chance, but the same chance in every run.

Each request draws once, from dice of its own, so that neither the order of arrival nor
a fault added elsewhere changes what happens to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trio_gateway.chaos.answers import Asked, ChatRequest, Pace, Voice
from trio_gateway.chaos.distortion import distort
from trio_gateway.chaos.errors import http_error_script
from trio_gateway.chaos.faults import Effect, Fault, parse_fault
from trio_gateway.chaos.script import Behaviour


@dataclass(frozen=True, slots=True)
class Weather:
    """One provider's faults, of which at most one strikes a request.

    Their rates share one draw, so those that are possible at the same time add up to at
    most one; `ValueError` otherwise.
    """

    provider: str = "provider"
    faults: tuple[Fault, ...] = ()
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        for fault in self.faults:
            first = fault.after + 1
            total = sum(other.rate for other in self.faults if other.is_possible(first))
            # Ten rates of 10 % are a whole, whatever floating point makes of them.
            if total > 1.0 + 1e-9:
                raise ValueError(
                    f"the rates of the faults add up to {total:g} at request {first}, "
                    "but at most one of them can strike a request: give each a rate, "
                    "such as rate=20%"
                )

    def behaviour_for(
        self, request: ChatRequest, *, seed: int, number: int
    ) -> Behaviour:
        """Decide what is done with the request of that number (from 1)."""
        try:
            asked = Asked.of(request)
        except ValueError as error:
            return http_error_script(400, str(error))
        voice = Voice(provider=self.provider, seed=seed, number=number, pace=self.pace)
        return distort(self._effects_on(voice), asked, voice)

    def _effects_on(self, voice: Voice) -> Sequence[Effect]:
        draw = voice.random("weather").random()
        for fault in self.faults:
            if fault.is_possible(voice.number):
                if draw < fault.rate:
                    return fault.effects
                draw -= fault.rate
        return ()


def _preset(*texts: str) -> tuple[Fault, ...]:
    return tuple(map(parse_fault, texts))


PRESETS: Final[Mapping[str, tuple[Fault, ...]]] = {
    "calm": (),
    # Half of all requests suffer, each before its first token: whoever fails over well
    # answers every one of them.
    "flaky": _preset(
        "status=503,rate=11%",
        "status=429,retry_after=1s,rate=10%",
        "reset,rate=8%",
        "error_in_200,rate=8%",
        "role_only=cut,rate=8%",
        "delay=300ms,rate=5%",
    ),
}
"""Weathers by name, for the command line and the demo."""
