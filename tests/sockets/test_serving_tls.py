"""TLS in front of the same connections, by either loop."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import pytest
import trio
import trustme

from tests.serving.doors import (
    OURS,
    STUCK_S,
    Door,
    Kind,
    dial,
    happens,
    read,
    reset,
    tasks_fall_to,
    tasks_living,
)
from tests.serving.http2.client import Client as Http2Client
from tests.serving.toy import Receive, Send, Toy, answer, request, whole_body
from tests.sockets.gateway import open_files
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.process import Drain, Shutdown, Site, serve
from trio_gateway.serving.server import ServerKind
from trio_gateway.serving.tls import Certificate, Tls

Client = trio.SSLStream[trio.SocketStream]
Leave = Callable[[Client], Awaitable[None]]

# Real seconds; CI may be busy.
AT_ONCE_S = 10.0

AUTHORITY = trustme.CA()

pytestmark = pytest.mark.parametrize("kind", OURS)


@pytest.fixture(autouse=True)
def nothing_of_ours_fails(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    said = [record.getMessage() for record in caplog.get_records("call")]
    assert not any("connection_failed" in line for line in said)


def a_certificate(name: str = "localhost") -> Certificate:
    leaf = AUTHORITY.issue_cert(name)
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    return Certificate(chain, leaf.private_key_pem.bytes())


CERTIFICATE = a_certificate()


class Mirror(Toy):
    """Also sends back what it gets."""

    async def at_mirror(self, receive: Receive, send: Send) -> None:
        await answer(send, await whole_body(receive))


@dataclass
class Secured:
    app: Mirror
    tls: Tls
    port: int
    shutdown: Shutdown

    async def client(
        self, *, name: str = "localhost", receive_buffer: int | None = None, **how: Any
    ) -> Client:
        stream = trio.SSLStream(
            await dial(self.port, receive_buffer=receive_buffer),
            trust(**how),
            server_hostname=name,
            https_compatible=True,
        )
        with trio.fail_after(AT_ONCE_S):
            await stream.do_handshake()
        return stream


def trust(
    *, version: ssl.TLSVersion | None = None, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


@asynccontextmanager
async def secured(kind: Kind, limits: Limits | None = None) -> AsyncIterator[Secured]:
    """Serve over TLS; at the end, drain, which takes no time if nobody is there."""
    app, tls, shutdown = Mirror(), Tls(CERTIFICATE), Shutdown()
    door = await Door.open(is_plain=kind == "fast, read ahead")
    server = get_args(ServerKind)[kind == "hypercorn"]
    site = Site(app, [door], limits or Limits(), server, tls=tls)
    drain = Drain(limit_s=STUCK_S)
    with trio.fail_after(STUCK_S / 2):
        async with trio.open_nursery() as nursery:
            start = partial(serve, [site], shutdown=shutdown, drain=drain)
            await nursery.start(start)
            yield Secured(app, tls, door.port, shutdown)
            shutdown.request()


async def body_of(client: Client, sent: bytes) -> bytes:
    """Ask for a last answer, and read to the end."""
    with trio.fail_after(AT_ONCE_S):
        await client.send_all(sent)
        got = b"".join([data async for data in client])
    await client.aclose()
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return body


LAST = "connection: close"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_of_http_2_gets_it_from_hypercorn_and_else_http_1(
    version: ssl.TLSVersion, kind: Kind
) -> None:
    async with secured(kind) as server:
        client = await server.client(version=version, alpn=("h2", "http/1.1"))
        if kind == "hypercorn":
            assert client.selected_alpn_protocol() == "h2"
            asking = await Http2Client(client).begin()
            assert (await asking.get("/hi")).body == b"hi"
            await client.aclose()
        else:
            assert client.selected_alpn_protocol() == "http/1.1"
            assert await body_of(client, request("/hi", LAST)) == b"hi"


async def test_who_wants_http_1_alone_or_nothing_said_gets_it(kind: Kind) -> None:
    alone = () if kind == "hypercorn" else ("h2",)
    async with secured(kind) as server:
        for alpn in (("http/1.1",), (), alone):
            client = await server.client(alpn=alpn)
            agreed = "http/1.1" if alpn == ("http/1.1",) else None
            assert client.selected_alpn_protocol() == agreed
            assert await body_of(client, request("/hi", LAST)) == b"hi"


async def test_an_older_tls_than_1_2_is_refused(kind: Kind) -> None:
    async with secured(kind) as server:
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old = trust(version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        stream = trio.SSLStream(
            await dial(server.port), old, server_hostname="localhost"
        )
        with trio.fail_after(AT_ONCE_S), pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_bodies_pass_whole_both_ways_and_connections_are_kept(
    version: ssl.TLSVersion, kind: Kind
) -> None:
    body = bytes(range(256)) * 1500
    async with secured(kind, Limits(ahead_bytes_max=20_000)) as server:
        client = await server.client(version=version, receive_buffer=4096)
        for size in (1, 16384, 16385, len(body)):
            sent = request("/mirror", method="POST", body=body[:size])
            with trio.fail_after(AT_ONCE_S):
                got = b""
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.send_all, sent)
                    while not got.endswith(b"\r\n\r\n" + body[:size]):
                        got += bytes(await client.receive_some(5000))
        await client.aclose()


async def test_requests_sent_with_the_last_bytes_of_the_handshake_are_answered(
    kind: Kind,
) -> None:
    async with secured(kind) as server:
        client = trio.SSLStream(
            await dial(server.port),
            trust(),
            server_hostname="localhost",
            https_compatible=True,
        )
        both = request("/hi") + request("/hi", LAST)
        assert (await body_of(client, both)).endswith(b"hi")
    assert len(server.app.seen) == 2


async def test_a_silent_client_is_dropped_at_the_limit(kind: Kind) -> None:
    async with secured(kind, Limits(handshake_s=0.2)) as server:
        silent = await dial(server.port)
        assert await read(silent, within_s=AT_ONCE_S) == (b"", "end")
        await silent.aclose()
        halting = await dial(server.port)
        await halting.send_all(b"\x16\x03\x01\x02\x00\x01")  # a hello's beginning
        assert await read(halting, within_s=AT_ONCE_S) == (b"", "end")
        await halting.aclose()


async def test_who_has_not_shaken_hands_does_not_prolong_a_drain(
    kind: Kind,
) -> None:
    async with secured(kind, Limits(handshake_s=STUCK_S)) as server:
        silent = await dial(server.port)
        await trio.sleep(0.05)
        server.shutdown.request()
        assert await read(silent, within_s=AT_ONCE_S) == (b"", "end")
        await silent.aclose()


async def test_who_has_not_shaken_hands_makes_room_for_who_does(
    kind: Kind,
) -> None:
    limits = Limits(handshake_s=STUCK_S, connections_max=1)
    async with secured(kind, limits) as server:
        silent = await dial(server.port)
        await trio.sleep(0.05)
        client = await server.client()
        assert await body_of(client, request("/hi", LAST)) == b"hi"
        await silent.aclose()


async def test_who_cannot_be_let_in_is_told_so_in_tls(kind: Kind) -> None:
    async with secured(kind, Limits(connections_max=1)) as server:
        busy = await server.client()
        await busy.send_all(request("/wait"))
        await server.app.started.wait()
        client = await server.client()
        with trio.fail_after(AT_ONCE_S):
            assert (await client.receive_some()).startswith(b"HTTP/1.1 503 ")
        await client.aclose()
        await busy.aclose()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_leaves_in_the_middle_of_the_handshake_leaves_nothing(
    version: ssl.TLSVersion, kind: Kind
) -> None:
    before, files = tasks_living(), open_files()
    async with secured(kind, Limits(handshake_s=STUCK_S)) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        halves = trust(version=version).wrap_bio(
            incoming, outgoing, server_hostname="localhost"
        )
        with pytest.raises(ssl.SSLWantReadError):
            halves.do_handshake()
        hello = outgoing.read()
        for number, end in enumerate([*range(0, len(hello), 40), len(hello)]):
            client = await dial(server.port)
            await client.send_all(hello[:end])
            if end == len(hello):  # in whole: the server's answer is on its way
                await client.receive_some()
            await (reset(client) if number % 2 else client.aclose())
    assert await tasks_fall_to(before, within_s=AT_ONCE_S)
    assert open_files() <= files


@pytest.mark.parametrize("size", [0, 300_000])
async def test_plain_http_is_told_to_speak_tls_and_closed(
    size: int, kind: Kind
) -> None:
    async with secured(kind) as server:
        client = await dial(server.port)
        await client.send_all(request("/hi", method="POST", body=b"x" * size))
        got, end = await read(client, within_s=AT_ONCE_S)
        await client.aclose()
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in got
    assert end == "end"
    assert server.app.seen == []


async def test_what_is_neither_is_closed(kind: Kind) -> None:
    async with secured(kind) as server:
        client = await dial(server.port)
        await client.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        _, end = await read(client, within_s=AT_ONCE_S)
        assert end in {"end", "reset"}
        await client.aclose()


async def close(client: Client) -> None:
    await client.transport_stream.aclose()


async def half_close(client: Client) -> None:
    await client.transport_stream.send_eof()


async def abort(client: Client) -> None:
    await reset(client.transport_stream)


async def say_goodbye(client: Client) -> None:
    """Send TLS's farewell alone, as clients do that wait for ours before they close."""
    with pytest.raises(ssl.SSLWantReadError):
        client._ssl_object.unwrap()
    await client.transport_stream.send_all(client._outgoing.read())


DEPARTING = {
    "waiting": request("/wait", method="POST", body=b"{}"),
    "streaming": request("/stream"),
    "flooding": request("/flood"),
    "with another request": request("/wait") + request("/hi"),
}


@pytest.mark.parametrize("leave", [close, half_close, abort, say_goodbye])
@pytest.mark.parametrize("sent", DEPARTING.values(), ids=DEPARTING.keys())
async def test_every_departure_is_seen_at_once(
    sent: bytes, leave: Leave, kind: Kind
) -> None:
    await see_a_departure(kind, sent, leave)


async def see_a_departure(
    kind: Kind, sent: bytes, leave: Leave, alpn: tuple[str, ...] = ()
) -> None:
    async with secured(kind) as server:
        client = await server.client(receive_buffer=4096, alpn=alpn)
        await client.send_all(sent)
        await server.app.started.wait()
        await trio.sleep(0.02)
        assert not server.app.ended.is_set()
        await leave(client)
        assert await happens(server.app.ended, within_s=AT_ONCE_S)
        await trio.aclose_forcefully(client)


async def test_who_buries_us_in_bytes_counts_as_gone(kind: Kind) -> None:
    async with secured(kind, Limits(ahead_bytes_max=50_000)) as server:
        client = await server.client()
        await client.send_all(request("/wait"))
        with trio.move_on_after(AT_ONCE_S), suppress(trio.BrokenResourceError):
            while True:
                await client.send_all(b"x" * 5000)
        assert await happens(server.app.ended, within_s=AT_ONCE_S)
        await trio.aclose_forcefully(client)


async def test_a_stalled_client_is_cut_at_the_limit(kind: Kind) -> None:
    async with secured(kind, Limits(stall_s=0.2)) as server:
        client = await server.client(receive_buffer=4096)
        await client.send_all(request("/flood"))
        assert await happens(server.app.ended, within_s=AT_ONCE_S)
        await trio.aclose_forcefully(client)


async def test_a_new_certificate_is_for_new_connections_and_old_ones_go_on(
    kind: Kind,
) -> None:
    async with secured(kind) as server:
        old = await server.client()
        server.tls.renew(a_certificate("other"))
        new = await server.client(name="other")
        assert await body_of(new, request("/hi", LAST)) == b"hi"
        assert await body_of(old, request("/hi", LAST)) == b"hi"


async def test_one_that_is_none_leaves_the_old_one(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(kind) as server:
        server.tls.renew(Certificate(b"", b""))
        client = await server.client()
        assert await body_of(client, request("/hi", LAST)) == b"hi"
    assert "certificate_not_renewed" in caplog.text


async def test_http_1_0_is_not_told_that_a_cut_answer_is_whole(kind: Kind) -> None:
    if kind == "fast, read ahead":
        pytest.skip("a plain stream has no way to reset its connection")
    async with secured(kind) as server:
        client = await server.client()
        await client.send_all(b"GET /cut HTTP/1.0\r\n\r\n")
        got, end = b"", "reset"
        with trio.fail_after(AT_ONCE_S), suppress(trio.BrokenResourceError):
            while data := await client.receive_some():
                got += data
            end = "end"
        assert got.endswith(b"\r\n\r\nhalf")
        assert end == "reset"
        await trio.aclose_forcefully(client)


@pytest.mark.parametrize("ask", [b"GET /three HTTP/1.0\r\n\r\n", request("/hi", LAST)])
async def test_a_connection_ends_with_the_farewell_of_tls(
    ask: bytes, kind: Kind
) -> None:
    """Without it, a client must fear that somebody has cut off the rest."""
    async with secured(kind) as server:
        stream = await dial(server.port)
        client = trio.SSLStream(stream, trust(), server_hostname="localhost")
        await client.send_all(ask)
        got = b""
        with trio.fail_after(AT_ONCE_S):
            while data := await client.receive_some():
                got += data
            await client.aclose()
        assert got.endswith((b"xxx", b"hi"))
