"""Writes what is generated in `policies/`: python -m tests.policy.write_reference"""

import json
import re
from pathlib import Path

from trio_gateway.chaos.scenarios.schema import scenario_schema
from trio_gateway.policy.format.reference_text import BEGIN, END, table
from trio_gateway.policy.format.schema import JsonSchema, policy_schema

SCHEMAS = {
    "policy.schema.json": policy_schema(),
    "scenarios/scenario.schema.json": scenario_schema(),
}
POLICIES = Path(__file__).parents[2] / "policies"


def with_table(readme: str) -> str:
    """The reference with the table of every key as it is now."""
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return between.sub(lambda _: table(), readme)


def schema_text(schema: JsonSchema) -> str:
    """A schema as the command prints it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    readme = POLICIES / "README.md"
    readme.write_text(with_table(readme.read_text()))
    for name, schema in SCHEMAS.items():
        (POLICIES / name).write_text(schema_text(schema))
