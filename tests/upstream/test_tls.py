"""Certificates, real and wrong, over sockets and in virtual time; tunnels as well."""

import base64
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from tests.upstream.peers import (
    HOST,
    PROXY,
    Authority,
    Make,
    Peer,
    a_call,
    in_memory,
    on_sockets,
)
from tests.upstream.test_http import OK, always_ok, kind, pooled, silence, whole
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.port import Connect


async def test_a_certificate_of_the_accounts_own_authority_is_accepted(
    authority: Authority, make: Make
) -> None:
    async with (
        on_sockets(always_ok, trust=authority.server) as place,
        make() as upstream,
    ):
        call = a_call(place.base_url, ca_file=authority.ca_file)
        for _ in range(2):
            assert await whole(await upstream.open(call)) == b"hello"
        assert place.connections == 1


async def test_http_1_is_asked_for_where_a_server_would_rather_speak_2(
    make: Make, authority: Authority
) -> None:
    agreed: list[str | None] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        assert isinstance(peer.stream, trio.SSLStream)
        agreed.append(peer.stream.selected_alpn_protocol())
        await peer.send(OK)

    async with on_sockets(serve, trust=authority.modern) as place, make() as upstream:
        call = a_call(place.base_url, ca_file=authority.ca_file)
        assert await whole(await upstream.open(call)) == b"hello"
    assert agreed == ["http/1.1"]


async def test_a_certificate_of_an_unknown_authority_is_refused(
    authority: Authority, make: Make
) -> None:
    async with (
        on_sockets(always_ok, trust=authority.server) as place,
        make() as upstream,
    ):
        outcome = await upstream.open(a_call(place.base_url))
        assert outcome == Failure(FailureClass.CONNECT, "certificate not accepted")
        assert pooled(upstream) == 0


async def test_a_certificate_for_another_name_is_refused(
    authority: Authority, make: Make
) -> None:
    async with (
        on_sockets(always_ok, trust=authority.stranger) as place,
        make() as upstream,
    ):
        outcome = await upstream.open(a_call(place.base_url, ca_file=authority.ca_file))
        assert outcome == Failure(FailureClass.CONNECT, "certificate not accepted")


async def test_a_server_without_tls_fails_the_handshake(
    authority: Authority, make: Make
) -> None:
    async def talk_http(peer: Peer) -> None:
        await peer.stream.receive_some(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with on_sockets(talk_http) as place, make() as upstream:
        secure_url = place.base_url.replace("http://", "https://")
        outcome = await upstream.open(a_call(secure_url))
        assert outcome == Failure(FailureClass.CONNECT, "TLS handshake failed")


async def test_a_server_that_leaves_in_the_handshake_is_a_failed_connect(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def leave(peer: Peer) -> None:
        await peer.stream.receive_some(1)

    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        serve_at(network, HOST, 443, leave, nursery)
        async with make(connect=network.connect) as upstream:
            assert (
                kind(await upstream.open(a_call(f"https://{HOST}")))
                is FailureClass.CONNECT
            )
        nursery.cancel_scope.cancel()


async def test_whom_to_trust_was_read_with_the_policy_and_not_with_the_connection(
    tmp_path: Path, authority: Authority, make: Make
) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    right = authority.ca_file
    async with (
        on_sockets(always_ok, trust=authority.server) as place,
        make() as upstream,
    ):
        before = a_call(place.base_url, ca_file=str(file))
        shutil.copy(right, file)
        after = a_call(place.base_url, ca_file=str(file))
        file.unlink()
        refused = Failure(FailureClass.CONNECT, "certificate not accepted")
        assert await upstream.open(before) == refused
        assert await whole(await upstream.open(after)) == b"hello"
        assert await upstream.open(before) == refused


async def test_the_connect_limit_covers_the_handshake(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        serve_at(network, HOST, 443, Peer.until_the_client_leaves, nursery)
        async with make(connect=network.connect) as upstream:
            limit = trio.current_time() + 2
            call = a_call(f"https://{HOST}", connect_by=limit)
            outcome = await upstream.open(call)
            assert outcome == Failure(FailureClass.CONNECT, "connect timeout")
            assert trio.current_time() == limit
            assert pooled(upstream) == 0
        nursery.cancel_scope.cancel()


async def test_a_cancellation_over_tls_leaves_no_connection(
    autojump_clock: trio.testing.MockClock, authority: Authority, make: Make
) -> None:
    async with (
        in_memory(silence, latency_s=0.1, trust=authority.server) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url, ca_file=authority.ca_file)
        for tenths in range(12):  # before, in and after each round trip
            with trio.move_on_after(tenths / 10):
                await upstream.open(call)
            await trio.sleep(1)
            assert pooled(upstream) == place.connections_open == 0


class Noticed(trio.abc.SendStream):
    """A stream that tells how often something was sent on it."""

    def __init__(self, stream: trio.abc.Stream, on_send: Callable[[int], None]) -> None:
        self._stream = stream
        self._on_send = on_send
        self._sends = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)
        self._sends += 1
        self._on_send(self._sends)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_a_cancellation_in_the_instant_of_the_handshakes_end_leaves_nothing(
    autojump_clock: trio.testing.MockClock, authority: Authority, make: Make
) -> None:
    async with in_memory(silence, trust=authority.server) as place:
        scope = trio.CancelScope()

        def on_send(count: int) -> None:
            if count == 2:  # our hello, our end of the handshake
                scope.cancel()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            stream = await place.connect(host, port)
            return trio.StapledStream(Noticed(stream, on_send), stream)

        async with make(connect=connect) as upstream:
            with scope:
                await upstream.open(a_call(place.base_url, ca_file=authority.ca_file))
            await trio.sleep(1)
            assert scope.cancelled_caught
            assert pooled(upstream) == place.connections_open == 0


# Through a proxy

NO_TUNNEL = "not an answer of a proxy"


def serve_at(
    network: MemoryNetwork,
    host: str,
    port: int,
    serve: Callable[[Peer], Awaitable[None]],
    nursery: trio.Nursery,
) -> None:
    async def accept(stream: trio.abc.Stream) -> None:
        try:
            await serve(Peer(stream))
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    listener = network.listen(host, port)
    nursery.start_soon(trio.serve_listeners, accept, [listener])


def a_proxy(connect: Connect, asked: list[bytes]) -> Callable[[Peer], Awaitable[None]]:
    """Open tunnels to wherever `connect` leads."""

    async def serve(peer: Peer) -> None:
        asked.append(await peer.request() or b"")
        there = await connect(HOST, int(asked[-1].split()[1].rpartition(b":")[2]))
        await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n")

        async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
            try:
                while data := await source.receive_some():
                    await sink.send_all(data)
            except trio.BrokenResourceError:
                pass
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, peer.stream, there)
            nursery.start_soon(copy, there, peer.stream)
        await trio.aclose_forcefully(there)

    return serve


@pytest.mark.parametrize("is_secure", [True, False])
async def test_a_proxy_is_asked_for_a_tunnel(
    autojump_clock: trio.testing.MockClock,
    authority: Authority,
    is_secure: bool,
    make: Make,
) -> None:
    network, asked = MemoryNetwork(), list[bytes]()
    trust = authority.server if is_secure else None
    async with in_memory(always_ok, trust=trust) as place, trio.open_nursery() as tasks:
        serve_at(network, PROXY, 3128, a_proxy(place.connect, asked), tasks)
        async with make(connect=network.connect) as upstream:
            call = a_call(
                place.base_url,
                ca_file=authority.ca_file,
                proxy=f"http://us%40er:secret@{PROXY}:3128",
            )
            for _ in range(2):
                assert await whole(await upstream.open(call)) == b"hello"
        tasks.cancel_scope.cancel()

    authority_asked = f"{HOST}:{443 if is_secure else 80}".encode()
    credential = base64.b64encode(b"us@er:secret")
    assert asked == [
        b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic %b\r\n\r\n"
        % (authority_asked, authority_asked, credential)
    ]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "proxy answered 407"),
        (b"HTTP/1.0 502 No\r\nx: y\r\n\r\n<html>", "proxy answered 502"),
        (b"HTTP/1.1 100 \r\n\r\n", "proxy answered 100"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20_000 + b"\r\n\r\n", NO_TUNNEL),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", NO_TUNNEL),
        (b"HTTP/1.1 2000\r\n\r\n", NO_TUNNEL),
        (b"SSH-2.0\r\n\r\n", NO_TUNNEL),
        (b"HTTP/1.1 200", "closed by the proxy"),
        (b"", "closed by the proxy"),
    ],
    ids=["407", "502", "100", "endless", "more", "2000", "no HTTP", "cut", "nothing"],
)
async def test_a_proxy_that_opens_no_tunnel_is_a_failed_connect(
    autojump_clock: trio.testing.MockClock, answer: bytes, cause: str, make: Make
) -> None:
    async def refuse(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        serve_at(network, PROXY, 80, refuse, nursery)
        async with make(connect=network.connect) as upstream:
            call = a_call("https://provider.test", proxy=f"http://{PROXY}")
            outcome = await upstream.open(call)
            assert outcome == Failure(FailureClass.CONNECT, cause)
            assert pooled(upstream) == 0
        nursery.cancel_scope.cancel()


async def test_what_is_no_proxy_is_not_waited_for(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def greet(peer: Peer) -> None:
        await peer.send(b"220 mail.test ESMTP\r\n")
        await trio.sleep_forever()

    async with in_memory(greet) as server, make(connect=server.connect) as upstream:
        call = a_call("https://x.test", proxy=server.base_url)
        outcome = await upstream.open(call)
        assert outcome == Failure(FailureClass.CONNECT, NO_TUNNEL)
        assert trio.current_time() == 0


async def test_a_proxy_that_hangs_is_left_at_the_connect_limit(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(silence) as proxy,
        make(connect=proxy.connect) as upstream,
    ):
        limit = trio.current_time() + 2
        call = a_call("https://x.test", proxy=proxy.base_url, connect_by=limit)
        outcome = await upstream.open(call)
        assert outcome == Failure(FailureClass.CONNECT, "connect timeout")
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == limit
        assert pooled(upstream) == proxy.connections_open == 0


async def test_failed_tls_inside_a_tunnel_leaves_nothing_behind(
    autojump_clock: trio.testing.MockClock, authority: Authority, make: Make
) -> None:
    network = MemoryNetwork()
    async with (
        in_memory(always_ok, trust=authority.stranger) as place,
        trio.open_nursery() as tasks,
    ):
        serve_at(network, PROXY, 3128, a_proxy(place.connect, []), tasks)
        async with make(connect=network.connect) as upstream:
            call = a_call(
                place.base_url,
                ca_file=authority.ca_file,
                proxy=f"http://{PROXY}:3128",
            )
            for _ in range(3):
                outcome = await upstream.open(call)
                assert outcome == Failure(
                    FailureClass.CONNECT, "certificate not accepted"
                )
            await trio.sleep(1)
            assert pooled(upstream) == place.connections_open == 0
        tasks.cancel_scope.cancel()


async def test_a_proxy_may_itself_speak_tls(
    autojump_clock: trio.testing.MockClock, authority: Authority, make: Make
) -> None:
    network, asked = MemoryNetwork(), list[bytes]()
    async with (
        in_memory(always_ok, trust=authority.server) as place,
        trio.open_nursery() as tasks,
    ):
        tunnel = a_proxy(place.connect, asked)

        async def serve(peer: Peer) -> None:
            tls = trio.SSLStream(peer.stream, authority.server, server_side=True)
            await tunnel(Peer(tls))

        serve_at(network, PROXY, 443, serve, tasks)
        async with make(connect=network.connect) as upstream:
            call = a_call(
                place.base_url, ca_file=authority.ca_file, proxy=f"https://{PROXY}"
            )
            assert await whole(await upstream.open(call)) == b"hello"
        tasks.cancel_scope.cancel()
    assert len(asked) == 1
