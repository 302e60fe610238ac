"""The network behind the port, by httpx's stock transport: what goes through a proxy.

All else goes by `upstream.pool`. The one table in this module says what the exceptions
of httpx and httpcore mean. It judges no time but `connect_by`, follows no redirect,
reads no environment variable, decodes no body and knows nothing of providers.

The transport is called directly, without `httpx.AsyncClient`: cookies, redirects,
default headers and decoding are what a relay must not have. It runs over an httpcore
pool of our making, because httpx offers no way to pass the pool a network.
"""

import math
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpcore
import httpx
import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Account, Authorities, Secret
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.port import Call, Connect
from trio_gateway.upstream.failures import NOT_CONNECTED, not_connected
from trio_gateway.upstream.network import (
    Network,
    NoAnswerError,
    StaleConnectionError,
    at_once,
    connect_tcp,
    trusting,
)
from trio_gateway.upstream.proxy import through_proxy
from trio_gateway.upstream.request import UNLESS_GIVEN

# Idle connections kept per provider: enough for a burst to find TLS already done. Each
# costs a file descriptor, and httpcore polls every one of them for every request.
IDLE_CONNECTIONS_MAX: Final = 256


class HttpUpstream:
    """All providers' networks: one pool of connections for each, made when first used.

    Use it as an async context manager, or close it with `aclose()`.
    """

    def __init__(
        self, *, connect: Connect | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        """Take the seam under all connections: TCP unless told otherwise.

        `trust` is for the accounts that name no authorities.
        """
        self._connect = connect_tcp if connect is None else connect
        # Made once, here: it takes some 30 ms, which no exchange should have to wait.
        self._trust = trusting() if trust is None else trust
        self._pools: dict[_Place, _Pool] = {}

    async def open(self, call: Call) -> "HttpStream | Failure":
        """Send a request and wait for the head of its answer; see the port."""
        place = _Place.of(call.account)
        if call.is_redial and (old := self._pools.pop(place, None)):
            await old.retire()  # none of its idle connections will do
        pool = self._pool(place)
        pool.streams += 1
        answer: HttpStream | Failure | None = None
        try:
            answer = await _send(call, pool)
            return answer
        finally:
            if not isinstance(answer, HttpStream):
                await pool.release()

    async def retain(self, accounts: Iterable[Account]) -> None:
        """Close the pools of all other accounts, each as soon as its last stream is.

        To be called when a policy has replaced another. An exchange that still follows
        the old one may open a pool again; the next call closes it.
        """
        kept = {_Place.of(account) for account in accounts}
        for place in [place for place in self._pools if place not in kept]:
            await self._pools.pop(place).retire()

    async def aclose(self) -> None:
        """Close every connection at once, also those in use.

        Of accounts that `retain` has dropped, those in use are their exchanges' to
        close.
        """
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _pool(self, place: "_Place") -> "_Pool":
        """Find or make a pool; without awaiting, so that none is made twice."""
        pool = self._pools.get(place)
        if pool is None:
            pool = _Pool(_Transport(place, self._connect, self._trust))
            self._pools[place] = pool
        return pool


class HttpStream:
    """An answer whose head has come, over the connection that carries it."""

    def __init__(self, response: httpx.Response, pool: "_Pool", leash: Leash) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._status = response.status_code
        self._headers = tuple(
            (name.lower(), value) for name, value in response.headers.raw
        )
        self._body = response.stream
        self._chunks = aiter(response.stream)
        self._pool = pool
        self._leash = leash
        self._end: bytes | Failure | None = None
        self._is_open = True

    @property
    def status(self) -> int:
        """The status code."""
        return self._status

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields as they came, names in lower case."""
        return self._headers

    def take_rest(self) -> bytes | None:
        """Know of nothing: httpx does not tell."""
        return None

    async def receive(self) -> bytes | Failure:
        """Wait for more of the body, as it came; see the port."""
        if self._end is not None:
            return self._end
        # Stands if the wait below is cancelled. httpcore's iterator would then say that
        # it is at its end, and a cut body must never look like a whole one.
        self._end = _ABANDONED
        try:
            with trio.CancelScope() as wait:
                self._leash.hold(wait.cancel)
                chunk = await anext(self._chunks)
            if wait.cancelled_caught:
                return self._end
        except StopAsyncIteration:
            self._end = b""
        except _TRANSLATED as error:
            self._end = _failure(_Phase.BODY, error)
        else:
            self._end = None
            return chunk
        return self._end

    async def aclose(self) -> None:
        """Free the connection, without waiting: reused after a whole body, else closed.

        An iterator left in the middle would leave httpx's and httpcore's nested
        generators to the garbage collector. A read that is cancelled from the start
        unwinds them all, and closes the connection on its way out.
        """
        if not self._is_open:
            return
        self._is_open = False
        if self._end is None:
            self._end = _ABANDONED
        with at_once(), suppress(*_TRANSLATED):
            async for _ in self._chunks:
                pass  # already received: what is left of it may complete the body
        with at_once():
            await self._body.aclose()
        await self._pool.release()


class _Phase(Enum):
    """How far one request has come."""

    CONNECT = auto()
    HEAD = auto()
    BODY = auto()


async def _send(call: Call, pool: "_Pool") -> HttpStream | Failure:
    """Connect, send, wait for the head; `connect_by` holds until the request starts."""
    phase = _Phase.CONNECT
    connecting = trio.CancelScope(deadline=call.connect_by)
    call.leash.hold(connecting.cancel)

    async def trace(event: str, _: object) -> None:
        nonlocal phase
        if event == "http11.send_request_headers.started":
            phase = _Phase.HEAD
            connecting.deadline = math.inf

    request = _request(call)
    request.extensions["trace"] = trace
    try:
        with connecting:
            response = await pool.transport.handle_async_request(request)
    except _TRANSLATED as error:
        return _failure(phase, error)
    if connecting.cancelled_caught:
        return Failure(FailureClass.CONNECT, "connect timeout")
    return HttpStream(response, pool, call.leash)


def _request(call: Call) -> httpx.Request:
    """Write a request: the call's fields exactly, and only what HTTP needs besides."""
    url = httpx.URL(call.account.base_url + call.path)
    given = {name for name, _ in call.headers}
    headers = [(b"host", url.netloc), *call.headers]
    headers += [field for field in UNLESS_GIVEN if field[0] not in given]
    headers.append((b"content-length", b"%d" % len(call.body)))
    return httpx.Request("POST", url, headers=headers, stream=_Body(call.body))


class _Body(httpx.AsyncByteStream):
    """The body of a request, in one piece.

    httpx's own is a generator, which is left suspended, to the garbage collector, where
    the connection breaks or a cancellation comes while it is sent.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._is_taken = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._is_taken = False
        return self

    async def __anext__(self) -> bytes:
        if self._is_taken:
            raise StopAsyncIteration
        self._is_taken = True
        return self._body


def _failure(phase: _Phase, error: Exception) -> Failure:
    """Translate an exception; its own text stays here, for it may hold addresses."""
    if phase is _Phase.CONNECT:
        return not_connected(error)
    for row in _TABLE[phase]:
        if isinstance(error, row.error) and str(error).startswith(row.text):
            return Failure(row.kind, row.cause)
    raise error


class _Row(NamedTuple):
    """What an exception of the libraries below means in one phase of a request."""

    error: type[Exception]
    kind: FailureClass
    cause: str
    text: str = ""  # how its message begins, where nothing else tells it apart


_RESET: Final = FailureClass.RESET
_BAD: Final = FailureClass.BAD_ANSWER
_CUT: Final = FailureClass.INTERRUPTED

# For a connect, see `upstream.failures`. The first row that fits is taken; what has
# none is a bug of ours, and loud.
_TABLE: Final = {
    _Phase.HEAD: (
        _Row(
            StaleConnectionError,
            FailureClass.NOT_PROCESSED,
            "reused connection was closed",
        ),
        _Row(NoAnswerError, _RESET, "closed before an answer"),
        _Row(trio.BrokenResourceError, _RESET, "reset inside the head"),
        _Row(trio.ClosedResourceError, _RESET, "closed by us"),
        _Row(
            httpx.RemoteProtocolError,
            _RESET,
            "closed inside the head",
            text="Server disconnected",
        ),
        _Row(httpx.RemoteProtocolError, _BAD, "not an HTTP answer"),
        _Row(httpx.LocalProtocolError, _BAD, "request is not valid HTTP"),
    ),
    _Phase.BODY: (
        _Row(trio.BrokenResourceError, _CUT, "reset inside the body"),
        _Row(trio.ClosedResourceError, _CUT, "closed by us"),
        _Row(
            httpx.RemoteProtocolError,
            _CUT,
            "closed inside the body",
            text="peer closed connection",
        ),
        _Row(httpx.RemoteProtocolError, _CUT, "body is not valid HTTP"),
    ),
}
_TRANSLATED: Final[tuple[type[Exception], ...]] = (
    *NOT_CONNECTED,
    *{row.error for rows in _TABLE.values() for row in rows},
)
_ABANDONED: Final = Failure(_CUT, "read was abandoned")


class _Place(NamedTuple):
    """What decides where a connection leads. Credentials go with each request."""

    base_url: str
    proxy: Secret | None
    authorities: Authorities | None

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(account.base_url, account.proxy, account.authorities)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's stock transport, over a pool that takes its connections from us."""

    def __init__(self, place: _Place, connect: Connect, trust: ssl.SSLContext) -> None:
        """Make a pool for one place.

        Raises:
            ssl.SSLError: If its authorities hold no certificate.
        """
        if place.authorities is not None:
            trust = trusting(place.authorities)
        if place.proxy is not None:
            connect = through_proxy(connect, place.proxy.reveal, trust)
        # In place of super().__init__(), which makes a pool that knows no seam. The
        # number of connections is for `max_concurrency` to bound, above; how long they
        # stay idle is for `NetworkStream`. HTTP/2 is off: cancelling a request that
        # waits for another's connect would leak the connection.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS_MAX,
            keepalive_expiry=None,
            http2=False,
            network_backend=Network(connect),
        )


@dataclass(slots=True)
class _Pool:
    """A transport, how many streams use it, and whether it ends with the last."""

    transport: _Transport
    streams: int = 0
    is_retired: bool = False

    async def release(self) -> None:
        """One stream is over."""
        self.streams -= 1
        await self._close_if_over()

    async def retire(self) -> None:
        """No new stream will come."""
        self.is_retired = True
        await self._close_if_over()

    async def _close_if_over(self) -> None:
        if self.is_retired and not self.streams:
            with at_once():
                await self.transport.aclose()
