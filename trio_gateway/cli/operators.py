"""The operators' listener on the command line: its address, its key, its limits."""

import ipaddress
import os
from typing import Final

import click

from trio_gateway.policy.route import Secret
from trio_gateway.serving.limits import Limits

# Operators and scrapers; clients must not lose their share of open files to them.
ADMIN_LIMITS: Final = Limits(connections_max=64)

ADMIN_KEY_VARIABLE: Final = "TRIO_GATEWAY_ADMIN_KEY"


def admin_key(admin: str) -> Secret | None:
    """The key that the environment holds for operators.

    Raises:
        click.UsageError: There is none, and others can reach the address.
    """
    key = os.environ.get(ADMIN_KEY_VARIABLE)
    if admin != "off" and not key and not _is_loopback(admin):
        raise click.UsageError(
            f"--admin {admin} is reachable by others: set {ADMIN_KEY_VARIABLE} to a "
            "key that operators send as a bearer token, or use a loopback address"
        )
    return Secret(key) if key else None


def host_of(bind: str) -> str:
    """The host of an address, without brackets."""
    return bind.rpartition(":")[0].strip("[]")


def _is_loopback(bind: str) -> bool:
    host = host_of(bind)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
