"""What is particular to the real upstreams: their connections and their HTTP."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from tests.upstream.peers import Make, Peer, a_call, in_memory
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.port import UpstreamStream
from trio_gateway.upstream.http import HttpUpstream
from trio_gateway.upstream.pool import PooledUpstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
FOREVER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


def answering(*answers: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Serve a connection's requests with these bytes in turn, then close it."""

    async def serve(peer: Peer) -> None:
        for answer in answers:
            if await peer.request() is None:
                return
            await peer.send(answer)

    return serve


async def always_ok(peer: Peer) -> None:
    while await peer.request() is not None:
        await peer.send(OK)


async def silence(peer: Peer) -> None:
    await peer.request()
    await peer.until_the_client_leaves()


async def unread(peer: Peer) -> None:
    await peer.stream.receive_some(1)
    await trio.sleep(10)
    await peer.until_the_client_leaves()


async def unfinished(peer: Peer) -> None:
    await peer.request()
    await peer.send(FOREVER)
    await peer.until_the_client_leaves()


async def whole(stream: UpstreamStream | Failure) -> bytes | Failure:
    """Read an answer to its end and close it."""
    if isinstance(stream, Failure):
        return stream
    body = b""
    try:
        while data := await stream.receive():
            if isinstance(data, Failure):
                return data
            body += data
        return body
    finally:
        await stream.aclose()


def pooled(upstream: HttpUpstream | PooledUpstream) -> int:
    """How many connections it believes it has."""
    if isinstance(upstream, PooledUpstream):
        pools = upstream._pools.values()
        own = sum(len(pool._idle) + len(pool._in_use) for pool in pools)
        return own + pooled(upstream._proxied)
    return sum(
        len(pool.transport._pool.connections) for pool in upstream._pools.values()
    )


def kind(outcome: object) -> FailureClass:
    assert isinstance(outcome, Failure), outcome
    return outcome.kind


# What is sent


async def test_a_request_holds_the_call_exactly_and_only_what_http_needs_besides(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    requests = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.request())
        await peer.send(OK)

    headers = ((b"authorization", b"Bearer k"), (b"x-name", b"caf\xe9 \xc3\xa9"))
    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url + "/base", headers=headers, body=b'{"a": 1}')
        call = call._replace(path="/v1/x?api-version=1&b=%2F")
        assert await whole(await upstream.open(call)) == b"hello"

    expected = (
        b"POST /base/v1/x?api-version=1&b=%2F HTTP/1.1\r\n"
        b"host: provider.test\r\n"
        b"authorization: Bearer k\r\n"
        b"x-name: caf\xe9 \xc3\xa9\r\n"
        b"accept: */*\r\n"
        b"accept-encoding: identity\r\n"
        b"content-length: 8\r\n\r\n"
        b'{"a": 1}'
    )
    assert requests == [expected]


async def test_a_calls_own_accept_stands(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    requests = []

    async def serve(peer: Peer) -> None:
        requests.append(await peer.request() or b"")
        await peer.send(OK)

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url, headers=((b"accept", b"text/event-stream"),))
        await whole(await upstream.open(call))

    assert requests[0].count(b"accept:") == 1
    assert b"accept: text/event-stream" in requests[0]


# What is received


async def test_fields_come_as_they_were_sent_but_for_the_case_of_their_names(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    answer = (
        b"HTTP/1.1 429 Slow\r\nX-Name: caf\xe9 \xc3\xa9\r\nx-twice: 1\r\nX-Twice: 2\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00"
    )
    async with (
        in_memory(answering(answer)) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        assert stream.status == 429
        assert stream.headers == (
            (b"x-name", b"caf\xe9 \xc3\xa9"),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
            (b"content-encoding", b"gzip"),
            (b"content-length", b"3"),
        )
        assert await whole(stream) == b"\x1f\x8b\x00"  # never decoded


async def test_interim_answers_are_passed_over(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    )
    async with (
        in_memory(answering(interim + OK)) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        assert stream.status == 200
        assert await whole(stream) == b"hello"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", FailureClass.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", FailureClass.BAD_ANSWER),
        (b"HTTP/1.1 101 Go\r\nupgrade: websocket\r\n\r\n", FailureClass.BAD_ANSWER),
        (
            b"HTTP/1.1 200 OK\r\nx-endless: " + b"a" * 300_000,
            FailureClass.BAD_ANSWER,
        ),
        (
            b"HTTP/1.1 200 OK\r\n" + b"x-many: 1\r\n" * 30_000,
            FailureClass.BAD_ANSWER,
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-", FailureClass.RESET),
        (b"", FailureClass.RESET),
    ],
    ids=["no HTTP", "length", "upgrade", "long", "many", "cut", "empty"],
)
async def test_a_head_that_is_none_is_a_failure(
    autojump_clock: trio.testing.MockClock,
    answer: bytes,
    expected: FailureClass,
    make: Make,
) -> None:
    async with (
        in_memory(answering(answer)) as place,
        make(connect=place.connect) as upstream,
    ):
        assert kind(await upstream.open(a_call(place.base_url))) is expected
        assert pooled(upstream) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        b"content-length: 7\r\n\r\nhello",
    ],
    ids=["no last chunk", "bad chunk", "short"],
)
async def test_a_body_whose_framing_is_broken_is_interrupted_and_stays_so(
    autojump_clock: trio.testing.MockClock, body: bytes, make: Make
) -> None:
    async with (
        in_memory(answering(b"HTTP/1.1 200 OK\r\n" + body)) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        assert await stream.receive() == b"hello"
        for _ in range(2):
            assert kind(await stream.receive()) is FailureClass.INTERRUPTED
        await stream.aclose()
        assert pooled(upstream) == 0


async def test_an_answer_before_the_whole_request_was_read_is_an_answer(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.stream.receive_some(100)
        await peer.send(b"HTTP/1.1 413 Too Much\r\ncontent-length: 2\r\n\r\nno")

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url, body=b"x" * 10_000_000))
        assert not isinstance(stream, Failure)
        assert stream.status == 413
        assert await whole(stream) == b"no"
        assert pooled(upstream) == 0  # out of step: not used again


async def test_a_provider_waits_for_a_reader_that_does_not_read(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    sent = 0

    async def serve(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n")
        for _ in range(500):
            await peer.send(b"x" * 10_000)
            sent += 10_000

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        await trio.sleep(10)
        assert sent < 300_000
        assert await whole(stream) == b"x" * 5_000_000


# Connections


async def test_a_connection_is_used_again_after_a_whole_body(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(always_ok) as place,
        make(connect=place.connect) as upstream,
    ):
        for _ in range(5):
            assert await whole(await upstream.open(a_call(place.base_url))) == b"hello"
        assert place.connections == 1


async def test_a_body_that_has_come_whole_need_not_be_read_to_its_end(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(always_ok) as place,
        make(connect=place.connect) as upstream,
    ):
        for _ in range(2):
            stream = await upstream.open(a_call(place.base_url))
            assert not isinstance(stream, Failure)
            await trio.sleep(1)
            await stream.aclose()
        assert place.connections == 1


async def test_accounts_do_not_share_connections(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(always_ok) as place,
        make(connect=place.connect) as upstream,
    ):
        for base in (place.base_url, place.base_url + "/other"):
            await whole(await upstream.open(a_call(base)))
        assert place.connections == 2


async def test_a_reused_connection_that_dies_before_an_answer_did_not_process_it(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url)
        assert await whole(await upstream.open(call)) == b"hello"
        assert kind(await upstream.open(call)) is FailureClass.NOT_PROCESSED


async def test_a_redial_goes_over_a_new_connection_though_others_are_kept(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    """What killed one kept connection has killed the others, too."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(1)
        await peer.send(OK)
        await peer.request()  # and is dead

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url)

        async def ask() -> None:
            assert await whole(await upstream.open(call)) == b"hello"

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert pooled(upstream) == place.connections == 3
        for k in range(2):
            assert kind(await upstream.open(call)) is FailureClass.NOT_PROCESSED
            redial = call._replace(is_redial=True, leash=Leash())
            assert await whole(await upstream.open(redial)) == b"hello"
            assert place.connections == 4 + k


async def test_a_reused_connection_that_ends_late_may_have_processed_it(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await trio.sleep(1.5)

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url)
        assert await whole(await upstream.open(call)) == b"hello"
        assert kind(await upstream.open(call)) is FailureClass.RESET


async def test_a_reused_connection_that_is_reset_did_not_process_it_either(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.reset()

    async with (
        in_memory(serve) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url)
        assert await whole(await upstream.open(call)) == b"hello"
        assert kind(await upstream.open(call)) is FailureClass.NOT_PROCESSED


async def test_a_reused_connection_that_dies_inside_the_head_is_a_reset(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(answering(OK, b"HTTP/1.1 2")) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url)
        assert await whole(await upstream.open(call)) == b"hello"
        assert kind(await upstream.open(call)) is FailureClass.RESET


async def test_a_connection_closed_while_idle_is_replaced_silently(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(answering(OK)) as place,
        make(connect=place.connect) as upstream,
    ):
        for _ in range(3):
            assert await whole(await upstream.open(a_call(place.base_url))) == b"hello"
            await trio.sleep(1)
        assert place.connections == 3


@pytest.mark.parametrize(("idle_s", "connections"), [(19, 1), (21, 2)])
async def test_a_connection_idle_for_too_long_is_not_trusted(
    autojump_clock: trio.testing.MockClock, idle_s: float, connections: int, make: Make
) -> None:
    async with (
        in_memory(always_ok) as place,
        make(connect=place.connect) as upstream,
    ):
        for _ in range(2):
            assert await whole(await upstream.open(a_call(place.base_url))) == b"hello"
            await trio.sleep(idle_s)
        assert place.connections == connections


async def test_accounts_no_longer_named_are_closed_with_their_last_stream(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(always_ok) as place,
        make(connect=place.connect) as upstream,
    ):
        kept, dropped = a_call(place.base_url), a_call(place.base_url + "/dropped")
        await whole(await upstream.open(kept))
        await whole(await upstream.open(dropped))
        stream = await upstream.open(dropped)

        await upstream.retain([kept.account])
        await trio.sleep(1)
        assert place.connections_open == 2
        assert await whole(stream) == b"hello"
        await trio.sleep(1)
        assert place.connections_open == 1

        await upstream.retain([])
        await trio.sleep(1)
        assert place.connections_open == 0


async def test_closing_the_upstream_ends_open_streams_visibly(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with in_memory(unfinished) as place:
        async with make(connect=place.connect) as upstream:
            stream = await upstream.open(a_call(place.base_url))
            assert not isinstance(stream, Failure)
            assert await stream.receive() == b"hello"
        assert kind(await stream.receive()) is FailureClass.INTERRUPTED
        await stream.aclose()
        await trio.sleep(1)
        assert place.connections_open == 0


# Time


async def test_the_connect_limit_ends_with_the_connect(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        await peer.request()
        await trio.sleep(60)
        await peer.send(OK)

    async with (
        in_memory(serve, latency_s=0.5) as place,
        make(connect=place.connect) as upstream,
    ):
        call = a_call(place.base_url, connect_by=trio.current_time() + 2)
        assert await whole(await upstream.open(call)) == b"hello"


async def test_a_connection_made_in_the_instant_of_a_cancellation_is_closed(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with in_memory(silence) as place:
        scope = trio.CancelScope()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            stream = await place.connect(host, port)
            scope.cancel()
            return stream

        async with make(connect=connect) as upstream:
            with scope:
                await upstream.open(a_call(place.base_url))
            await trio.sleep(1)
            assert scope.cancelled_caught
            assert place.connections == 1
            assert pooled(upstream) == place.connections_open == 0


async def test_a_host_that_no_name_server_knows_is_a_failure_to_connect(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(silence) as place,
        make(connect=place.connect) as upstream,
    ):
        outcome = await upstream.open(a_call("http://nowhere.test"))
        assert outcome == Failure(FailureClass.CONNECT, "name not resolved")
        assert pooled(upstream) == 0


async def test_a_connect_that_hangs_ends_at_its_limit(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(silence, latency_s=60) as place,
        make(connect=place.connect) as upstream,
    ):
        limit = trio.current_time() + 2
        outcome = await upstream.open(a_call(place.base_url, connect_by=limit))
        assert outcome == Failure(FailureClass.CONNECT, "connect timeout")
        assert trio.current_time() == limit
        assert pooled(upstream) == 0


@pytest.mark.parametrize("stage", ["connecting", "sending", "head", "body"])
async def test_a_cancellation_frees_the_connection_in_the_same_instant(
    autojump_clock: trio.testing.MockClock, stage: str, make: Make
) -> None:
    serve = {"sending": unread, "body": unfinished}.get(stage, silence)
    body = b"x" * 1_000_000 if stage == "sending" else b"{}"
    async with (
        in_memory(serve, latency_s=60 if stage == "connecting" else 0) as place,
        make(connect=place.connect) as upstream,
    ):
        started_at = trio.current_time()
        with trio.move_on_after(10) as scope:
            stream = await upstream.open(a_call(place.base_url, body=body))
            assert not isinstance(stream, Failure)
            try:
                while await stream.receive():
                    pass
            finally:
                await stream.aclose()
        assert scope.cancelled_caught
        assert trio.current_time() == started_at + 10
        assert pooled(upstream) == 0
        await trio.testing.wait_all_tasks_blocked()
        assert place.connections_open == 0
        assert trio.current_time() == started_at + 10


async def test_a_cancelled_read_never_looks_like_the_end_of_a_whole_body(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(unfinished) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        assert await stream.receive() == b"hello"
        with trio.move_on_after(1):
            await stream.receive()
        assert kind(await stream.receive()) is FailureClass.INTERRUPTED
        await stream.aclose()


async def test_a_stream_closed_early_never_looks_whole(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(unfinished) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        await stream.aclose()
        await stream.aclose()
        assert kind(await stream.receive()) is FailureClass.INTERRUPTED
        assert pooled(upstream) == 0


async def test_a_stream_is_closed_also_inside_a_cancelled_scope(
    autojump_clock: trio.testing.MockClock, make: Make
) -> None:
    async with (
        in_memory(unfinished) as place,
        make(connect=place.connect) as upstream,
    ):
        stream = await upstream.open(a_call(place.base_url))
        assert not isinstance(stream, Failure)
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.aclose()
        assert not scope.cancelled_caught  # nothing was left undone
        assert pooled(upstream) == 0
        await trio.testing.wait_all_tasks_blocked()
        assert place.connections_open == 0


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_leaks_while_thirty_workers_are_cancelled_at_random(
    autojump_clock: trio.testing.MockClock, seed: int, make: Make
) -> None:
    async def serve(peer: Peer) -> None:
        rng = random.Random(f"{seed}/{place.connections}")
        while await peer.request() is not None:
            await trio.sleep(rng.uniform(0, 0.2))
            await peer.send(OK[:40])
            await trio.sleep(rng.uniform(0, 0.2))
            await peer.send(OK[40:])

    outcomes = {"whole": 0, "cancelled": 0}

    async def work(worker: int) -> None:
        rng = random.Random(f"{seed}/{worker}")
        for _ in range(15):
            with trio.move_on_after(rng.choice((0.2, 0.4, rng.uniform(0, 1)))) as scope:
                body = await whole(await upstream.open(a_call(place.base_url)))
                assert body == b"hello"
            outcomes["cancelled" if scope.cancelled_caught else "whole"] += 1
            await trio.sleep(rng.choice((0, rng.uniform(0, 2))))

    async with (
        in_memory(serve, latency_s=0.1) as place,
        make(connect=place.connect) as upstream,
    ):
        async with trio.open_nursery() as nursery:
            for worker in range(30):
                nursery.start_soon(work, worker)
        assert min(outcomes.values()) > 50
        await trio.sleep(30)
        assert await whole(await upstream.open(a_call(place.base_url))) == b"hello"
        await trio.sleep(1)
        assert pooled(upstream) == place.connections_open == 1
