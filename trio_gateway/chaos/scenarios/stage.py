"""A scenario's targets as answers in bytes, so that sockets can play it.

The simulator tells the engine what a target gives; here the same description becomes
the scripts that `server` plays: the same distributions, spells and errors, with dice of
each request's own. A simulated client's request says whose it is and how long its
answer will be, and then its luck is what the simulator would draw for it: the same run,
on sockets.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from trio_gateway.chaos.provider.door import Hours
from trio_gateway.chaos.provider.seen import SeenRequest
from trio_gateway.chaos.provider.server import House, Room, SimulatedProvider
from trio_gateway.chaos.scenarios.forecast import Bad
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    ChatRequest,
    Dialect,
    Pace,
    Voice,
    good_script,
)
from trio_gateway.chaos.vocabulary.errors import error_script, http_error_script
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Overtaken,
    Pause,
    Refusal,
    Script,
    Step,
)
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.spread import ANSWER_TOKENS
from trio_gateway.chaos.worlds.supply import draws
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.chaos.worlds.world import (
    Breaks,
    Effect,
    Shrinks,
    SimulatedTarget,
    Slows,
    Spell,
)
from trio_gateway.policy.route import Account, ProviderKind

_DIALECTS: Final[Mapping[ProviderKind, Dialect]] = {
    ProviderKind.OPENAI: Dialect.OPENAI,
    ProviderKind.AZURE: Dialect.AZURE,
}


# What is decided before there is a request.
AT_CONNECT: Final = frozenset(
    {Refusal.CONNECT_REFUSED, Refusal.NAME_UNKNOWN, Refusal.CONNECT_HANG}
)

# Of so many requests' names it is known how often they were here; the oldest go first.
TURNS_MAX: Final = 10_000

OnRequest = Callable[[SeenRequest], None]


@dataclass(frozen=True, slots=True)
class Role:
    """One target as its scenario describes it, and what is behind its effects."""

    spec: SimulatedTarget
    behind: Mapping[Effect, Bad]


@dataclass(frozen=True, slots=True)
class Actor:
    """One provider of a scenario: all its targets, by the model they are asked for."""

    name: str
    dialect: Dialect
    roles: Mapping[str, Role]
    seed: int = 0
    _turns: OrderedDict[str, int] = field(default_factory=OrderedDict, repr=False)

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The capacity of each model that has one."""
        return {
            model: Room(role.spec.capacity, _shrinks(role.spec))
            for model, role in self.roles.items()
            if role.spec.capacity is not None
        }

    @property
    def hours(self) -> Hours | None:
        """When none of its models can be reached; None: there is always one."""
        shutting = tuple(
            tuple(
                (spell, what)
                for spell in role.spec.spells
                if isinstance(what := role.behind[spell.effect], Refusal)
                and what in AT_CONNECT
                and spell.share >= 1.0
            )
            for role in self.roles.values()
        )
        return Hours(shutting) if all(shutting) else None

    def provider(
        self, *, speed: float = 1.0, on_request: OnRequest | None = None
    ) -> SimulatedProvider:
        """Make the provider that plays it; its time begins when it serves."""
        house = House(
            dialect=self.dialect,
            models=tuple(self.roles),
            rooms=self.rooms,
            speed=speed,
            hours=self.hours,
        )
        weather = Weather(provider=self.name, dialect=self.dialect)
        return SimulatedProvider.in_weather(
            weather,
            seed=self.seed,
            house=house,
            play=self.behaviour_for,
            on_request=on_request,
        )

    def behaviour_for(
        self, request: ChatRequest, number: int, at_s: float
    ) -> Behaviour | Overtaken:
        """Decide what is done with a request, so long after the beginning."""
        try:
            asked = Asked.of(request)
        except ValueError as error:
            return http_error_script(400, str(error))
        voice = Voice(self.name, self.seed, number, dialect=self.dialect)
        role = self.roles.get(asked.model)
        if role is None:
            return error_script(asked, voice, status=404)
        name = self._dice(asked, number)
        behaviour = self._behaviour(role, asked, voice, name, at_s)
        onset = onset_of(striking(role.spec.spells), name, after_s=at_s)
        return behaviour if onset is None else Overtaken(behaviour, onset)

    def _behaviour(
        self, role: Role, asked: Asked, voice: Voice, name: str, at_s: float
    ) -> Behaviour:
        luck, speed, place = draws(name)
        tokens = asked.answer_tokens or asked.tokens_max
        pace = Pace(
            tokens=tokens or round(ANSWER_TOKENS.at(speed)),
            first_token_s=role.spec.first_token.at(speed),
            gap_s=role.spec.gap_s,
        )
        what = _struck(role, luck, at_s)
        match what:
            case None:
                return good_script(asked, replace(voice, pace=pace))
            case Slows(factor):
                return good_script(asked, replace(voice, pace=pace.slower(factor)))
            case Breaks():
                return _broken(good_script(asked, replace(voice, pace=pace)), place)
            case _:
                return what

    def _dice(self, asked: Asked, number: int) -> str:
        """Name a request's dice: by the simulated client whose it is, or by number."""
        if asked.ticket is None or asked.answer_tokens is None:
            return f"{self.seed}/{self.name}/{number}/stage"
        name = f"{asked.ticket}/{self.name}/{asked.model}"
        turns = self._turns
        turns[name] = turn = turns.pop(name, 0) + 1
        if len(turns) > TURNS_MAX:
            turns.popitem(last=False)
        return f"{name}/{turn}"


def actors_of(setting: Setting, *, seed: int) -> tuple[tuple[Account, Actor], ...]:
    """Make the providers of a setting, in the order in which they are preferred."""
    accounts = {target.account.name: target.account for target in setting.targets}
    return tuple(
        (account, _actor(setting, account, seed)) for account in accounts.values()
    )


def _actor(setting: Setting, account: Account, seed: int) -> Actor:
    roles: dict[str, Role] = {}
    for target in setting.targets:
        if target.account.name == account.name:
            spec = setting.world.targets[target.id]
            roles[target.model] = Role(spec, setting.behind)
    return Actor(account.name, _DIALECTS[account.kind], roles, seed)


def _shrinks(spec: SimulatedTarget) -> tuple[Spell, ...]:
    return tuple(spell for spell in spec.spells if isinstance(spell.effect, Shrinks))


def _struck(role: Role, luck: float, at_s: float) -> Behaviour | Slows | Breaks | None:
    """Say what strikes a request that comes now: at most one thing, by one draw."""
    for spell in role.spec.spells:
        what = role.behind[spell.effect]
        if isinstance(what, Shrinks) or not spell.is_on(at_s):
            continue
        if luck < spell.share:
            return what
        luck -= spell.share
    return None


def _broken(good: Script, place: float) -> Script:
    """Reset an answer at a moment that is drawn evenly from its whole length."""
    pauses = (step.seconds for step in good.steps if isinstance(step, Pause))
    at_s = place * (good.head_after_s + sum(pauses))
    if at_s < good.head_after_s:
        return replace(good, head_after_s=at_s, steps=(), ending=Ending.RESET)
    left_s = at_s - good.head_after_s
    kept: list[Step] = []
    for step in good.steps:
        if isinstance(step, Pause):
            if step.seconds > left_s:
                kept.append(Pause(left_s))
                break
            left_s -= step.seconds
        kept.append(step)
    return replace(good, steps=tuple(kept), ending=Ending.RESET)
