"""A raw HTTP server for tests, in memory or on sockets.

Small on purpose: it writes the bytes of HTTP itself, so that a test can also send what
no server should.
"""

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
import trustme

from trio_gateway.chaos.network import MemoryNetwork, MemoryStream
from trio_gateway.policy.route import Account, Authorities, ProviderKind, Secret
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.letterhead import Letterhead
from trio_gateway.relay.port import Call, Connect
from trio_gateway.upstream.http import HttpUpstream
from trio_gateway.upstream.network import connect_tcp
from trio_gateway.upstream.pool import PooledUpstream

HOST = "provider.test"
PROXY = "proxy.test"


@dataclass
class Authority:
    """A certificate authority of our own, and what it has signed."""

    ca_file: str
    server: ssl.SSLContext
    stranger: ssl.SSLContext  # has a certificate for another name
    modern: ssl.SSLContext  # would rather speak HTTP/2


def an_authority(folder: Path) -> Authority:
    ca = trustme.CA()
    file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(file))

    def context(*names: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(*names).configure_cert(context)
        return context

    modern = context("127.0.0.1")
    modern.set_alpn_protocols(["h2", "http/1.1"])
    return Authority(
        ca_file=str(file),
        server=context(HOST, "127.0.0.1", PROXY),
        stranger=context("elsewhere.test"),
        modern=modern,
    )


@dataclass
class Peer:
    """A server's end of one connection."""

    stream: trio.abc.Stream
    received: bytearray = field(default_factory=bytearray)

    async def request(self) -> bytes | None:
        """Read one whole request; None if the client closed instead."""
        while b"\r\n\r\n" not in self.received:
            if not await self._more():
                return None
        head, _, _ = bytes(self.received).partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                length = int(value)
        end = len(head) + 4 + length
        while len(self.received) < end:
            if not await self._more():
                return None
        request = bytes(self.received[:end])
        del self.received[:end]
        return request

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until_the_client_leaves(self) -> None:
        while await self._more():
            pass

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self.received += data
        return bool(data)

    def reset(self) -> None:
        stream = self.stream
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if isinstance(stream, MemoryStream):
            stream.reset()
        else:
            assert isinstance(stream, trio.SocketStream)
            linger = struct.pack("ii", 1, 0)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            stream.socket.close()


Make = type[HttpUpstream] | type[PooledUpstream]
Serve = Callable[[Peer], Awaitable[None]]


@dataclass
class Place:
    """Where a server is, and what has come to it."""

    base_url: str
    connect: Connect
    connections: int = 0
    connections_open: int = 0
    closed: trio.Event = field(default_factory=trio.Event)

    async def wait_all_closed(self) -> None:
        while self.connections_open:
            await self.closed.wait()

    async def serve(
        self, serve: Serve, trust: ssl.SSLContext | None, stream: trio.abc.Stream
    ) -> None:
        self.connections += 1
        self.connections_open += 1
        try:
            if trust is not None:
                stream = trio.SSLStream(
                    stream, trust, server_side=True, https_compatible=True
                )
            await serve(Peer(stream))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client left, or we reset
        finally:
            self.connections_open -= 1
            self.closed.set()
            self.closed = trio.Event()
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def in_memory(
    serve: Serve, *, latency_s: float = 0.0, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Place]:
    network = MemoryNetwork(latency_s=latency_s)
    listener = network.listen(HOST, 443 if trust else 80)
    place = Place(_url(HOST, trust), network.connect)
    async with trio.open_nursery() as nursery:
        accept = partial(place.serve, serve, trust)
        nursery.start_soon(trio.serve_listeners, accept, [listener])
        yield place
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def on_sockets(
    serve: Serve, *, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Place]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    place = Place(_url(f"127.0.0.1:{port}", trust), connect_tcp)
    async with trio.open_nursery() as nursery:
        accept = partial(place.serve, serve, trust)
        nursery.start_soon(trio.serve_listeners, accept, [listener])
        yield place
        nursery.cancel_scope.cancel()


def _url(authority: str, trust: ssl.SSLContext | None) -> str:
    return f"{'https' if trust else 'http'}://{authority}"


def authorities_of(ca_file: str) -> Authorities:
    """What a policy that names this file holds of it."""
    return Authorities(ca_file, Path(ca_file).read_text())


def a_call(
    base_url: str,
    *,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    fields: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"{}",
    connect_by: float = float("inf"),
    ca_file: str | None = None,
    proxy: str | None = None,
) -> Call:
    account = Account(
        name="provider",
        kind=ProviderKind.OPENAI,
        base_url=base_url,
        api_key=None,
        failure_domain="provider",
        authorities=None if ca_file is None else authorities_of(ca_file),
        proxy=None if proxy is None else Secret(proxy),
    )
    return Call(
        account,
        "/v1/chat/completions",
        Letterhead(headers),
        fields,
        body,
        connect_by,
        Leash(),
    )


def a_port_nobody_listens_on() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def a_port_that_swallows() -> Iterator[int]:
    """A port whose queue is full: the kernel answers no more connects."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            waiting = sockets.enter_context(socket.socket())
            waiting.settimeout(0)
            with suppress(BlockingIOError):
                waiting.connect(address)
        yield address[1]
