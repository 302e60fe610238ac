"""`trio-gateway check`: is a policy valid, and what does it let happen?"""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import click

from trio_gateway.cli import judgement
from trio_gateway.cli.trust import why_not_trusted
from trio_gateway.policy.judge import judge
from trio_gateway.policy.load import load
from trio_gateway.policy.problems import PolicyError


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings, too.")
@click.option("--json", "is_json", is_flag=True, help="One object for programs.")
def check(path: Path, *, strict: bool, is_json: bool) -> None:
    """Say whether a policy (a file, or a folder of *.yaml) is valid, and judge it.

    Every problem is named with file, line, column, key and remedy. Secrets that the
    policy refers to must be in the environment.

    Of a valid policy it says what may happen to one request at worst, what each
    provider's loss would do, and what nobody can have meant. Such a warning ends with
    the name of its lint in brackets. A comment silences it on its line, and for all
    that stands under the key there: # trio-gateway: ignore=NAME

    Exit code 1: the policy is refused; with --strict, also if there is a warning.

    \b
    Examples:
      trio-gateway check policies/two-providers.yaml
      trio-gateway check --strict --json policies/
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    try:
        loaded = load(path, environ=os.environ, why_not_trusted=why_not_trusted)
    except PolicyError as error:
        if is_json:
            problems = [asdict(problem) for problem in error.problems]
            click.echo(json.dumps({"valid": False, "problems": problems}))
        else:
            click.echo(str(error), err=True)
        raise SystemExit(1) from error
    found = judge(loaded, wall_now=time.time())
    policy = loaded.policy
    if is_json:
        head = {"valid": True, "problems": [], "revision": policy.revision}
        click.echo(json.dumps({**head, **judgement.as_json(found)}))
    else:
        models = ", ".join(sorted(policy.routes))
        click.echo(f"{path}: valid, revision {policy.revision}; models: {models}")
        click.echo(judgement.as_text(found))
    if strict and found.warnings:
        raise SystemExit(1)
