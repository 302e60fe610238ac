"""When a request may be worked on: at once, unless a provider has a line."""

from typing import Final, Protocol


class Turn(Protocol):
    """A request's right to be worked on."""

    async def come(self) -> None:
        """Wait for it."""

    def leave(self) -> None:
        """Give it back, whether it has come or not."""


class _AtOnce:
    async def come(self) -> None:
        """Wait for nothing."""

    def leave(self) -> None:
        """Give nothing back."""


AT_ONCE: Final[Turn] = _AtOnce()
"""The turn of a request that no line is before."""
