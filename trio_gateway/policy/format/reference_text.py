"""Every key in one table, as `policies/README.md` shows it.

Types come from the JSON Schema, and so from the model; defaults, purposes and examples
from `reference`.
"""

from collections.abc import Iterator
from typing import Any

from trio_gateway.policy.format.model import PolicySection
from trio_gateway.policy.format.reference import TABLES
from trio_gateway.policy.format.schema import JsonSchema, policy_schema

BEGIN = "<!-- every key: made by tests/policy/write_reference.py -->"
END = "<!-- every key: ends here -->"


def table() -> str:
    """The table in Markdown, between its marks."""
    rows = ["| key | type | default | what it is for | example |", "| --- " * 5 + "|"]
    return "\n".join([BEGIN, *rows, *_rows(), END])


def _rows() -> Iterator[str]:
    schema = policy_schema()
    for each in TABLES:
        section = schema
        if each.section is not PolicySection:
            section = schema["$defs"].get(each.section.__name__) or _heir(schema)
        for name, key in each.keys.items():
            path = f"{each.path}.{name}".removeprefix(".")
            kind = _type(section["properties"][name])
            is_required = name in section.get("required", ())
            default = "by key" if kind == "mapping" else "none"
            if key.default is not None:
                default = f"`{key.default}`"
            default = "required" if is_required else default
            yield f"| `{path}` | {kind} | {default} | {key.what} | `{key.example}` |"


def _heir(schema: JsonSchema) -> JsonSchema:
    """`Settings` is no section of its own; `defaults` has all of its keys."""
    section: JsonSchema = schema["$defs"]["DefaultsSection"]
    return section


def _type(value: JsonSchema) -> str:
    """What may be written, in words."""
    match value:
        case {"title": str(title)}:
            return title
        case {"anyOf": [*members]}:
            kinds = (_type(m) for m in members if set(m) != {"type", "pattern"})
            return " or ".join(dict.fromkeys(kinds))
        case {"const": False}:
            return "`off`"
        case {"const": only}:
            return f"only `{only}`"
        case {"enum": [*words]}:
            return ", ".join(f"`{word}`" for word in words)
        case {"type": "integer"}:
            return f"whole number{_range(value)}"
        case {"type": "number"}:
            return f"number{_range(value)}"
        case {"type": "boolean"}:
            return "`true` or `false`"
        case {"type": "array"}:
            return "list"
        case {"type": "string"}:
            return "text"
        case _:
            return "mapping"


def _range(value: JsonSchema) -> str:
    least: Any = value.get("minimum")
    most: Any = value.get("maximum")
    if least is not None and most is not None:
        return f", {least:g} to {most:.10g}"
    if "exclusiveMinimum" in value:
        end = value.get("exclusiveMaximum")
        bound = f", up to {most:.10g}" if end is None else f" and below {end:.10g}"
        return f" above {value['exclusiveMinimum']:g}{bound}"
    return ""
