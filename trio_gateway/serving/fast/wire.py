"""How bytes come and go: the seam under the serving loop.

Everything above it is the same whether a connection is a socket, TLS or memory in
virtual time. A wire knows no HTTP. It tells `on_departure` once when the other side has
left, at whatever moment, and it ends a send without headway at the server's limit.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from trio_gateway.serving.addresses import Address


class BrokenWireError(Exception):
    """What was to be sent was not, or only in part: nothing may follow it."""


class Owner(Protocol):
    """Whom a wire tells what it sees; neither call may raise or wait."""

    def departed(self) -> None:
        """The other side has closed, half-closed or reset, or sends without end."""

    @property
    def is_past_request(self) -> bool:
        """Whether bytes that come now are beyond the request being answered."""


class Wire(Protocol):
    """One connection's bytes. Sends and receives may overlap, but not two of a kind."""

    client: Address
    server: Address
    scheme: str

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        """Run a conversation over this wire.

        Outside of it, nothing may be called but `say_last` and `close`.
        """

    async def receive(self) -> bytes:
        """Wait for bytes; none of them if the other side left or `interrupt` came.

        What has come by then is given first, so `Client.read` looks at more than this.
        """

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            BrokenWireError: If it could not be sent, or `interrupt` came.
        """

    def interrupt(self) -> None:
        """End the wait of `receive` and `send`, of the next one where nobody waits."""

    def set_torn(self, *, is_torn: bool) -> None:
        """Say whether a close would now pass a part of an answer for the whole.

        Then any close resets the connection, and `say_last` only lets arrive what was
        sent.
        """

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        """Send what is given and see it through, within the bounds of `linger`.

        Does not raise if that fails; `close` follows.
        """

    async def close(self) -> None:
        """Close at once; to be called once. Never waits."""
