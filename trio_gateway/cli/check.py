"""`trio-gateway check`: is a policy valid, and what does it let happen?"""

import json
import os
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import click

from trio_gateway.cli import annotations, judgement
from trio_gateway.cli.refusal import coloured, say, say_refusal
from trio_gateway.cli.trust import authorities_in
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.files.references import Placeholders
from trio_gateway.policy.judgement.judge import Judgement, judge
from trio_gateway.policy.load import Loaded, load


@click.command(short_help="Say whether a policy is valid, and judge it.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--without-secrets",
    is_flag=True,
    help="Let secrets be that are not set, as in CI.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="For people, for programs, as GitHub annotations, or as SARIF 2.1.0.",
)
@click.option("--json", "form", flag_value="json", help="Short for --format json.")
def check(path: Path, *, without_secrets: bool, strict: bool, form: str) -> None:
    """Say whether a policy (a file, or a folder of *.yaml) is valid, and judge it.

    Every problem is named with file, line, column, key and remedy. Secrets that the
    policy refers to must be in the environment, unless it is done --without-secrets.

    Of a valid policy it says what may happen to one request at worst, what each
    provider's loss would do, and what nobody can have meant. Such a warning ends with
    the name of its lint in brackets. A comment silences it on its line, and for all
    that stands under the key there:

    \b
      chat:  # trio-gateway: ignore=single-target

    Exit code 1: the policy is refused; with --strict, also if there is a warning.

    \b
    Examples:
      trio-gateway check policies/two-providers.yaml
      trio-gateway check --strict --without-secrets my.yaml
      trio-gateway check --json my-policies/
      trio-gateway check --format sarif my.yaml > policy.sarif
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    environ = Placeholders(os.environ) if without_secrets else os.environ
    try:
        loaded = load(path, environ=environ, authorities_in=authorities_in)
    except PolicyError as error:
        _say_problems(error, form)
        raise SystemExit(1) from error
    found = judge(loaded, wall_now=time.time())
    _say_judgement(path, loaded, found, form)
    if strict and found.warnings:
        raise SystemExit(1)


def _say_problems(error: PolicyError, form: str) -> None:
    if form == "json":
        problems = [asdict(problem) for problem in error.problems]
        click.echo(json.dumps({"valid": False, "problems": problems}))
    elif form == "text":
        say_refusal(error)
    else:
        _say_annotations(annotations.of_refusal(error), form)


def _say_judgement(path: Path, loaded: Loaded, found: Judgement, form: str) -> None:
    policy = loaded.policy
    if form == "json":
        head = {"valid": True, "problems": [], "hash": policy.revision}
        click.echo(json.dumps({**head, **judgement.as_json(found)}))
    elif form == "text":
        models = ", ".join(sorted(policy.routes))
        click.echo(f"{path}: valid, hash {policy.revision}; models: {models}")
        say(judgement.as_text(found, loaded.sources, style=coloured))
    else:
        _say_annotations(annotations.of_judgement(found), form)


def _say_annotations(found: list[annotations.Annotation], form: str) -> None:
    if form == "sarif":
        program = version("trio-gateway")
        click.echo(json.dumps(annotations.as_sarif(found, version=program), indent=1))
    elif found:
        click.echo(annotations.as_github(found))
