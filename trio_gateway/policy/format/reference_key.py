"""How the reference says what a key is for, and how it writes defaults."""

from collections.abc import Mapping
from dataclasses import dataclass

from trio_gateway.policy.format.model import Section


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it does and why one would write it, in whole sentences."""

    what: str
    example: str  # as YAML, behind the colon
    default: str | None = None  # as YAML; None where nothing holds unless it is written


def seconds(value: float) -> str:
    """A duration as people write it."""
    return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"


def mebibytes(value: int) -> str:
    """A size as people write it."""
    return f"{value / 1024**2:g}MiB"


def percent(value: float) -> str:
    """A share as people write it."""
    return f"{value * 100:g}%"


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one section, and where it stands; a name in capitals is anybody's."""

    path: str
    section: type[Section]
    keys: Mapping[str, Key]
