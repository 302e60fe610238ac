"""A link that is let go of in the instant in which it begins to wait."""

import socket

import pytest
import trio

from trio_gateway.upstream.links import SocketLink

# More than any kernel holds for who does not read.
MUCH = b"x" * 16_000_000


# Trio's dice decide what runs first of what is due at once.
@pytest.mark.parametrize("throw", range(20))
async def test_one_that_is_aborted_as_it_begins_to_wait_for_room_is_closed(
    throw: int,
) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    link = SocketLink(ours)
    ends: list[str] = []

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await link.send(MUCH)
        ends.append("closed")

    async def abort() -> None:
        link.abort()

    with theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(abort)
    assert ends == ["closed"]
