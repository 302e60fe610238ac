"""Accepting: crowds, and an accept that fails."""

import errno
from collections import deque

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.serving.toy import Toy, request
from trio_gateway.serving.limits import Limits, connections_for
from trio_gateway.serving.server import REFUSALS_MAX, Server, ServerKind

MemoryStream = trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Hands out what a test dials, failing first as often as it is told."""

    def __init__(self) -> None:
        self.failures: deque[OSError] = deque()
        self.accepts = 0
        self._dials, self._arrivals = trio.open_memory_channel[trio.abc.Stream](1000)

    async def dial(self) -> trio.abc.HalfCloseableStream:
        ours, theirs = memory_stream_pair()
        await self._dials.send(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        self.accepts += 1
        if self.failures:
            await trio.lowlevel.checkpoint()
            raise self.failures.popleft()
        return await self._arrivals.receive()

    async def aclose(self) -> None:
        self._dials.close()
        await trio.lowlevel.checkpoint()


async def ask(stream: trio.abc.HalfCloseableStream, path: str = "/hi") -> bytes:
    await stream.send_all(request(path))
    got = b""
    with trio.fail_after(10):
        while not got.endswith(b"hi"):
            data = await stream.receive_some()
            if not data:
                break
            got += data
    return got


async def bytes_of(stream: trio.abc.HalfCloseableStream) -> bytes:
    with trio.fail_after(10):
        return bytes(await stream.receive_some())


async def test_beyond_the_limit_a_client_is_told_to_come_back(
    kind: ServerKind,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = MemoryListener()
    server = Server(Toy(), Limits(connections_max=2), kind=kind)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_listeners, [listener], nursery)
        busy = [await listener.dial() for _ in range(2)]
        for stream in busy:
            await stream.send_all(request("/wait"))
        await trio.sleep(1)

        refused = await ask(await listener.dial())
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert server.connections == 2
        assert caplog.messages == [
            "client_turned_away 2 are busy, as many as open files allow dropped=0"
        ]

        await busy[0].aclose()
        await trio.sleep(1)
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()


async def test_the_longest_idle_connection_makes_room_for_a_new_one(
    kind: ServerKind,
    autojump_clock: MockClock,
) -> None:
    listener = MemoryListener()
    server = Server(Toy(), Limits(connections_max=2), kind=kind)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_listeners, [listener], nursery)
        first, second = await listener.dial(), await listener.dial()
        for stream in (second, first):  # so that `second` is idle for longer
            await trio.sleep(1)
            await ask(stream)

        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        assert await bytes_of(second) == b""
        assert server.connections == 2
        nursery.cancel_scope.cancel()


async def test_a_crowd_of_the_refused_is_bounded(
    kind: ServerKind, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    server = Server(Toy(), Limits(connections_max=1), kind=kind)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_listeners, [listener], nursery)
        busy = await listener.dial()
        await busy.send_all(request("/wait"))
        await trio.sleep(1)

        crowd = [await listener.dial() for _ in range(REFUSALS_MAX + 10)]
        answers = [await bytes_of(stream) for stream in crowd]
        assert sum(answer.startswith(b"HTTP/1.1 503") for answer in answers) == (
            REFUSALS_MAX
        )
        assert answers.count(b"") == 10
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_out_of_files_a_client_is_shed_with_an_answer_and_the_next_is_served(
    number: int, kind: ServerKind, autojump_clock: MockClock
) -> None:
    listener = MemoryListener()
    server = Server(Toy(), kind=kind)
    listener.failures.append(OSError(number, ""))
    clients = [await listener.dial() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_listeners, [listener], nursery)
        answers = [await ask(client) for client in clients]
        nursery.cancel_scope.cancel()

    assert [answer[9:12] for answer in answers] == [b"503", b"200", b"200", b"200"]


async def test_a_lasting_failure_of_accept_neither_spins_nor_ends_the_server(
    kind: ServerKind, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = MemoryListener()
    listener.failures.extend([OSError(errno.EPERM, "firewall")] * 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Server(Toy(), kind=kind).serve_listeners, [listener], nursery
        )
        await trio.sleep(10)
        assert listener.accepts <= 102
        listener.failures.clear()
        await trio.sleep(1)
        assert (await ask(await listener.dial())).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()
    assert len(caplog.records) == 10
    assert caplog.messages[0].startswith("accept_failed error=PermissionError:EPERM ")
    assert "firewall" not in caplog.text


def test_half_of_the_files_are_for_clients() -> None:
    assert connections_for(1024) == 412
    assert connections_for(100) == 1
    assert connections_for(10**9) == 20_000


async def test_who_has_connected_is_served_though_nobody_listens_any_more(
    kind: ServerKind,
) -> None:
    server = Server(Toy(), kind=kind)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    clients = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]

    async with trio.open_nursery() as nursery:
        await server.stop_listening(listener, nursery)
        assert server.connections == 3
        for client in clients:
            assert (await ask(client)).endswith(b"hi")
            await client.aclose()
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        nursery.cancel_scope.cancel()
