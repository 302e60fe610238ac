"""`trio-gateway schema`: the format of our files, for editors."""

import json

import click

from trio_gateway.chaos.scenarios.schema import scenario_schema
from trio_gateway.policy.format.schema import policy_schema


@click.command(short_help="Print the JSON Schema of policies or of scenarios.")
@click.argument("of", type=click.Choice(["policy", "scenario"]), default="policy")
def schema(of: str) -> None:
    """Print the JSON Schema (2020-12) of policy files, or of scenario files.

    Editors complete and explain keys by it. With a YAML language server, write the
    schema beside the file, and name it in the file's first line:

    \b
      # yaml-language-server: $schema=policy.schema.json

    \b
    Examples:
      trio-gateway schema > policy.schema.json
      trio-gateway schema scenario > scenario.schema.json
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    made = {"policy": policy_schema, "scenario": scenario_schema}[of]()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
