"""What every key of a scenario file is for: one sentence each, its default, an example.

The JSON Schema shows it in editors. What a value may be is said in the schema's words,
which stand in `forms`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trio_gateway.chaos.scenarios import forms
from trio_gateway.chaos.scenarios.expect import MEASURES, Unit
from trio_gateway.chaos.scenarios.forms import JsonSchema
from trio_gateway.chaos.worlds.world import Arrivals

# What keeps its meaning wherever it stands.
_FROM: Final = "When it begins, as seen from the beginning."


@dataclass(frozen=True, slots=True)
class Word:
    """One key: what it does, in a whole sentence, and what may stand behind it."""

    what: str
    value: JsonSchema
    example: object
    default: object = None  # None: nothing holds unless it is written
    is_needed: bool = False


Words = Mapping[str, Word]

SCENARIO: Final[Words] = {
    "version": Word("The format of the file.", {"const": 1}, 1, is_needed=True),
    "teaches": Word(
        "What there is to learn from it, shown under the verdict.",
        forms.TEXT,
        "A provider that is down costs nobody an answer.",
    ),
    "policy": Word(
        "A policy file or folder, as seen from here; or the policy itself.",
        {"anyOf": [forms.TEXT, {"$ref": "#/$defs/Policy"}]},
        "../two-providers.yaml",
        is_needed=True,
    ),
    "seed": Word("Of all dice: the same seed gives the same run.", forms.COUNT, 7, 1),
    "duration": Word(
        "How long clients come, in virtual time.", forms.DURATION, "10m", is_needed=True
    ),
    "targets": Word(
        "How targets are when all is well, by name or place.",
        forms.mapping_of("Target"),
        {"first": {"first_token": "gpt-4o", "tokens_per_second": 80}},
    ),
    "weather": Word(
        "What goes wrong at which targets, by name or place: first, second, third, "
        "others, all.",
        {
            "type": "object",
            "additionalProperties": forms.one_or_many("Weather", at_least=0),
        },
        {"first": {"fault": "down", "from": "2m", "for": "5m"}},
    ),
    "clients": Word(
        "Who asks, and how much: one kind, or a list of kinds.",
        forms.one_or_many("Clients", at_least=1),
        {"rate": "20/s"},
        is_needed=True,
    ),
    "expect": Word(
        "What must hold, besides every invariant.",
        {"$ref": "#/$defs/Expect"},
        {"availability": "99.9%", "first_token": {"p99": "6s"}},
    ),
}

TARGET: Final[Words] = {
    "first_token": Word(
        "The time to a first token: one, its quantiles, or as measured of a model.",
        forms.FIRST_TOKEN,
        {"p50": "700ms", "p95": "1.2s", "p99": "2s", "max": "5s"},
        "gpt-4.1",
    ),
    "tokens_per_second": Word("How fast it speaks.", forms.NUMBER, 80, 100),
    "capacity": Word(
        "What it can do at once; without it, anything.",
        {"$ref": "#/$defs/Capacity"},
        {"slots": 100, "line": 20},
    ),
}

CAPACITY: Final[Words] = {
    "slots": Word(
        "So many requests are served at once.",
        forms.COUNT_FROM_ONE,
        100,
        is_needed=True,
    ),
    "line": Word(
        "So many wait beyond that; further ones are refused as overloaded. Without it, "
        "all wait.",
        forms.COUNT,
        20,
    ),
    "notices_departures": Word(
        "Whether it stops working for who has left.", forms.SWITCH, "off", "on"
    ),
}

WEATHER: Final[Words] = {
    "fault": Word("What goes wrong.", forms.FAULT, "down"),
    "preset": Word("A weather by name, in place of a fault.", forms.PRESET, "calm"),
    "from": Word(_FROM, forms.INSTANT, "2m", "0s"),
    "until": Word("When it ends; without it, with the run.", forms.INSTANT, "7m"),
    "for": Word("How long it lasts, in place of `until`.", forms.DURATION, "5m"),
    "share": Word("Which part of the requests it strikes.", forms.SHARE, "25%", "100%"),
    "flaps": Word(
        "On and off, again and again, while it lasts.",
        {"$ref": "#/$defs/Flaps"},
        {"down": "20s", "up": "20s"},
    ),
    "under_way": Word(
        "What becomes of that part of what is under way each time that it begins; "
        "without it, `reset` for down, `silent` for black_hole, `goes_on` for others.",
        forms.UNDER_WAY,
        "reset",
    ),
    "speed": Word(
        "Of a preset: 60 makes a minute of an hour.", forms.NUMBER, 60, default=1
    ),
    "status": Word(
        "Of errors and throttles: the status code; 503 and 429 if unwritten.",
        forms.ERROR_STATUS,
        500,
    ),
    "retry_after": Word(
        "Of throttles: when to come back, as the answer says.", forms.DURATION, "10s"
    ),
    "hint": Word(
        "Of throttles: how the answer says when.", forms.HINT, "google", "seconds"
    ),
    "factor": Word("Of slow: so many times as long.", forms.NUMBER, 8),
    "left": Word("Of capacity: the part of the slots that stays.", forms.SHARE, "20%"),
}

FLAPS: Final[Words] = {
    "down": Word("How long it lasts each time.", forms.DURATION, "20s", is_needed=True),
    "up": Word(
        "How long all is well in between.", forms.DURATION, "20s", is_needed=True
    ),
}

CLIENTS: Final[Words] = {
    "model": Word(
        "What they ask for; the policy's first, if unwritten.", forms.TEXT, "m"
    ),
    "rate": Word("How many come.", forms.RATE, "20/s", is_needed=True),
    "from": Word(_FROM, forms.INSTANT, "2m", "0s"),
    "until": Word(
        "When the last one comes; without it, at the end.", forms.DURATION, "7m"
    ),
    "arrivals": Word(
        "Independently of each other, or at equal distances.",
        {"enum": [each.value for each in Arrivals]},
        "even",
        "poisson",
    ),
    "stream": Word("Whether they want streams.", forms.SWITCH, "off", "on"),
    "answer_tokens": Word(
        "How long answers are: a number, quantiles, or `conversation`.",
        forms.TOKENS,
        200,
        "conversation",
    ),
    "max_tokens": Word("What requests say that they want at most.", forms.COUNT, 1000),
    "prompt": Word("How large a request is.", forms.SIZE, "2KiB", "500B"),
    "leave_after": Word(
        "How long people wait, whatever has come so far: a time, or quantiles.",
        forms.SECONDS,
        "60s",
    ),
    "library": Word(
        "Their client library asks again by itself.",
        {"$ref": "#/$defs/Library"},
        {"retries": 2, "timeout": "60s"},
    ),
    "daily": Word(
        "Fewest come at the beginning, most half a day later.",
        {"$ref": "#/$defs/Daily"},
        {"lowest": "30%"},
    ),
    "bursts": Word(
        "Again and again, many more come for a short time.",
        {"$ref": "#/$defs/Bursts"},
        {"factor": 5, "every": "1m", "for": "5s"},
    ),
}

LIBRARY: Final[Words] = {
    "retries": Word("How often it asks again.", forms.COUNT, 5, 2),
    "timeout": Word(
        "How long it waits for a first byte.", forms.DURATION, "60s", "10m"
    ),
}

DAILY: Final[Words] = {
    "lowest": Word("The lowest rate, as a part of `rate`.", forms.SHARE, "10%", "30%"),
    "day": Word("How long a day is.", forms.DURATION, "12h", "24h"),
}

BURSTS: Final[Words] = {
    "factor": Word("So many times as many.", forms.NUMBER, 5, is_needed=True),
    "every": Word("How often it begins.", forms.DURATION, "1m", is_needed=True),
    "for": Word("How long it lasts.", forms.DURATION, "5s", is_needed=True),
}

_BOUNDS: Final[Mapping[Unit, tuple[JsonSchema, object]]] = {
    Unit.SHARE: (forms.SHARE_OR_NONE, "99.9%"),
    Unit.SECONDS: (forms.INSTANT, "6s"),
    Unit.FACTOR: ({**forms.NUMBER, "minimum": 1}, 1.1),
    Unit.PER_S: (forms.RATE, "1/s"),
    Unit.COUNT: (forms.COUNT, 0),
}


def _bounds(above: str) -> dict[str, Word]:
    words = {}
    for measure in MEASURES:
        outer, _, key = measure.key.rpartition(".")
        if outer == above:
            value, example = _BOUNDS[measure.unit]
            most = "least" if measure.is_at_least else "most"
            what = f"{measure.title[0].upper()}{measure.title[1:]}, at {most}."
            words[key] = Word(what, value, example)
    return words


QUANTILES: Final[Words] = _bounds("first_token")
EXPECT: Final[Words] = {
    **_bounds(""),
    "first_token": Word(
        "The time to a first token, by quantiles.",
        {"$ref": "#/$defs/Quantiles"},
        {"p50": "1s", "p99": "6s"},
    ),
}

SECTIONS: Final[Mapping[str, Words]] = {
    "Target": TARGET,
    "Capacity": CAPACITY,
    "Weather": WEATHER,
    "Flaps": FLAPS,
    "Clients": CLIENTS,
    "Library": LIBRARY,
    "Daily": DAILY,
    "Bursts": BURSTS,
    "Expect": EXPECT,
    "Quantiles": QUANTILES,
}
"""All sections but the scenario itself, by what the schema calls them."""
