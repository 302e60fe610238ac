"""The format of scenario files as a JSON Schema (2020-12), for editors and other tools.

What each key is for comes from `reference`. A policy inside of a scenario is held to
the policies' own schema. Names of targets and models are the policy's, which no schema
knows: `simulate` says that.
"""

from typing import Final

from trio_gateway.chaos.scenarios.forecast import (
    FAULTS,
    OF_FAULTS,
    OF_PRESETS,
    OF_SOME_FAULTS,
)
from trio_gateway.chaos.scenarios.forms import JsonSchema
from trio_gateway.chaos.scenarios.reference import SCENARIO, SECTIONS, Word, Words
from trio_gateway.policy.format.schema import DIALECT, policy_schema

# Without these, such a fault says nothing.
_NEEDED: Final = ("factor", "left")


def scenario_schema() -> JsonSchema:
    """The schema, complete in itself: nothing of it is to be fetched."""
    policy = policy_schema()
    del policy["$schema"]
    sections = {name: _section(words) for name, words in SECTIONS.items()}
    sections["Weather"] |= _rules_of_weather()
    return {
        "$schema": DIALECT,
        "title": "A scenario of trio-gateway",
        **_section(SCENARIO),
        "$defs": {**sections, **policy.pop("$defs"), "Policy": policy},
    }


def _section(words: Words) -> JsonSchema:
    made: JsonSchema = {
        "type": "object",
        "properties": {name: _key(word) for name, word in words.items()},
        "additionalProperties": False,
    }
    needed = [name for name, word in words.items() if word.is_needed]
    return {**made, "required": needed} if needed else made


def _key(word: Word) -> JsonSchema:
    explained: JsonSchema = {"description": word.what, "examples": [word.example]}
    if word.default is not None:
        explained["default"] = word.default
    return {**word.value, **explained}


def _rules_of_weather() -> JsonSchema:
    """Which keys go together: those of a preset, or those of the one fault."""
    return {
        "oneOf": [{"required": ["fault"]}, {"required": ["preset"]}],
        "not": {"required": ["until", "for"]},
        "allOf": [
            {
                "if": {"required": ["preset"]},
                "then": {"propertyNames": {"enum": list(OF_PRESETS)}},
            },
            *(_rule_of_fault(name, OF_SOME_FAULTS.get(name, ())) for name in FAULTS),
        ],
    }


def _rule_of_fault(name: str, own: tuple[str, ...]) -> JsonSchema:
    return {
        "if": {"required": ["fault"], "properties": {"fault": {"const": name}}},
        "then": {
            "propertyNames": {"enum": [*OF_FAULTS, *own]},
            "required": [key for key in own if key in _NEEDED],
        },
    }
