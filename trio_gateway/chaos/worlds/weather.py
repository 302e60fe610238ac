"""Which fault strikes which request: chance, but the same chance in every run.

Each request draws once, from dice of its own, so that neither the order of arrival nor
a fault added elsewhere changes what happens to it. When faults reign is drawn for a
whole failure domain, so that its providers fail together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    ChatRequest,
    Dialect,
    Pace,
    Voice,
)
from trio_gateway.chaos.vocabulary.climate import Day
from trio_gateway.chaos.vocabulary.distortion import distort
from trio_gateway.chaos.vocabulary.effects import Effect
from trio_gateway.chaos.vocabulary.errors import http_error_script
from trio_gateway.chaos.vocabulary.faults import Fault
from trio_gateway.chaos.vocabulary.script import Behaviour, Onset
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.spread import Spread


@dataclass(frozen=True, slots=True)
class Weather:
    """One provider's faults, of which at most one strikes a request.

    Their rates share one draw, so those that are possible at the same time add up to at
    most one; `ValueError` otherwise. Rhythms of chance reign only once `drawn`.
    """

    provider: str = "provider"
    faults: tuple[Fault, ...] = ()
    pace: Pace = field(default_factory=Pace)
    dialect: Dialect = Dialect.OPENAI
    domain: str | None = None  # None: it fails alone
    first_token: Spread | None = None  # drawn from it, instead of the pace's
    day: Day | None = None

    def __post_init__(self) -> None:
        for fault in self.faults:
            total = sum(other.rate for other in self.faults if _meet(fault, other))
            # Ten rates of 10 % are a whole, whatever floating point makes of them.
            if total > 1.0 + 1e-9:
                first = fault.after + 1
                raise ValueError(
                    f"the rates of the faults add up to {total:g} at request {first}, "
                    "but at most one of them can strike a request: give each a rate, "
                    "such as rate=20%"
                )

    def drawn(self, seed: int) -> "Weather":
        """Draw when faults reign that have a rhythm of chance."""
        name = f"{seed}/{self.domain or self.provider}/when"
        faults = (
            replace(fault, when=fault.when.drawn(f"{name}/{place}"))
            for place, fault in enumerate(self.faults)
        )
        return replace(self, faults=tuple(faults))

    def behaviour_for(
        self,
        request: ChatRequest,
        *,
        seed: int,
        number: int,
        at_s: float = 0.0,
        before: int = 0,
    ) -> Behaviour:
        """Decide what is done with the request of that number (from 1).

        Args:
            request: as it came.
            seed: of all dice.
            number: counted since the provider started: it names the dice.
            at_s: seconds since this weather began.
            before: requests that came before this weather began.
        """
        try:
            asked = Asked.of(request)
        except ValueError as error:
            return http_error_script(400, str(error))
        pace = (
            self.pace if self.day is None else self.pace.slower(self.day.factor(at_s))
        )
        voice = Voice(self.provider, seed, number, pace, self.dialect)
        if self.first_token is not None:
            share = voice.random("first_token").random()
            factor = 1.0 if self.day is None else self.day.factor(at_s)
            first_token_s = self.first_token.at(share) * factor
            voice = replace(voice, pace=replace(pace, first_token_s=first_token_s))
        reigning = (
            fault
            for fault in self.faults
            if fault.is_possible(number - before)
            and fault.is_about(asked.model)
            and fault.when.reigns(at_s)
        )
        return distort(_struck(reigning, voice), asked, voice)

    def onset_for(
        self, model: str, *, seed: int, number: int, after_s: float
    ) -> Onset | None:
        """Say which fault ends the answer to a request by beginning; None: none does.

        Args:
            model: that is asked for.
            seed: of all dice.
            number: of the request.
            after_s: when it was there, in seconds since this weather began.
        """
        faults = striking(fault for fault in self.faults if fault.is_about(model))
        return onset_of(faults, f"{seed}/{self.provider}/{number}", after_s=after_s)


def _struck(faults: Iterable[Fault], voice: Voice) -> Sequence[Effect]:
    """Let the request draw which of the faults strikes it, if any."""
    draw = voice.random("weather").random()
    for fault in faults:
        if draw < fault.rate:
            return fault.effects
        draw -= fault.rate
    return ()


def _meet(fault: Fault, other: Fault) -> bool:
    """Say whether both may strike where the first of them begins."""
    return (
        other.is_possible(fault.after + 1)
        and other.when.from_s <= fault.when.from_s < other.when.until_s
        and (None in (fault.models, other.models) or fault.models == other.models)
    )
