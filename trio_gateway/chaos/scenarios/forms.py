"""What may stand behind a key of a scenario, in the words of JSON Schema."""

from typing import Any, Final

from trio_gateway.chaos.scenarios.forecast import FAULTS, PRESETS
from trio_gateway.chaos.scenarios.reading import NUMBER_MAX
from trio_gateway.chaos.vocabulary.errors import HintForm
from trio_gateway.chaos.vocabulary.script import UnderWay
from trio_gateway.chaos.worlds.spread import FIRST_TOKENS
from trio_gateway.policy.format.quantities import DURATION_PATTERN, SIZE_PATTERN

JsonSchema = dict[str, Any]

_QUANTILES: Final = ("p50", "p95", "p99", "max")
_NUMBER: Final = r"[0-9]+(\.[0-9]+)?"


def _text(title: str, pattern: str) -> JsonSchema:
    return {"title": title, "type": "string", "pattern": pattern}


def _word(title: str, words: dict[str, str]) -> JsonSchema:
    """One of some words, each explained."""
    known = [{"const": word, "description": what} for word, what in words.items()]
    return {"title": title, "oneOf": known}


def _spread(value: JsonSchema, *named: str) -> JsonSchema:
    """A value, its quantiles, or a known distribution."""
    quantiles = {
        "type": "object",
        "properties": dict.fromkeys(_QUANTILES, value),
        "required": [*_QUANTILES],
        "additionalProperties": False,
    }
    return {"anyOf": [value, quantiles, *([{"enum": [*named]}] if named else [])]}


def mapping_of(section: str) -> JsonSchema:
    """A mapping of names to sections."""
    return {
        "type": "object",
        "additionalProperties": {"$ref": f"#/$defs/{section}"},
    }


def one_or_many(section: str, *, at_least: int) -> JsonSchema:
    """A section, or a list of sections."""
    one = {"$ref": f"#/$defs/{section}"}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": at_least}]}


TEXT: Final = _text("text", r"\S")
DURATION: Final = _text("duration", DURATION_PATTERN)
INSTANT: Final = _text("time", DURATION_PATTERN)
SIZE: Final = _text("size", SIZE_PATTERN)
RATE: Final = _text("rate", rf"^{_NUMBER}/(s|m|h)$")
SWITCH: Final[JsonSchema] = {"title": "on or off", "enum": ["on", "off", True, False]}
COUNT: Final[JsonSchema] = {"type": "integer", "minimum": 0, "maximum": int(NUMBER_MAX)}
COUNT_FROM_ONE: Final[JsonSchema] = {**COUNT, "minimum": 1}
ERROR_STATUS: Final[JsonSchema] = {"type": "integer", "minimum": 400, "maximum": 599}
NUMBER: Final[JsonSchema] = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": int(NUMBER_MAX),
}
SHARE: Final[JsonSchema] = {
    "title": "share",
    "anyOf": [
        {"type": "string", "pattern": rf"^{_NUMBER}%?$"},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ],
}
SHARE_OR_NONE: Final[JsonSchema] = {"anyOf": [*SHARE["anyOf"], {"const": 0}]}
FIRST_TOKEN: Final = _spread(DURATION, *FIRST_TOKENS)
SECONDS: Final = _spread(DURATION)
TOKENS: Final = _spread(NUMBER, "conversation")
FAULT: Final = _word("fault", {name: what for name, (what, _) in FAULTS.items()})
PRESET: Final = _word("preset", {name: what for name, (what, _) in PRESETS.items()})
UNDER_WAY: Final[JsonSchema] = {"enum": [each.value for each in UnderWay]}
HINT: Final[JsonSchema] = {
    "enum": [form.value for form in HintForm if form is not HintForm.RAW]
}
