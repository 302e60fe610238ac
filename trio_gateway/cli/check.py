"""`trio-gateway check`: is a policy valid?"""

import os
from pathlib import Path

import click

from trio_gateway.cli.trust import why_not_trusted
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.problems import PolicyError


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def check(path: Path) -> None:
    """Say whether a policy (a file, or a folder of *.yaml) is valid.

    Every problem is named with file, line, column, key and remedy. Secrets that the
    policy refers to must be in the environment.

    \b
    Example:
      trio-gateway check policies/two-providers.yaml
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    try:
        policy = load_policy(path, environ=os.environ, why_not_trusted=why_not_trusted)
    except PolicyError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from error
    models = ", ".join(sorted(policy.routes))
    click.echo(f"{path}: valid, revision {policy.revision}; models: {models}")
