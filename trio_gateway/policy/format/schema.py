"""The format of policy files as a JSON Schema (2020-12), for editors and other tools.

What may stand where comes from the model, what it is for from `reference`. The schema
cannot know what spans several places (names that are defined elsewhere, limits that
contradict each other): `check` says that.
"""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from trio_gateway.policy.format import model
from trio_gateway.policy.format.fields import DECIDED_FIELDS, REFERENCE_PATTERN
from trio_gateway.policy.format.model import PolicySection, Section
from trio_gateway.policy.format.quantities import DURATION_PATTERN
from trio_gateway.policy.format.reference import key_of

JsonSchema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

# A text with a reference in it may become any text.
_A_REFERENCE: Final[JsonSchema] = {"type": "string", "pattern": REFERENCE_PATTERN}

# What the model checks in code: alternatives of a key, by section and name.
_DURATION: Final[JsonSchema] = {
    "title": "duration",
    "type": "string",
    "pattern": f"{DURATION_PATTERN}|{REFERENCE_PATTERN}",
}
_ALTERNATIVES: Final[Mapping[tuple[type[Section], str], JsonSchema]] = {
    (model.TargetTimeouts, "first_token"): _DURATION,
    (model.TargetTimeouts, "answer"): _DURATION,
    (model.Settings, "hedge"): {"const": False},  # what some readers make of `off`
}

# What the model checks in code, of whole sections.
_RULES: Final[Mapping[type[Section], JsonSchema]] = {
    PolicySection: {"required": ["version"]},
    model.AccessKeySection: {
        "oneOf": [{"required": ["key"]}, {"required": ["sha256"]}]
    },
    model.ProviderSection: {
        "if": {"required": ["api_version"]},
        "then": {"required": ["kind"], "properties": {"kind": {"const": "azure"}}},
    },
}


def policy_schema() -> JsonSchema:
    """The schema, complete in itself: nothing of it is to be fetched."""
    made = PolicySection.model_json_schema()
    sections = {
        name: _section(getattr(model, name), part)
        for name, part in made.pop("$defs").items()
        if name != "JsonValue"  # any value
    }
    title = {"$schema": DIALECT, "title": "A policy of trio-gateway"}
    return {**title, **_section(PolicySection, made), "$defs": sections}


def _section(section: type[Section], made: JsonSchema) -> JsonSchema:
    """One section: no titles of classes, and each key explained."""
    properties = {
        name: _key(section, name, part) for name, part in made["properties"].items()
    }
    made = {key: value for key, value in made.items() if key != "title"}
    return {**made, "properties": properties, **_RULES.get(section, {})}


def _key(section: type[Section], name: str, made: JsonSchema) -> JsonSchema:
    """One key of a section."""
    made = {key: made[key] for key in made if key != "default"}
    if made.get("title") == name.replace("_", " ").title():
        del made["title"]  # pydantic's own
    value = _value(made)
    for ancestor in section.__mro__:
        alternative = _ALTERNATIVES.get((ancestor, name))
        if alternative is not None:
            value = {"anyOf": [*_members(value), alternative]}
    if name == "overrides":
        value["propertyNames"] = {"not": {"enum": list(DECIDED_FIELDS)}}
    key = key_of(section, name)
    explained: JsonSchema = {"description": key.what}
    if key.default is not None:
        explained["default"] = _from_yaml(key.default)
    return {**value, **explained, "examples": [_from_yaml(key.example)]}


def _value(made: JsonSchema) -> JsonSchema:
    """What pydantic says of a value, as it may be written in a file."""
    members = made.get("anyOf") or made.get("oneOf")
    if members is not None:
        rest = {key: made[key] for key in made if key not in ("anyOf", "oneOf")}
        written = [_value(m) for m in members if m != {"type": "null"}]
        flat = [part for member in written for part in _members(member)]
        return {**rest, **flat[0]} if len(flat) == 1 else {**rest, "anyOf": flat}
    if made.get("type") == "string" and ("enum" in made or "const" in made):
        words = made.get("enum", [made.get("const")])
        return {"anyOf": [{"enum": words}, _A_REFERENCE]}
    if "patternProperties" in made:
        return {**made, "additionalProperties": False}
    if made.get("type") == "array":
        return {**made, "items": _value(made["items"])}
    if made.get("additionalProperties") == {"$ref": "#/$defs/JsonValue"}:
        return {"type": "object"}
    return made


def _members(value: JsonSchema) -> list[JsonSchema]:
    """The alternatives of a value, if it is made of nothing else."""
    members: list[JsonSchema] = value["anyOf"] if set(value) == {"anyOf"} else [value]
    return members


def _from_yaml(text: str) -> object:
    """A value as editors read it: dates and switches are texts to them."""
    return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - a SafeLoader, with less


class _TextLoader(yaml.SafeLoader):
    """YAML 1.2, as far as our examples go."""


_TextLoader.yaml_implicit_resolvers = {
    first: [
        (tag, form)
        for tag, form in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
        or first in "tf"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
