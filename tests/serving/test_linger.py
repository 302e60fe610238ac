"""How long, and for how much, a close waits for a client that is still sending."""

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_gateway.serving.linger import LINGER_BYTES_MAX, LINGER_S, PAUSE_S, linger

Sender = Callable[[trio.abc.SendStream], Awaitable[None]]


async def lingered(sender: Sender) -> trio.abc.SendStream:
    """Linger over what a client sends; return its end when that is over."""
    theirs, ours = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender, theirs)
        await linger(ours)
        nursery.cancel_scope.cancel()
    return theirs


async def upload(stream: trio.abc.SendStream, *, size: int, pause_s: float) -> None:
    for _ in range(math.ceil(size / 65536)):
        await stream.send_all(b"x" * 65536)
        await trio.sleep(pause_s)


async def test_a_whole_upload_is_read_to_its_end(autojump_clock: MockClock) -> None:
    is_sent = False

    async def sender(stream: trio.abc.SendStream) -> None:
        nonlocal is_sent
        await upload(stream, size=30_000_000, pause_s=0.05)
        is_sent = True
        await stream.aclose()

    await lingered(sender)
    assert is_sent
    assert trio.current_time() == pytest.approx(458 * 0.05)


async def test_a_client_that_pauses_is_let_go(autojump_clock: MockClock) -> None:
    async def sender(stream: trio.abc.SendStream) -> None:
        await upload(stream, size=4 * 65536, pause_s=1.0)
        await trio.sleep_forever()

    await lingered(sender)
    assert trio.current_time() == pytest.approx(3 * 1.0 + PAUSE_S)


async def test_a_client_that_trickles_is_let_go(autojump_clock: MockClock) -> None:
    async def sender(stream: trio.abc.SendStream) -> None:
        await upload(stream, size=10**9, pause_s=1.0)

    await lingered(sender)
    assert trio.current_time() == pytest.approx(LINGER_S)


async def test_a_flood_is_let_go(autojump_clock: MockClock) -> None:
    sent = 0

    async def sender(stream: trio.abc.SendStream) -> None:
        nonlocal sent
        while True:
            await stream.send_all(b"x" * 1024 * 1024)
            sent += 1024 * 1024
            await trio.testing.wait_all_tasks_blocked()

    await lingered(sender)
    assert trio.current_time() == 0
    assert sent <= LINGER_BYTES_MAX + 2 * 1024 * 1024
