"""`trio-gateway check`: is a policy valid?"""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from trio_gateway.policy.load import load_policy
from trio_gateway.policy.problems import PolicyError
from trio_gateway.policy.route import Policy


def load_or_exit(
    path: Path, *, environ: Mapping[str, str], exit_code: int = 2
) -> Policy:
    """Load a policy; say everything that is wrong with it, and end."""
    try:
        return load_policy(path, environ=environ)
    except PolicyError as error:
        click.echo(str(error), err=True)
        raise SystemExit(exit_code) from error


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def check(path: Path) -> None:
    r"""Say whether a policy (a file, or a folder of *.yaml) is valid.

    Every problem is named with file, line, column, key and remedy. Secrets that the
    policy refers to must be in the environment.

    \b
    Example:
      trio-gateway check policies/two-providers.yaml
    """
    policy = load_or_exit(path, environ=os.environ, exit_code=1)
    models = ", ".join(sorted(policy.routes))
    click.echo(f"{path}: valid, revision {policy.revision}; models: {models}")
