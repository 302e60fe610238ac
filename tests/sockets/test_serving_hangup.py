"""The one watch for the hang-ups of all sockets."""

import socket
import sys
from collections.abc import AsyncIterator

import pytest
import trio

from tests.serving.doors import happens
from trio_gateway.serving.fast.hangup import HangupWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux's epoll")

AT_ONCE_S = 10.0
NEVER_S = 0.05


class Pair:
    """Two ends of a connection, and whether the watch called."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.hung_up = trio.Event()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
async def watch(nursery: trio.Nursery) -> HangupWatch:
    started = HangupWatch()
    nursery.start_soon(started.run)
    return started


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    made.close()


async def test_a_departure_is_told_once(watch: HangupWatch, pair: Pair) -> None:
    calls: list[int] = []
    watch.add(pair.ours.fileno(), lambda: calls.append(1))
    pair.theirs.close()
    await trio.sleep(NEVER_S)
    assert calls == [1]


async def test_a_close_is_told(watch: HangupWatch, pair: Pair) -> None:
    watch.add(pair.ours.fileno(), pair.hung_up.set)
    pair.theirs.close()
    assert await happens(pair.hung_up, within_s=AT_ONCE_S)


async def test_a_half_close_is_told_behind_bytes(
    watch: HangupWatch, pair: Pair
) -> None:
    watch.add(pair.ours.fileno(), pair.hung_up.set)
    pair.theirs.send(b"bytes")
    assert not await happens(pair.hung_up, within_s=NEVER_S)
    pair.theirs.shutdown(socket.SHUT_WR)
    assert await happens(pair.hung_up, within_s=AT_ONCE_S)


async def test_a_departure_before_the_watch_is_told(
    watch: HangupWatch, pair: Pair
) -> None:
    pair.theirs.close()
    watch.add(pair.ours.fileno(), pair.hung_up.set)
    assert await happens(pair.hung_up, within_s=AT_ONCE_S)


async def test_who_was_forgotten_is_not_told(watch: HangupWatch, pair: Pair) -> None:
    watch.add(pair.ours.fileno(), pair.hung_up.set)
    watch.forget(pair.ours.fileno())
    pair.theirs.close()
    assert not await happens(pair.hung_up, within_s=NEVER_S)


async def test_each_is_told_of_its_own(watch: HangupWatch) -> None:
    pairs = [Pair() for _ in range(50)]
    for pair in pairs:
        watch.add(pair.ours.fileno(), pair.hung_up.set)
    for pair in pairs[::2]:
        pair.theirs.close()
    for pair in pairs[::2]:
        assert await happens(pair.hung_up, within_s=AT_ONCE_S)
    assert not any(pair.hung_up.is_set() for pair in pairs[1::2])
    for pair in pairs:
        watch.forget(pair.ours.fileno())
        pair.close()
