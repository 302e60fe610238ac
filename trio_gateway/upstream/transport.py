"""The pool as a transport of httpx, for programs that build upon this package.

`httpx.AsyncClient(transport=PoolTransport(upstream))` shares the gateway's connections
and their safety. The gateway itself uses nothing of this module: it costs several times
what the pool does. Its tests hold it to what clients of httpx expect.
"""

import math
from typing import Final, Self

import httpx
import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.leash import Leash
from trio_gateway.upstream.pool import CONNECT_TIMEOUT, PooledStream, PooledUpstream
from trio_gateway.upstream.request import (
    InvalidRequestError,
    request_bytes,
    start_of,
)

# What is the pool's to write.
_OURS: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})

# Nothing is asked twice here: clients of httpx expect to hear of a broken connection.
_ERRORS: Final[dict[FailureClass, type[httpx.TransportError]]] = {
    FailureClass.CONNECT: httpx.ConnectError,
    FailureClass.NOT_PROCESSED: httpx.ReadError,
    FailureClass.RESET: httpx.ReadError,
    FailureClass.BAD_ANSWER: httpx.RemoteProtocolError,
    FailureClass.INTERRUPTED: httpx.RemoteProtocolError,
}


class PoolTransport(httpx.AsyncBaseTransport):
    """httpx's interface over a pool, which somebody else closes.

    Of httpx's timeouts, `connect` and `read` hold: the one until the request can be
    sent, the other from then on until the head, and for each piece of the body. The
    body of a request is sent whole.
    """

    def __init__(self, upstream: PooledUpstream) -> None:
        self._upstream = upstream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of its answer comes as it is read.

        Raises:
            httpx.TransportError: If there is no answer; later, if it breaks.
        """
        url = request.url
        if url.scheme not in ("http", "https") or request.method == "CONNECT":
            raise httpx.UnsupportedProtocol("not for this transport", request=request)
        await request.aread()
        pool = self._upstream.pool_at(f"{url.scheme}://{url.netloc.decode('ascii')}")
        now = trio.current_time()
        connect_by = now + _limit_s(request, "connect")
        read_s = _limit_s(request, "read")
        with trio.move_on_at(connect_by + read_s):
            answer = await pool.open(
                _written(request), connect_by=connect_by, leash=Leash(), now=now
            )
            if isinstance(answer, Failure):
                raise _error(answer, request)
            body = _Body(answer, request, read_s)
            return httpx.Response(
                answer.status, headers=answer.headers, stream=body, request=request
            )
        raise httpx.ReadTimeout("no answer in time", request=request)


class _Body(httpx.AsyncByteStream):
    """The body of an answer.

    No generator, which would be left to the garbage collector where a reader leaves.
    """

    def __init__(
        self, stream: PooledStream, request: httpx.Request, read_s: float
    ) -> None:
        self._stream = stream
        self._request = request
        self._read_s = read_s
        self._is_empty = request.method == "HEAD"  # whatever its length announces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_empty:
            raise StopAsyncIteration
        with trio.move_on_after(self._read_s):
            data = await self._stream.receive()
            if isinstance(data, Failure):
                raise _error(data, self._request)
            if not data:
                raise StopAsyncIteration
            return data
        raise httpx.ReadTimeout("no more in time", request=self._request)

    async def aclose(self) -> None:
        await self._stream.aclose()


def _written(request: httpx.Request) -> bytes:
    url = request.url
    fields = [(n, v) for n, v in request.headers.raw if n.lower() not in _OURS]
    try:
        start = start_of(request.method.encode(), url.raw_path, url.netloc)
        return request_bytes(start, fields, request.content)
    except InvalidRequestError:
        raise httpx.LocalProtocolError("not valid HTTP", request=request) from None


def _limit_s(request: httpx.Request, name: str) -> float:
    limit_s = request.extensions.get("timeout", {}).get(name)
    return math.inf if limit_s is None else limit_s


def _error(failure: Failure, request: httpx.Request) -> httpx.TransportError:
    if failure is CONNECT_TIMEOUT:
        return httpx.ConnectTimeout(failure.cause, request=request)
    return _ERRORS[failure.kind](failure.cause, request=request)
