"""`trio-gateway keys`: access keys for clients."""

import secrets

import click

from trio_gateway.access.keys import new_key


@click.group()
def keys() -> None:
    """Make access keys for clients."""


@keys.command("new")
def new() -> None:
    """Make an access key: shown once, stored as a hash.

    Give the key to the client; put the line with `sha256` under `access_keys:`.

    \b
    Example:
      trio-gateway keys new
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    made = new_key(secrets.token_bytes)
    click.echo(f"key (shown once): {made.key}")
    click.echo(f"for the policy:   - {{name: NAME, sha256: {made.sha256_hex}}}")
