"""`trio-gateway explain`: what becomes of a request to one model."""

import json
import os
from contextlib import suppress
from pathlib import Path
from random import Random

import click
from click.shell_completion import CompletionItem

from trio_gateway.cli.refusal import say_refusal
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.check import names
from trio_gateway.policy.explanation import explain_text
from trio_gateway.policy.explanation.explain import explain as explained
from trio_gateway.policy.explanation.given import Given, GivenError, impose, parse_given
from trio_gateway.policy.files.problems import PolicyError, did_you_mean, listed
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.files.references import Placeholders
from trio_gateway.policy.load import load_policy, read_sources
from trio_gateway.policy.route import Policy, Route


def _givens(_: click.Context, __: click.Parameter, text: str) -> tuple[Given, ...]:
    try:
        return parse_given(text)
    except GivenError as error:
        raise click.BadParameter(str(error)) from error


def _models(
    context: click.Context, _: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The models of the policy that was named before, valid or not."""
    path = context.params.get("path")
    with suppress(PolicyError, OSError):
        files = [] if path is None else read_sources(Path(path))
        documents = [read_document(*source)[0] for source in files]
        known = (
            name
            for each in documents
            if each is not None
            for name in names(each, "models")
        )
        return [CompletionItem(name) for name in known if name.startswith(begun)]
    return []


@click.command(short_help="Explain what becomes of a request.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.argument("model", shell_complete=_models)
@click.option(
    "--given",
    "givens",
    default="",
    callback=_givens,
    metavar="NAME=STATE,...",
    help="How providers or targets are: open[:TIME], throttled[:TIME], disabled, full.",
)
@click.option("--mermaid", "is_drawn", is_flag=True, help="A flowchart for Mermaid.")
@click.option("--json", "is_json", is_flag=True, help="One object for programs.")
def explain(
    path: Path,
    model: str,
    givens: tuple[Given, ...],
    *,
    is_drawn: bool,
    is_json: bool,
) -> None:
    """Explain what becomes of a request for MODEL under the policy at PATH.

    It tells who is tried, after how long, on which failures and until when, as the
    gateway itself would do it: if every attempt stays silent, and if every attempt
    fails at once. Waits are told as long as they can be; one that no longer fits into
    what is left is not told, and a shorter one may still fit.

    Nothing is sent, and no secrets are needed. With --given, health is made up: what if
    that provider was down, or throttled us? A running gateway answers the same for its
    present health, on its admin address: /admin/explain/MODEL?format=text

    \b
    Examples:
      trio-gateway explain policies/two-providers.yaml llama-3.3-70b
      trio-gateway explain my.yaml chat --given openai=open
      trio-gateway explain my.yaml chat --given openai=throttled:30s,groq=full
      trio-gateway explain my.yaml chat --mermaid
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    if is_drawn and is_json:
        raise click.UsageError("--mermaid and --json are two different forms")
    try:
        policy = load_policy(path, environ=Placeholders(os.environ))
    except PolicyError as error:
        say_refusal(error)
        raise SystemExit(2) from error
    route = _route(policy, model)
    fleet = Fleet(Random("explain"))
    try:
        impose(givens, route, fleet, now=0.0)
    except GivenError as error:
        raise click.BadParameter(str(error), param_hint="--given") from error
    explanation = explained(route, fleet)
    if is_json:
        click.echo(json.dumps(explain_text.as_json(explanation)))
    elif is_drawn:
        click.echo(explain_text.as_mermaid(explanation))
    else:
        click.echo(explain_text.as_text(explanation))


def _route(policy: Policy, model: str) -> Route:
    route = policy.routes.get(model)
    if route is None:
        instead = did_you_mean(model, policy.routes)
        instead = instead or f"There are {listed(sorted(policy.routes))}."
        message = f"the policy has no model {model!r}. {instead}"
        raise click.BadParameter(message, param_hint="MODEL")
    return route
