"""httpcore's way to the network, over our own seam: any `Connect` will do.

Errors leave as they come (`OSError`, `ssl.SSLError`, Trio's), for `upstream.failures`
and `upstream.http` say what they mean. What httpcore cannot tell is noted here, where
the bytes pass: whether a connection died before the first byte of an answer, and
whether it had carried an answer before. Idle time is measured on Trio's clock, so that
virtual time rules here too.
"""

import ssl
from collections.abc import Iterable
from math import inf
from typing import Final, Protocol, TypeVar, runtime_checkable

import httpcore
import httpx
import trio

from trio_gateway.policy.route import Authorities
from trio_gateway.relay.port import Connect

# Below the 60 s after which common load balancers drop an idle connection, so that we
# seldom write into one that is just being closed, and far below the minutes after which
# a firewall forgets one silently. A server that closes earlier is noticed (`Readable`).
IDLE_S: Final = 20.0

# So soon a connection that was closed while idle says so: a round trip, perhaps after a
# retransmission. Who closes later had the request in hand, may have worked on it, and
# charge for it: to ask again is another attempt then.
STALE_WITHIN_S: Final = 1.0

Carrier = TypeVar("Carrier", bound=trio.abc.Stream)


class NoAnswerError(Exception):
    """A new connection ended after the request, without one byte of an answer."""


class StaleConnectionError(NoAnswerError):
    """So did one that had carried an answer, and soon: it was closed while idle."""


@runtime_checkable
class Readable(Protocol):
    """A stream that knows whether a read would return at once.

    An idle connection that is readable is at its end, or out of step: it is not used
    again. A stream in memory may offer this; without it, such a connection is only
    found out by the request that it fails.
    """

    def is_readable(self) -> bool:
        """Whether there are bytes, or the end."""


async def connect_tcp(host: str, port: int) -> trio.SocketStream:
    """Connect over TCP to whichever address of a host answers first.

    Trio tries them in turn without waiting long for each, and turns off Nagle's delay.

    Raises:
        OSError: `socket.gaierror` if the name is not known, `ConnectionRefusedError` if
            every address refused.
    """
    try:
        return await trio.open_tcp_stream(host, port)
    except OSError as error:
        attempts = error.__cause__
        if isinstance(attempts, ExceptionGroup) and all(
            isinstance(attempt, ConnectionRefusedError)
            for attempt in attempts.exceptions
        ):
            raise ConnectionRefusedError from error
        raise


async def secure(
    stream: trio.abc.Stream, trust: ssl.SSLContext, host: str
) -> trio.SSLStream[trio.abc.Stream]:
    """Put TLS on top of a stream, which is closed if that fails.

    Raises:
        ssl.SSLError: If the handshake fails; `SSLCertVerificationError` if it does so
            for the certificate or the name in it.
        trio.BrokenResourceError: If the connection ends during it.
    """
    # https_compatible: many servers close without TLS's farewell, and HTTP's framing
    # tells a cut anyway. It also makes our own close immediate.
    tls = trio.SSLStream(stream, trust, server_hostname=host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException as error:
        await trio.aclose_forcefully(tls)
        if isinstance(error.__cause__, ssl.SSLError):
            raise error.__cause__ from None
        raise
    return tls


def trusting(authorities: Authorities | None = None) -> ssl.SSLContext:
    """Trust these authorities alone, else those that everybody trusts.

    No environment variable has a say. HTTP/1.1 is asked for, which is all we speak.

    Raises:
        ssl.SSLError: If they hold no certificate.
    """
    if authorities is None:
        trust = httpx.create_ssl_context(trust_env=False)
    elif authorities.pem:
        trust = ssl.create_default_context(cadata=authorities.pem)
    else:  # which `ssl` would take for everybody
        raise ssl.SSLError("no certificate")
    trust.set_alpn_protocols(["http/1.1"])
    return trust


def at_once() -> trio.CancelScope:
    """Open a scope in which nothing can wait, and which no outer one disturbs.

    For closing: what is under our connections closes without waiting.
    """
    scope = trio.CancelScope(shield=True)
    scope.cancel()
    return scope


class Network(httpcore.AsyncNetworkBackend):
    """Where httpcore's pool gets its connections from."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> "NetworkStream":
        """Connect; httpcore's own limits and options are not used."""
        return NetworkStream(await _undisturbed(await self._connect(host, port)))


class NetworkStream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore wants it; it remembers how it is used."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._has_carried_an_answer = False
        self._is_reused = False
        self._is_unanswered = False
        self._asked_at = -inf
        self._last_byte_at = trio.current_time()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for bytes; `b""` is the end.

        Raises:
            NoAnswerError: If the connection ended before a byte of the answer.
            StaleConnectionError: Likewise, and soon, on one that is used again.
            trio.BrokenResourceError: If it was reset later than that.
        """
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        except trio.BrokenResourceError:
            if not self._is_unanswered:
                raise
        if data:
            self._is_unanswered = False
            self._has_carried_an_answer = True
            self._last_byte_at = trio.current_time()
        elif self._is_unanswered:
            is_soon = trio.current_time() - self._asked_at < STALE_WITHIN_S
            is_stale = self._is_reused and is_soon
            raise StaleConnectionError if is_stale else NoAnswerError
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send part of a request.

        Raises:
            httpcore.WriteError: If nobody takes it. httpcore then looks for an answer
                all the same: a server may refuse a body before it has read it.
        """
        if not buffer:
            return
        if not self._is_unanswered:
            self._is_unanswered = True
            self._asked_at = trio.current_time()
        self._is_reused = self._has_carried_an_answer
        try:
            await self._stream.send_all(buffer)
        except trio.BrokenResourceError as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        """Close at once: HTTP/1.1 has no farewell that would be worth a wait."""
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> "NetworkStream":
        """Put TLS on top; see `secure`."""
        tls = await secure(self._stream, ssl_context, server_hostname or "")
        return NetworkStream(await _undisturbed(tls))

    def get_extra_info(self, info: str) -> object:
        """Answer httpcore's one question that matters: is this connection spent?

        It asks `is_readable` of an idle connection before using it again. One that has
        been idle for too long says yes as well, since httpcore's own expiry looks at a
        clock that is not Trio's.
        """
        if info == "is_readable":
            idle_s = trio.current_time() - self._last_byte_at
            return idle_s > IDLE_S or is_readable(self._stream)
        return None


def is_readable(stream: trio.abc.Stream) -> bool:
    """Say whether a stream, or what its TLS runs over, has bytes or its end waiting."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if isinstance(stream, trio.SocketStream):
        return stream.socket.is_readable()
    return isinstance(stream, Readable) and stream.is_readable()


async def _undisturbed(stream: Carrier) -> Carrier:
    """Hand over a new stream, unless a cancellation came in the same instant.

    Between this and the request, httpcore has one more checkpoint, outside of every
    `try`: a cancellation seen only there would leave the connection in its pool for
    ever, neither in use nor idle. Seen here, it is a failed connect.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream
