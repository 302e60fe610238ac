"""What is particular to our own pool: which connection is used, and none is lost."""

import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.upstream.peers import Authority, Peer, Place, a_call, in_memory, on_sockets
from tests.upstream.test_http import (
    OK,
    always_ok,
    kind,
    pooled,
    silence,
    unfinished,
    whole,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.port import UpstreamStream
from trio_gateway.upstream.pool import PooledUpstream

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def opened(
    upstream: PooledUpstream, base_url: str, *, ca_file: str | None = None
) -> UpstreamStream:
    stream = await upstream.open(a_call(base_url, ca_file=ca_file))
    assert not isinstance(stream, Failure), stream
    return stream


def numbered(answers: list[int]) -> Callable[[Peer], Awaitable[None]]:
    """Serve, and note for each request which connection brought it."""
    connections = 0

    async def serve(peer: Peer) -> None:
        nonlocal connections
        number = connections
        connections += 1
        while await peer.request() is not None:
            answers.append(number)
            await peer.send(OK)

    return serve


# Which connection


async def test_the_connection_used_last_is_used_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    used: list[int] = []
    async with (
        in_memory(numbered(used)) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        streams = [await opened(upstream, place.base_url) for _ in range(3)]
        for number in (0, 2, 1):
            await whole(streams[number])
        for _ in range(3):
            await whole(await opened(upstream, place.base_url))
    assert used == [0, 1, 2, 1, 1, 1]


async def test_a_connection_is_renewed_after_ten_minutes_however_busy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    used: list[int] = []
    async with (
        in_memory(numbered(used)) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        for _ in range(70):
            await whole(await opened(upstream, place.base_url))
            await trio.sleep(10)
        assert place.connections == 2
        assert used[60] == 0
        assert used[63] == 1


async def test_idle_connections_are_bounded_and_the_oldest_goes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        in_memory(always_ok) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        streams = [await opened(upstream, place.base_url) for _ in range(300)]
        for stream in streams:
            await whole(stream)
        await trio.sleep(1)
        assert place.connections_open == pooled(upstream) == 256


async def test_what_is_idle_for_too_long_is_closed_by_whoever_comes_by(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        in_memory(always_ok) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        for stream in [await opened(upstream, place.base_url) for _ in range(10)]:
            await whole(stream)
        await trio.sleep(30)
        assert place.connections_open == 10
        await whole(await opened(upstream, place.base_url + "/elsewhere"))
        await trio.sleep(1)
        assert place.connections_open == 1


async def test_a_connection_is_kept_where_only_the_last_chunk_was_not_asked_for() -> (
    None
):
    may_go_on = trio.Event()

    async def serve(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(CHUNKED + b"5\r\nhello\r\n")
            await may_go_on.wait()
            await peer.send(b"0\r\n\r\n")

    async with on_sockets(serve) as place, PooledUpstream() as upstream:
        for _ in range(2):
            stream = await opened(upstream, place.base_url)
            assert await stream.receive() == b"hello"
            may_go_on.set()
            await trio.sleep(0.05)
            await stream.aclose()
        assert place.connections == 1


async def test_a_body_left_in_the_middle_closes_its_connection() -> None:
    async with on_sockets(unfinished) as place, PooledUpstream() as upstream:
        stream = await opened(upstream, place.base_url)
        assert await stream.receive() == b"hello"
        await stream.aclose()
        assert pooled(upstream) == 0
        with trio.fail_after(5):
            await place.wait_all_closed()


async def test_a_forgotten_place_has_no_connection_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        in_memory(always_ok) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        open_stream = await opened(upstream, place.base_url)
        for number in range(1_100):
            assert upstream.pool_at(f"http://host{number}.test") is not None
        assert len(upstream._pools) <= 1_000
        assert await whole(open_stream) == b"hello"
        await whole(await opened(upstream, place.base_url))
        assert place.connections == 1


# What is sent


@pytest.mark.parametrize(
    "field",
    [
        (b"x-a", b"1\r\nx-b: 2"),
        (b"x-a", b"1\nx-b: 2"),
        (b"x-a", b"1\r"),
        (b"x-a", b"1\0"),
        (b"x-a: 1\r\nx-b", b"2"),
        (b"x a", b"1"),
        (b"x:a", b"1"),
        (b"", b"1"),
    ],
)
async def test_a_field_that_could_smuggle_is_never_sent(
    autojump_clock: trio.testing.MockClock, field: tuple[bytes, bytes]
) -> None:
    async with (
        in_memory(always_ok) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        not_valid = Failure(FailureClass.BAD_ANSWER, "request is not valid HTTP")
        for call in (
            a_call(place.base_url, headers=(field,)),
            a_call(place.base_url, fields=(field,)),
            a_call(place.base_url, fields=((b"x-good", b"1"), field)),
        ):
            assert await upstream.open(call) == not_valid
        assert place.connections == 0


async def test_a_request_has_its_accounts_fields_and_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    requests: list[bytes] = []

    async def serve(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            requests.append(request.partition(b"\r\nhost: provider.test\r\n")[2])
            await peer.send(OK)

    async with (
        in_memory(serve) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        first = a_call(
            place.base_url, headers=((b"accept", b"a/b"),), fields=((b"x-id", b"1"),)
        )
        assert await whole(await upstream.open(first)) == b"hello"
        second = first._replace(fields=((b"x-id", b"2"), (b"x-more", b"3")))
        assert await whole(await upstream.open(second)) == b"hello"
        await upstream.retain([first.account])  # a reload: nothing may be stale
        other = a_call(place.base_url, headers=((b"accept", b"c/d"),))
        third = first._replace(letterhead=other.letterhead)
        assert await whole(await upstream.open(third)) == b"hello"

    ours = b"accept-encoding: identity\r\n"
    length = b"content-length: 2\r\n\r\n{}"
    assert requests == [
        b"accept: a/b\r\n" + ours + b"x-id: 1\r\n" + length,
        b"accept: a/b\r\n" + ours + b"x-id: 2\r\nx-more: 3\r\n" + length,
        b"accept: c/d\r\n" + ours + b"x-id: 1\r\n" + length,
    ]


# Bare sockets, and TLS on them


@asynccontextmanager
async def a_place(
    serve: Callable[[Peer], Awaitable[None]], authority: Authority | None
) -> AsyncIterator[tuple[Place, PooledUpstream]]:
    trust = None if authority is None else authority.server
    async with on_sockets(serve, trust=trust) as place, PooledUpstream() as upstream:
        yield place, upstream


@pytest.fixture(params=["plain", "TLS"])
def ca(request: pytest.FixtureRequest, authority: Authority) -> Authority | None:
    return authority if request.param == "TLS" else None


def ca_file(ca: Authority | None) -> str | None:
    return None if ca is None else ca.ca_file


async def test_large_requests_and_answers_pass_whole(ca: Authority | None) -> None:
    async def echo(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            body = request.partition(b"\r\n\r\n")[2]
            await peer.send(
                b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            await peer.send(body)

    body = random.Random(1).randbytes(8_000_000)
    async with a_place(echo, ca) as (place, upstream):
        call = a_call(place.base_url, body=body, ca_file=ca_file(ca))
        for _ in range(2):
            assert await whole(await upstream.open(call)) == body
        assert place.connections == 1


async def test_a_refusal_is_heard_while_the_body_is_still_on_its_way(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        while b"\r\n\r\n" not in peer.received:
            peer.received += await peer.stream.receive_some(1024)
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await trio.sleep_forever()

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, body=bytes(32_000_000), ca_file=ca_file(ca))
        with trio.fail_after(5):
            stream = await upstream.open(call)
            assert not isinstance(stream, Failure)
            assert stream.status == 413
            assert await whole(stream) == b"no"
        assert pooled(upstream) == 0, "it has not heard all of the request"


async def test_an_answer_that_begins_early_gets_all_of_its_request(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        for _ in range(2):
            while b"\r\n\r\n" not in peer.received:
                peer.received += await peer.stream.receive_some(1024)
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
            request = await peer.request()
            assert request is not None
            await peer.send(b"%05d" % (len(request) // 1_000_000))
        await peer.until_the_client_leaves()

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, body=bytes(32_000_000), ca_file=ca_file(ca))
        for _ in range(2):
            with trio.fail_after(20):
                assert await whole(await upstream.open(call)) == b"hello00032"
        assert place.connections == 1


async def test_a_word_in_between_is_no_answer(ca: Authority | None) -> None:
    async def serve(peer: Peer) -> None:
        while b"\r\n\r\n" not in peer.received:
            peer.received += await peer.stream.receive_some(1024)
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        request = await peer.request()
        assert request is not None
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        await peer.until_the_client_leaves()

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, body=bytes(32_000_000), ca_file=ca_file(ca))
        with trio.fail_after(20):
            assert await whole(await upstream.open(call)) == b"hello"
        assert pooled(upstream) == 1


async def test_a_sender_waits_for_a_reader_that_does_not_read(
    ca: Authority | None,
) -> None:
    sent = 0

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 24000000\r\n\r\n")
        for _ in range(240):
            await peer.send(b"x" * 100_000)
            sent += 100_000

    async with a_place(serve, ca) as (place, upstream):
        stream = await opened(upstream, place.base_url, ca_file=ca_file(ca))
        before = -1
        while sent != before:
            before = sent
            await trio.sleep(0.1)
        assert sent < 20_000_000  # what two kernel buffers hold
        received = 0
        while data := await stream.receive():
            assert isinstance(data, bytes)
            received += len(data)
        assert received == 24_000_000
        await stream.aclose()


async def test_a_reused_connection_that_dies_before_an_answer_did_not_process_it(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.reset()

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, ca_file=ca_file(ca))
        assert await whole(await upstream.open(call)) == b"hello"
        assert kind(await upstream.open(call)) is FailureClass.NOT_PROCESSED
        assert pooled(upstream) == 0


async def test_no_idle_connection_is_used_again_once_it_is_in_doubt(
    ca: Authority | None,
) -> None:
    """Time may have passed that Trio does not know of."""
    async with a_place(always_ok, ca) as (place, upstream):
        call = a_call(place.base_url, ca_file=ca_file(ca))
        for _ in range(2):
            assert await whole(await upstream.open(call)) == b"hello"
        assert place.connections == 1
        upstream.doubt()
        for _ in range(2):
            assert await whole(await upstream.open(call)) == b"hello"
        assert place.connections == 2


async def test_a_connection_closed_while_idle_is_replaced_silently(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, ca_file=ca_file(ca))
        for _ in range(3):
            assert await whole(await upstream.open(call)) == b"hello"
            with trio.fail_after(5):
                await place.wait_all_closed()
        assert place.connections == 3


async def test_an_idle_connection_that_speaks_unasked_is_not_used(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(OK)
            await trio.sleep(0.01)
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    async with a_place(serve, ca) as (place, upstream):
        call = a_call(place.base_url, ca_file=ca_file(ca))
        for _ in range(2):
            assert await whole(await upstream.open(call)) == b"hello"
            await trio.sleep(0.1)
        assert place.connections == 2


async def unread(peer: Peer) -> None:
    await peer.stream.receive_some(1)
    await trio.sleep_forever()


@pytest.mark.parametrize("serve", [silence, unread, unfinished])
async def test_closing_the_upstream_ends_whoever_waits(
    ca: Authority | None, serve: Callable[[Peer], Awaitable[None]]
) -> None:
    body = b"x" * 20_000_000 if serve is unread else b"{}"  # more than kernels hold
    async with a_place(serve, ca) as (place, upstream), trio.open_nursery() as nursery:
        is_over = trio.Event()

        async def wait() -> None:
            call = a_call(place.base_url, body=body, ca_file=ca_file(ca))
            outcome = await whole(await upstream.open(call))
            assert isinstance(outcome, Failure)
            assert outcome.cause == "closed by us"
            is_over.set()

        nursery.start_soon(wait)
        await trio.sleep(0.2)
        await upstream.aclose()
        with trio.fail_after(5):
            await is_over.wait()


class Dialling:
    """A network where connecting takes until it is let."""

    def __init__(self, *, heeds: bool) -> None:
        self.begun = trio.Event()
        self.go_on = trio.Event()
        self.heeds = heeds  # a cancellation
        self.ours, self.theirs = trio.testing.memory_stream_pair()

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        self.begun.set()
        with trio.CancelScope(shield=not self.heeds):
            await self.go_on.wait()
        return self.ours


@pytest.mark.parametrize("heeds", [True, False], ids=["in time", "in that instant"])
async def test_closing_the_upstream_ends_whoever_is_dialling(
    heeds: bool, autojump_clock: trio.testing.MockClock
) -> None:
    network, outcomes = Dialling(heeds=heeds), []
    upstream = PooledUpstream(connect=network.connect)

    async def dial() -> None:
        outcomes.append(await upstream.open(a_call("http://a.test/v1")))

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            await network.begun.wait()
            await upstream.aclose()
            if not heeds:
                network.go_on.set()
    assert outcomes == [Failure(FailureClass.CONNECT, "closed by us")]
    if not heeds:
        assert await network.theirs.receive_some() == b""


async def test_a_tls_session_is_taken_up_again(authority: Authority) -> None:
    resumed: list[bool] = []

    async def serve(peer: Peer) -> None:
        await peer.request()
        assert isinstance(peer.stream, trio.SSLStream)
        resumed.append(peer.stream.session_reused)
        await peer.send(OK)

    async with a_place(serve, authority) as (place, upstream):
        for _ in range(3):
            call = a_call(place.base_url, ca_file=authority.ca_file)
            assert await whole(await upstream.open(call)) == b"hello"
            with trio.fail_after(5):
                await place.wait_all_closed()
    assert resumed == [False, True, True]


# Leaving


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the k-th step that any task takes, ours or the peer's."""

    def __init__(self, k: int, scope: trio.CancelScope) -> None:
        self.left = k
        self.scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


async def in_two_pieces(peer: Peer) -> None:
    while await peer.request() is not None:
        await peer.send(CHUNKED + b"2\r\nhe\r\n")
        await peer.send(b"3\r\nllo\r\n0\r\n\r\n")


async def leave_at_every_step(
    place: Place, upstream: PooledUpstream, ca: str | None
) -> int:
    """Cancel one exchange over a new connection and one over a used, wherever it is."""
    k = 1
    while True:
        call = a_call(place.base_url, ca_file=ca)
        outcome: bytes | Failure | None = None
        with trio.CancelScope() as scope:
            instrument = CancelAt(k, scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                for _ in range(2):
                    outcome = await whole(await upstream.open(call))
            finally:
                trio.lowlevel.remove_instrument(instrument)
        for pool in upstream._pools.values():
            assert not pool._in_use, f"cancelled at step {k}"
        await upstream.retain([])
        with trio.fail_after(5):
            await place.wait_all_closed()
        if not scope.cancelled_caught:
            assert outcome == b"hello"
            return k
        k += 1


async def test_cancelled_at_any_step_nothing_is_left_in_memory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with (
        in_memory(in_two_pieces, latency_s=0.1) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        assert await leave_at_every_step(place, upstream, None) > 10
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="/proc counts files")


@needs_proc
async def test_cancelled_at_any_step_nothing_is_left_on_sockets(
    ca: Authority | None,
) -> None:
    async with a_place(in_two_pieces, ca) as (place, upstream):
        call = a_call(place.base_url, ca_file=ca_file(ca))
        await whole(await upstream.open(call))
        await upstream.retain([])
        await place.wait_all_closed()
        await trio.testing.wait_all_tasks_blocked()
        tasks, files = trio.lowlevel.current_statistics().tasks_living, open_files()
        assert await leave_at_every_step(place, upstream, ca_file(ca)) > 10
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert open_files() == files


@needs_proc
async def test_three_hundred_that_leave_at_any_moment_leave_nothing(
    ca: Authority | None,
) -> None:
    async def serve(peer: Peer) -> None:
        while await peer.request() is not None:
            await trio.sleep(0.01)
            await in_pieces(peer)

    async def in_pieces(peer: Peer) -> None:
        await peer.send(CHUNKED)
        for letter in b"hello":
            await peer.send(b"1\r\n%c\r\n" % letter)
            await trio.sleep(0.005)
        await peer.send(b"0\r\n\r\n")

    rng = random.Random(6)
    outcomes: list[bytes | Failure] = []

    async def one(stays_s: float, comes_s: float) -> None:
        await trio.sleep(comes_s)
        with trio.move_on_after(stays_s):
            call = a_call(place.base_url, ca_file=ca_file(ca))
            outcomes.append(await whole(await upstream.open(call)))

    async with a_place(serve, ca) as (place, upstream):
        await whole(await upstream.open(a_call(place.base_url, ca_file=ca_file(ca))))
        await upstream.retain([])
        await place.wait_all_closed()
        files = open_files()
        async with trio.open_nursery() as nursery:
            for number in range(300):
                stays_s = 60.0 if number % 3 == 0 else rng.uniform(0, 0.2)
                nursery.start_soon(one, stays_s, rng.uniform(0, 1))
        assert all(outcome == b"hello" for outcome in outcomes)
        assert len(outcomes) >= 100
        assert not any(pool._in_use for pool in upstream._pools.values())
        await upstream.retain([])
        with trio.fail_after(5):
            await place.wait_all_closed()
        assert open_files() == files
