"""What may go wrong with a target, by the words of scenario files.

A *forecast* is one entry of a scenario's weather, not yet of any target. Errors are
written as the real answers of `vocabulary.errors`, and read by the target's own
dialect when a forecast becomes spells: what the simulator tells the engine is what the
bytes would have told it, and `wire` sends those bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import exp, inf
from random import Random
from typing import Final

from trio_gateway.chaos.scenarios.reading import (
    Section,
    duration,
    error_status,
    instant,
    number,
    one_of,
    share,
)
from trio_gateway.chaos.vocabulary.answers import Asked, Voice
from trio_gateway.chaos.vocabulary.errors import Hint, HintForm, error_script
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Refusal,
    UnderWay,
    usual_under_way,
)
from trio_gateway.chaos.worlds.outline import Fails, Hangs, outline_of
from trio_gateway.chaos.worlds.world import Breaks, Effect, Shrinks, Slows, Spell
from trio_gateway.policy.files.problems import listed
from trio_gateway.policy.route import CommitPoint, Target
from trio_gateway.providers.table import provider_for

# How soon a provider refuses: about a round trip and its front door.
ERROR_AFTER_S: Final = 0.05

# The hour at which all simulations begin, for hints that are dates.
WALL_AT_START: Final = 1_760_000_000.0

Bad = Behaviour | Slows | Breaks | Shrinks
"""What a target does: an answer as it would send it, or a change of its pace."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """One stretch of bad weather, relative to nothing but the beginning."""

    what: Bad
    from_s: float = 0.0
    until_s: float = inf
    share: float = 1.0
    flaps: tuple[float, float] | None = None
    under_way: UnderWay | None = None  # None: as is usual for it

    def spell(self, target: Target) -> Spell:
        """The spell that it is for one target."""
        under_way = self.under_way
        if under_way is None:
            under_way = usual_under_way(self.what)
        return Spell(
            effect_of(self.what, target),
            self.from_s,
            self.until_s,
            self.share,
            self.flaps,
            under_way,
        )


def effect_of(what: Bad, target: Target) -> Effect:
    """What a gateway notices, read as the target's dialect reads it."""
    if isinstance(what, Slows | Breaks | Shrinks):
        return what
    outline = outline_of(
        what,
        is_stream=True,
        provider=provider_for(target.account),
        commit=CommitPoint(),
        idle_s=inf,
        wall_now=WALL_AT_START,
    )
    assert isinstance(outline, Fails | Hangs), "a fault gives no answer"
    return outline


def an_error(
    status: int | None = None, *, name: str | None = None, hint: Hint | None = None
) -> Behaviour:
    """A provider's error, with its usual body."""
    asked, voice = Asked(model="simulated"), Voice()
    script = error_script(asked, voice, name=name, status=status, hint=hint)
    return replace(script, head_after_s=ERROR_AFTER_S)


# The words of `fault:`

Read = Callable[[Section], Bad]


def _errors(section: Section) -> Bad:
    return an_error(section.take("status", error_status, 503))


def _throttled(section: Section) -> Bad:
    status = section.take("status", error_status, 429)
    if not section.has("retry_after"):
        return an_error(status)
    forms = [form.value for form in HintForm if form is not HintForm.RAW]
    form = section.take("hint", one_of(forms, what="a form of a hint"), "seconds")
    seconds = section.take("retry_after", duration, 1.0)
    return an_error(status, hint=Hint(HintForm(form), seconds))


def _slow(section: Section) -> Bad:
    return Slows(section.need("factor", number, 1.0, "Write how much slower: 8."))


def _capacity(section: Section) -> Bad:
    return Shrinks(section.need("left", share, 1.0, "Write what is left: 20%."))


FAULTS: Final[Mapping[str, tuple[str, Read]]] = {
    "down": (
        "no connection: it is refused at once",
        lambda _: Refusal.CONNECT_REFUSED,
    ),
    "black_hole": (
        "no connection: it is never made",
        lambda _: Refusal.CONNECT_HANG,
    ),
    "silence": ("the request is read, and nothing comes", lambda _: Refusal.SILENCE),
    "closes": (
        "the request is read, then the connection ends",
        lambda _: Refusal.CLOSE,
    ),
    "errors": ("an error, `status` (503)", _errors),
    "throttled": ("a 429, that says when to come back: `retry_after`", _throttled),
    "auth": ("a 401: our key is refused", lambda _: an_error(401)),
    "quota": ("a 429 without money", lambda _: an_error(name="quota")),
    "slow": ("everything takes `factor` times as long", _slow),
    "resets": ("answers break off in the middle", lambda _: Breaks()),
    "capacity": ("only the share `left` of its slots is there", _capacity),
}
"""Every fault that a scenario may write, what it is, and how its own keys are read."""

TIMES: Final = ("from", "until", "for")
OF_PRESETS: Final = ("preset", *TIMES, "speed")
OF_FAULTS: Final = ("fault", *TIMES, "share", "flaps", "under_way")
OF_SOME_FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "errors": ("status",),
    "throttled": ("status", "retry_after", "hint"),
    "slow": ("factor",),
    "capacity": ("left",),
}
"""Their keys: of presets, of all faults, and of some besides."""


# The words of `preset:`


@dataclass(frozen=True, slots=True)
class Moment:
    """What a preset may depend on: its dice, and which of a provider's models it is."""

    dice: Random
    model: int


Plan = Callable[[Moment], tuple[Forecast, ...]]

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_503: Final = an_error(503)
_500: Final = an_error(500)
_529: Final = an_error(529)
_429: Final = an_error(429)
_401: Final = an_error(401)


def _calm(_: Moment) -> tuple[Forecast, ...]:
    return (
        Forecast(_503, share=0.0025),
        Forecast(_429, share=0.0025),
        Forecast(Breaks(), share=0.001),
        Forecast(Refusal.SILENCE, share=0.0005),
    )


def _partial25(moment: Moment) -> tuple[Forecast, ...]:
    # OpenAI's incidents of 2021 to 2024, in minutes from first update to resolution.
    minutes = exp(moment.dice.gauss(4.32, 1.17))
    return (Forecast(_500, until_s=minutes * _MINUTE, share=0.25),)


def _per_model(moment: Moment) -> tuple[Forecast, ...]:
    back_after = (17.0, 75.0, 111.0)
    minutes = back_after[min(moment.model, len(back_after) - 1)]
    until_s = minutes * _MINUTE
    return tuple(Forecast(each, until_s=until_s, share=0.5) for each in (_500, _529))


def _staged(*stages: tuple[float, float, float, Bad]) -> Plan:
    """Hours from, hours until, share, what."""
    forecasts = tuple(
        Forecast(what, from_h * _HOUR, until_h * _HOUR, share)
        for from_h, until_h, share, what in stages
    )
    return lambda _: forecasts


PRESETS: Final[Mapping[str, tuple[str, Plan]]] = {
    "calm": ("a good day: half a percent of errors, one cut in a thousand", _calm),
    "datadog": (
        "5 % errors, most of them throttles, as in February 2026",
        _staged((0, inf, 0.03, _429), (0, inf, 0.02, _500)),
    ),
    "partial25": ("a quarter fails, as long as OpenAI's incidents last", _partial25),
    "blackout": (
        "nothing for four hours",
        _staged((0, 4, 1.0, Refusal.CONNECT_HANG)),
    ),
    "brownout": (
        "8 times slower, and 3 % never answer",
        _staged((0, inf, 0.03, Refusal.SILENCE), (0, inf, 0.97, Slows(8.0))),
    ),
    "auth_storm": (
        "every key is refused for 78 minutes: Anthropic, April 2026",
        _staged((0, 1.3, 1.0, _401)),
    ),
    "per_model": (
        "500 and 529, models back after 17, 75 and 111 minutes: Anthropic, June 2026",
        _per_model,
    ),
    "flap": (
        "20 s down, 20 s up",
        lambda _: (Forecast(Refusal.CONNECT_REFUSED, flaps=(20.0, 20.0)),),
    ),
    "control_plane_loss": (
        "nearly everything fails, back in stages: OpenAI, December 2024",
        _staged((0, 2.33, 0.95, _503), (2.33, 3.5, 0.4, _503), (3.5, 4.37, 0.05, _503)),
    ),
    "slow_ramp": (
        "5 %, then a quarter fails, for 13 hours: OpenAI, June 2025",
        _staged((0, 2, 0.05, _500), (2, 10, 0.25, _500), (10, 13, 0.1, _500)),
    ),
    "dns_loss": (
        "a region without DNS: AWS us-east-1, October 2025",
        _staged((0, 3, 1.0, Refusal.NAME_UNKNOWN), (3, 15, 0.3, _500)),
    ),
    "edge_loss": (
        "the front door is gone, the machines are well: Azure, October 2025",
        _staged((0, 4, 0.9, an_error(502)), (4, 8, 0.3, an_error(504))),
    ),
}
"""Weathers by name; those with a date have the shape of a real incident."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a target's weather as written, a fault or a preset."""

    plan: Plan
    from_s: float
    until_s: float
    speed: float

    def forecasts(self, moment: Moment) -> tuple[Forecast, ...]:
        """What it comes to."""
        found: list[Forecast] = []
        for one in self.plan(moment):
            from_s = self.from_s + one.from_s / self.speed
            until_s = min(self.until_s, self.from_s + one.until_s / self.speed)
            if from_s < until_s:
                found.append(replace(one, from_s=from_s, until_s=until_s))
        return tuple(found)


def read_entry(section: Section) -> Entry:
    """Read `{fault: ...}` or `{preset: ...}` with its own keys and its time."""
    from_s = section.take("from", instant, 0.0)
    until_s = section.take("until", instant, inf)
    if section.has("for"):
        if section.has("until"):
            section.complain("for", "says what `until` says", "Keep one of them.")
        until_s = from_s + section.take("for", duration, inf)
    if until_s <= from_s:
        section.complain("until", "is not after `from`", "Write a later time.")
        until_s = inf
    speed = 1.0
    if section.has("preset"):
        word = section.take("preset", one_of(PRESETS, what="a preset"), "calm")
        speed = section.take("speed", number, 1.0)
        plan = PRESETS[word][1]
        if section.has("fault"):
            section.complain("fault", "stands beside a preset", "Make two entries.")
    else:
        plan = _fault(section)
    section.close(_owner_of)
    return Entry(plan, from_s, until_s, speed)


def _owner_of(key: str) -> str | None:
    """What a key belongs to that is none of this entry's; None: to nothing."""
    owners = [
        f"`fault: {fault}`" for fault, own in OF_SOME_FAULTS.items() if key in own
    ]
    if key in OF_FAULTS:
        owners = ["faults"]
    if key in OF_PRESETS:
        owners = ["presets"]
    return listed(owners) if owners else None


def _fault(section: Section) -> Plan:
    remedy = "Write what goes wrong, such as `fault: down`, or a `preset`."
    word = section.need("fault", one_of(FAULTS, what="a fault"), "", remedy)
    if not word:  # whose its keys would have been is not known
        for key in chain(*OF_SOME_FAULTS.values()):
            section.has(key)
    what = FAULTS[word or "down"][1](section)
    forecast = Forecast(
        what,
        share=section.take("share", share, 1.0),
        flaps=_flaps(section.section("flaps", like="{down: 20s, up: 20s}")),
        under_way=_under_way(section),
    )
    return lambda _: (forecast,)


def _under_way(section: Section) -> UnderWay | None:
    fate = one_of(list(UnderWay), what="what can become of open answers")
    word = section.take("under_way", fate, "")
    return UnderWay(word) if word else None


def _flaps(section: Section | None) -> tuple[float, float] | None:
    if section is None:
        return None
    on_s = section.need("down", duration, 20.0, "Write how long it lasts: 20s.")
    off_s = section.need("up", duration, 20.0, "Write how long all is well: 20s.")
    section.close()
    return on_s, off_s
