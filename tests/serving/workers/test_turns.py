"""Whose turn it is to accept; and that nobody waits for those who do not come.

Sockets are real, time is virtual: all that is waited for is there already.
"""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from trio_gateway.serving.workers.turns import ASIDE_S, Places, Turn, is_ahead


@pytest.mark.parametrize(
    ("own", "others", "ahead"),
    [
        (0, [0, 0], False),
        (1, [0], True),
        (1, [1, 2], False),
        (5, [], False),
        (5, [-1, -1], False),  # nobody else accepts
        (64, [60], False),
        (64, [50], True),
        (64, [-1, 50], True),
        (64, [200, 0], True),
    ],
)
def test_who_has_more_than_the_one_with_the_fewest_is_ahead(
    own: int, others: list[int], ahead: bool
) -> None:
    assert is_ahead(own, others) is ahead


@pytest.fixture
def places() -> Iterator[Places]:
    places = Places(4)
    yield places
    places.close()


def a_turn(places: Places, connections: int) -> Turn:
    turn = Turn(places.fd, places.take())
    turn.note(connections)
    return turn


async def until_mine(turn: Turn) -> float:
    """How long it takes until a waiting connection is mine to accept."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port):
            began_at = trio.current_time()
            await turn.come(listener)
            return trio.current_time() - began_at


async def test_who_has_the_fewest_accepts_at_once(
    places: Places, autojump_clock: MockClock
) -> None:
    turn, _ = a_turn(places, 3), a_turn(places, 7)
    assert await until_mine(turn) == 0


async def test_who_is_ahead_steps_aside_but_not_twice_in_vain(
    places: Places, autojump_clock: MockClock
) -> None:
    turn, _ = a_turn(places, 7), a_turn(places, 3)
    assert await until_mine(turn) >= ASIDE_S
    assert await until_mine(turn) == 0


async def test_what_another_has_accepted_is_not_waited_for(
    places: Places, autojump_clock: MockClock
) -> None:
    turn, _ = a_turn(places, 7), a_turn(places, 3)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        port = listener.socket.getsockname()[1]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        has_come = False

        async def come() -> None:
            nonlocal has_come
            await turn.come(listener)
            has_come = True

        nursery.start_soon(come)
        await trio.lowlevel.checkpoint()
        accepted = await listener.accept()
        await trio.sleep(10 * ASIDE_S)
        assert not has_come
        nursery.cancel_scope.cancel()
    await stream.aclose()
    await accepted.aclose()


@pytest.mark.parametrize("after_s", [None, 0.0, 1.0])
async def test_a_listener_that_is_closed_ends_the_wait_whenever_it_was(
    after_s: float | None, places: Places, autojump_clock: MockClock
) -> None:
    """Before, where a worker is told to end while it begins."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        if after_s is None:
            await listener.aclose()

        async def close() -> None:
            await trio.sleep(after_s or 0.0)
            await listener.aclose()

        nursery.start_soon(close)
        with pytest.raises(trio.ClosedResourceError):
            await a_turn(places, 0).come(listener)


async def test_nobody_steps_aside_for_who_left_or_died(
    places: Places, autojump_clock: MockClock
) -> None:
    turn, leaving = a_turn(places, 7), a_turn(places, 3)
    leaving.leave()
    leaving.note(2)
    assert await until_mine(turn) == 0

    place = places.take()
    Turn(places.fd, place).note(0)
    places.free(place)
    assert await until_mine(turn) == 0


def test_there_is_no_place_beyond_those_there_are(places: Places) -> None:
    taken = [places.take() for _ in range(4)]
    assert sorted(taken) == [0, 1, 2, 3]
    with pytest.raises(OSError, match="still ending"):
        places.take()
    places.free(2)
    assert places.take() == 2
