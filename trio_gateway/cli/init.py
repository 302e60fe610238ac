"""`trio-gateway init`: a first policy to start from."""

from pathlib import Path

import click

from trio_gateway.policy.format.starter import STARTER


@click.command(short_help="Write a commented policy to start from.")
@click.argument(
    "path", type=click.Path(dir_okay=False, path_type=Path), default="policy.yaml"
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(path: Path, *, force: bool) -> None:
    """Write a commented policy to PATH, policy.yaml unless said otherwise.

    Nothing is asked, and no file is overwritten without --force. The policy is valid
    as it is, once the three variables that it names are set.

    \b
    Examples:
      trio-gateway init
      trio-gateway init policies/chat.yaml
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    text = STARTER.replace("policy.yaml", str(path))
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        message = f"{path} is there already. Name another file, or use --force."
        raise click.UsageError(message) from error
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(
        f"{path} is written. Set OPENAI_API_KEY, GROQ_API_KEY and APP_KEY, then:"
    )
    click.echo(f"  trio-gateway check {path}")
    click.echo(f"  trio-gateway serve --policy {path}")
