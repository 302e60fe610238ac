"""The network behind the port, built for speed: our own pool of HTTP/1.1 connections.

An exchange pays for one write, one wait and one read, and for little Python between
them: no request or response objects, no task, no lock, and a cancel scope only where a
connection must be made. What makes that safe:

- A connection has one owner at any time: the pool while it is idle, else one exchange.
  It goes back only after an answer that was whole and in step, without awaiting; on
  every other way out, cancellations included, its owner closes it. So there is nothing
  to lock and nothing to leak.
- The idle connection used last is used first: the others grow old, and are closed. One
  that has ended meanwhile, or has got bytes that nobody asked for, is noticed before it
  is used. One that dies under its request before any byte of an answer is a failure
  of class `not_processed`; whether to ask again is the engine's business.
- There is no task in the background: what has been idle for too long is closed by
  whichever exchange comes by next.

What this does not do, which is proxies, goes through `upstream.http` and httpx's stock
transport. The socket layer is in `links`, connecting in `dial` and `dns`, reading HTTP
in `reader`.
"""

import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from types import TracebackType
from typing import Final, Self

import httpx
import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Account, Authorities
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.letterhead import Letterhead
from trio_gateway.relay.port import Call, Connect, UpstreamStream
from trio_gateway.upstream.connection import ABANDONED, Connection
from trio_gateway.upstream.dial import Dialer, over_sockets, over_streams
from trio_gateway.upstream.dns import Resolver
from trio_gateway.upstream.failures import NOT_CONNECTED, not_connected
from trio_gateway.upstream.http import IDLE_CONNECTIONS_MAX, HttpUpstream
from trio_gateway.upstream.links import Tls
from trio_gateway.upstream.network import IDLE_S, trusting
from trio_gateway.upstream.request import (
    UNLESS_GIVEN,
    InvalidRequestError,
    request_bytes,
    start_of,
)

# Then a connection is renewed, however busy: so that a provider's new addresses, or
# another machine behind its balancer, are found without a restart.
AGE_S: Final = 600.0

# How often somebody looks for connections that have been idle for too long.
SWEEP_S: Final = 5.0

# Places remembered, beyond which those without a connection are forgotten: not an
# operator's few dozen, but wherever a client of httpx may go (`upstream.transport`).
POOLS_MAX: Final = 1_000

# Beginnings of requests remembered for one place. A policy has one or two per model.
STARTS_MAX: Final = 256

CONNECT_TIMEOUT: Final = Failure(FailureClass.CONNECT, "connect timeout")
_CLOSED: Final = Failure(FailureClass.CONNECT, "closed by us")
_INVALID: Final = Failure(FailureClass.BAD_ANSWER, "request is not valid HTTP")


class PooledUpstream:
    """All providers' networks: one pool of connections for each, made when first used.

    Use it as an async context manager, or close it with `aclose()`.
    """

    def __init__(self, *, connect: Connect | None = None) -> None:
        """Take the seam under all connections: the kernel's sockets unless told."""
        self._trust = trusting()
        self._proxied = HttpUpstream(connect=connect, trust=self._trust)
        self._dial = over_streams(connect) if connect else over_sockets(Resolver())
        self._pools: dict[tuple[str, Authorities | None], Pool] = {}
        self._sweep_at = 0.0
        self._is_in_doubt = False

    async def open(self, call: Call) -> UpstreamStream | Failure:
        """Send a request and wait for the head of its answer; see the port."""
        account = call.account
        now = trio.current_time()
        if now >= self._sweep_at:
            await self._sweep(now)
        if account.proxy is not None:
            return await self._proxied.open(call)
        pool = self.pool_at(account.base_url, account.authorities)
        try:
            request = pool.request(call)
        except InvalidRequestError:
            return _INVALID
        return await pool.open(
            request,
            connect_by=call.connect_by,
            leash=call.leash,
            now=now,
            is_redial=call.is_redial,
        )

    def pool_at(self, base_url: str, authorities: Authorities | None = None) -> "Pool":
        """Find or make the pool of a place; without awaiting, lest two are made."""
        place = (base_url, authorities)
        pool = self._pools.get(place)
        if pool is None:
            trust = self._trust if authorities is None else trusting(authorities)
            if len(self._pools) >= POOLS_MAX:
                self._forget_quiet_pools()
            pool = self._pools[place] = Pool(base_url, self._dial, trust)
        return pool

    def _forget_quiet_pools(self) -> None:
        for place, pool in list(self._pools.items()):
            if pool.retire_if_quiet():
                del self._pools[place]

    async def retain(self, accounts: Iterable[Account]) -> None:
        """Close the pools of all other accounts, each as soon as its last stream is.

        To be called when a policy has replaced another. An exchange that still follows
        the old one may open a pool again; the next call closes it.
        """
        accounts = list(accounts)
        await self._proxied.retain(accounts)
        kept = {(account.base_url, account.authorities) for account in accounts}
        for place in [place for place in self._pools if place not in kept]:
            await self._pools.pop(place).retire()
        for pool in self._pools.values():
            pool.forget_starts()

    def doubt(self) -> None:
        """Use no idle connection again: more time may have passed than Trio knows."""
        self._sweep_at = -inf
        self._is_in_doubt = True

    async def aclose(self) -> None:
        """Close every connection at once, also those in use or being made.

        Of accounts that `retain` has dropped, those in use are their exchanges' to
        close.
        """
        while self._pools:
            _, pool = self._pools.popitem()
            await pool.aclose()
        await self._proxied.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _sweep(self, now: float) -> None:
        self._sweep_at = now + SWEEP_S
        idle_since_before = now - IDLE_S
        if self._is_in_doubt:
            self._is_in_doubt = False
            idle_since_before = inf
            await self._proxied.retain([])
        for pool in list(self._pools.values()):
            await pool.close_idle(idle_since_before=idle_since_before)


class Pool:
    """The connections to one place, and how its requests begin."""

    def __init__(self, base_url: str, dial: Dialer, trust: ssl.SSLContext) -> None:
        url = httpx.URL(base_url)
        self._base_url = base_url
        self._host = url.raw_host.decode("ascii")
        self._tls = Tls(trust, self._host) if url.scheme == "https" else None
        self._port = url.port or (443 if self._tls else 80)
        self._dial = dial
        self._starts: dict[tuple[str, Letterhead], bytes] = {}
        self._idle: deque[Connection] = deque()  # the one used last stands last
        self._in_use: set[Connection] = set()
        self._dialling: set[trio.CancelScope] = set()
        self._is_retired = False
        self._is_closed = False

    def request(self, call: Call) -> bytes:
        """Write a call's request.

        Raises:
            InvalidRequestError: If a field cannot be written.
        """
        start = self._starts.get((call.path, call.letterhead))
        if start is None:
            start = self._start(call.path, call.letterhead)
        return request_bytes(start, call.fields, call.body)

    def _start(self, path: str, letterhead: Letterhead) -> bytes:
        """Write the beginning of requests to a path, once for many."""
        if len(self._starts) >= STARTS_MAX:
            self._starts.clear()
        url = httpx.URL(self._base_url + path)
        missing = [field for field in UNLESS_GIVEN if field[0] not in letterhead.names]
        fields = (*letterhead.fields, *missing)
        start = start_of(b"POST", url.raw_path, url.netloc, fields)
        self._starts[path, letterhead] = start
        return start

    def forget_starts(self) -> None:
        """Let go of what was written for accounts that may be of yesterday."""
        self._starts.clear()

    async def open(
        self,
        request: bytes,
        *,
        connect_by: float,
        leash: Leash,
        now: float,
        is_redial: bool = False,
    ) -> "PooledStream | Failure":
        """Send a request and wait for the head of its answer.

        A redial goes over a new connection: what killed one that was kept, such as a
        balancer that has lost its memory, has killed others as well.
        """
        connection = None if is_redial else await self._take_idle(now)
        if connection is None:
            made = await self._connect(connect_by, leash)
            if isinstance(made, Failure):
                return made
            connection = made
        self._in_use.add(connection)
        leash.hold(connection.abort)
        try:
            failure = await connection.ask(request, now=now)
        except BaseException:
            await self._discard(connection)
            raise
        if failure is not None:
            await self._discard(connection)
            return failure
        return PooledStream(connection, self, leash)

    async def _take_idle(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            is_old = now - connection.idle_since > IDLE_S
            if not is_old and not connection.is_spent():
                return connection
            await connection.aclose()
        return None

    async def _connect(self, connect_by: float, leash: Leash) -> Connection | Failure:
        """Dial, within a limit that covers everything until a request can be sent."""
        scope = trio.CancelScope(deadline=connect_by)
        leash.hold(scope.cancel)
        self._dialling.add(scope)
        try:
            with scope:
                link = await self._dial(self._host, self._port, self._tls)
                if not self._is_closed:
                    return Connection(link, made_at=trio.current_time())
                await link.aclose()  # it was made as everything was closed
        except NOT_CONNECTED as error:
            return not_connected(error)
        finally:
            self._dialling.discard(scope)
        return _CLOSED if self._is_closed else CONNECT_TIMEOUT

    async def release(self, connection: Connection) -> None:
        """Take back a connection: keep it if its answer is over, else close it."""
        now = trio.current_time()
        if (
            self._is_retired
            or now - connection.made_at > AGE_S
            or not connection.is_ready_again()
        ):
            await self._discard(connection)
            return
        self._in_use.discard(connection)
        connection.idle_since = now
        self._idle.append(connection)
        if len(self._idle) > IDLE_CONNECTIONS_MAX:
            await self._idle.popleft().aclose()

    async def _discard(self, connection: Connection) -> None:
        self._in_use.discard(connection)
        await connection.aclose()

    async def close_idle(self, *, idle_since_before: float) -> None:
        """Close what has been idle for too long."""
        while self._idle and self._idle[0].idle_since < idle_since_before:
            await self._idle.popleft().aclose()

    def retire_if_quiet(self) -> bool:
        """Take leave of a place to which there is no connection."""
        self._is_retired = not (self._idle or self._in_use)
        return self._is_retired

    async def retire(self) -> None:
        """Close what is idle, and everything else as soon as it would be."""
        self._is_retired = True
        while self._idle:
            await self._idle.popleft().aclose()

    async def aclose(self) -> None:
        """Close everything at once; who waits for an answer gets a failure."""
        self._is_closed = True
        for scope in self._dialling:
            scope.cancel()
        await self.retire()
        for connection in list(self._in_use):
            await connection.aclose()


class PooledStream:
    """An answer whose head has come, over the connection that carries it."""

    __slots__ = ("_connection", "_end", "_leash", "_pool", "headers", "status")

    def __init__(self, connection: Connection, pool: Pool, leash: Leash) -> None:
        self.status: int = connection.status
        self.headers: Sequence[tuple[bytes, bytes]] = tuple(connection.headers)
        self._connection: Connection | None = connection
        self._pool = pool
        self._leash = leash
        self._end: bytes | Failure = ABANDONED  # once this is closed

    async def receive(self) -> bytes | Failure:
        """Wait for more of the body, as it came; see the port."""
        if self._connection is None:
            return self._end
        return await self._connection.receive()

    def take_rest(self) -> bytes | None:
        """Take what is left of a body that is here in full; see the port."""
        return None if self._connection is None else self._connection.take_rest()

    async def aclose(self) -> None:
        """Free the connection, without waiting: kept after a whole body or closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._leash.free()
            self._end = connection.end
            await self._pool.release(connection)
