"""`trio-gateway import`: another gateway's configuration, said again as a policy."""

from pathlib import Path
from typing import Final

import click

from trio_gateway.cli.refusal import say_refusal
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.litellm.translate import Translation, translate
from trio_gateway.policy.load import read_policy, read_sources

# Stands for every variable while the result is checked; it is an address, too.
STAND_IN: Final = "https://stand-in.invalid"


@click.group(name="import")
def import_() -> None:
    """Make a policy of another gateway's configuration.

    \b
    Example:
      trio-gateway import litellm config.yaml -o policy.yaml
    """  # noqa: D301 - click's mark of lines to be kept is the character itself


@import_.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Not stdout.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def litellm(config: Path, output: Path | None, *, force: bool) -> None:
    """Make a policy of CONFIG, the config.yaml of LiteLLM's proxy.

    Groups of deployments become models, with a tier for each order and the weights of
    their shares; fallbacks come after them. Keys become ${NAME}: literal secrets stay
    behind. What has no counterpart here is said on stderr, each with its line, and
    stands as a comment in the policy. Read it before you serve.

    \b
    Examples:
      trio-gateway import litellm config.yaml
      trio-gateway import litellm config.yaml -o policy.yaml
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    try:
        ((file, content),) = read_sources(config)
        made = translate(file, content)
    except PolicyError as error:
        say_refusal(error)
        raise SystemExit(2) from error
    if output is None:
        click.echo(made.policy, nl=False)
    else:
        _write(output, made, force=force)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    _check(made, output)


def _write(output: Path, made: Translation, *, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(made.policy)
    except FileExistsError as error:
        message = f"{output} is there already. Name another file, or use --force."
        raise click.UsageError(message) from error
    except OSError as error:
        raise click.UsageError(
            f"{output} cannot be written: {error.strerror}"
        ) from error
    click.echo(f"{output} is written. Set {', '.join(made.variables)}, then:")
    click.echo(f"  trio-gateway check {output}")


def _check(made: Translation, output: Path | None) -> None:
    """Say what a hand must put right, if anything: 1 is the answer then."""
    name = "the policy" if output is None else str(output)
    source = (name, made.policy.encode())
    environ = dict.fromkeys(made.variables, STAND_IN)
    try:
        read_policy([source], environ=environ, root=name)
    except PolicyError as error:
        say_refusal(error)
        raise SystemExit(1) from error
