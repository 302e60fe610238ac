"""The port to upstreams: what the relay needs of a network, and nothing more.

Two implementations pass one conformance test: `upstream` (real connections) and
`chaos.upstream` (in memory, scripted). A failure is a value here, never an exception;
`trio.Cancelled` passes through. Whoever opened a stream closes it, once, on every path.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Account
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.letterhead import Fields, Letterhead


class Call(NamedTuple):
    """One request to one upstream, ready to be sent."""

    account: Account
    path: str  # with its query, to be appended to the account's base_url
    letterhead: Letterhead
    fields: Fields  # this request's alone; names in lower case, none of the letterhead
    body: bytes
    connect_by: float  # on Trio's clock: DNS, TCP and TLS together
    leash: Leash  # which ends `open`, and then `receive`, when it is cut
    is_redial: bool = False  # a kept connection was dead: this one must be new

    @property
    def headers(self) -> Fields:
        """All fields but the host and the length."""
        return (*self.letterhead.fields, *self.fields)


class UpstreamStream(Protocol):
    """An answer whose head has come."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields as they came, names in lower case."""

    async def receive(self) -> bytes | Failure:
        """Wait for more of the body; `b""` is its clean end, and stays so.

        Cancellation-safe in the sense that the stream may then only be closed.
        A body that its framing says is cut is a `Failure` of class `interrupted`.
        """

    def take_rest(self) -> bytes | None:
        """Take the rest of the body, where all of it is here; None where one must wait.

        Most answers come with their heads: they are read without a wait or a limit.
        """

    async def aclose(self) -> None:
        """Free the connection: reused if the body was read to its end, else closed.

        It never waits for the other end and does not fail, cancelled or not: whoever
        closes needs no limit for it.
        """


class Upstream(Protocol):
    """All providers' networks."""

    async def open(self, call: Call) -> "UpstreamStream | Failure":
        """Send a request and wait for the head of its answer, of whatever status.

        The only limit kept here is `connect_by`; for all others the caller cuts the
        leash, or cancels.
        A `Failure` is of class `connect`, `not_processed`, `reset` or `bad_answer`.
        """


class Client(Protocol):
    """The one who asked. Nothing is sent to it before the commit point.

    A client that has left cancels the exchange; no error is raised here for it.
    """

    async def send(self, data: bytes) -> None:
        """Send bytes of the answer; the head goes with the first of them."""

    async def finish(self, data: bytes = b"") -> None:
        """Send the last bytes and end the answer cleanly.

        Where this is not called, the answer must end uncleanly.
        """

    def abandon(self) -> None:
        """Count it as gone, for it takes nothing: cancel the exchange. Never waits."""


WallClock = Callable[[], float]
"""Seconds since 1970 UTC; for absolute dates and records, never for deadlines."""

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""The seam under every client of the network: a byte stream to a host and port.

Raises `OSError`. Real sockets by default; in memory, the whole app runs in virtual
time. TLS goes on top of what it returns.
"""
