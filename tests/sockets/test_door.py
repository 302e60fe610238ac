"""A provider that is down for everybody does not listen; real sockets, real time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio

from tests.chaos.client import a_request
from trio_gateway.chaos.provider.door import Hours
from trio_gateway.chaos.provider.server import (
    House,
    SimulatedProvider,
    open_sockets,
    port_of,
)
from trio_gateway.chaos.vocabulary.answers import ChatRequest
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Onset,
    Overtaken,
    Pause,
    Refusal,
    Script,
    Send,
    UnderWay,
)
from trio_gateway.chaos.worlds.outline import Hangs
from trio_gateway.chaos.worlds.world import Spell

# Long enough to be met on a busy machine, short enough to wait for.
OPEN_S = 0.4
SHUT_S = 0.8
SOON_S = 5.0

ANSWER = Script(headers=(("content-length", "4"),), steps=(Send(b"good"),))
LATE = Script(
    headers=(("content-length", "4"),),
    steps=(Send(b"go"), Pause(OPEN_S + SHUT_S / 2), Send(b"od")),
)


def hours(how: Refusal, *, from_s: float = OPEN_S, until_s: float = inf) -> Hours:
    return Hours((((Spell(Hangs(), from_s, until_s), how),),))


@asynccontextmanager
async def a_provider(
    kept: Hours, behaviour: Behaviour = ANSWER, *, under_way: UnderWay | None = None
) -> AsyncIterator[tuple[SimulatedProvider, int]]:
    """A provider with hours, which begin now, and its port."""
    falls_at = trio.current_time() + OPEN_S

    def behave(_: ChatRequest, __: int) -> Behaviour | Overtaken:
        if under_way is None:
            return behaviour
        return Overtaken(behaviour, Onset(falls_at, under_way))

    provider = SimulatedProvider(behave, house=House(hours=kept))
    listeners = await open_sockets("127.0.0.1", 0)
    port = port_of(listeners[0])
    async with trio.open_nursery() as nursery:
        await nursery.start(provider.serve, listeners)
        yield provider, port
        nursery.cancel_scope.cancel()


async def ask(stream: trio.abc.Stream) -> bytes:
    """Ask for an answer of four bytes, and read it."""
    await stream.send_all(a_request(b'{"model":"m"}'))
    received = b""
    with trio.fail_after(SOON_S):
        while len(received.partition(b"\r\n\r\n")[2]) < 4:
            more = await stream.receive_some()
            if not more:
                break
            received += more
    return received.partition(b"\r\n\r\n")[2]


async def test_while_it_is_down_connections_are_refused() -> None:
    async with a_provider(hours(Refusal.CONNECT_REFUSED, from_s=0.0)) as (_, port):
        await trio.sleep(OPEN_S / 4)
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)


async def test_before_and_after_it_listens() -> None:
    kept = hours(Refusal.CONNECT_REFUSED, until_s=OPEN_S + SHUT_S)
    async with a_provider(kept) as (_, port):
        for wait_s in (0.0, OPEN_S + SHUT_S + 0.1):
            await trio.sleep(wait_s)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                assert await ask(stream) == b"good"


async def test_connections_that_wait_for_reuse_end_when_it_goes_down() -> None:
    async with a_provider(hours(Refusal.CONNECT_REFUSED)) as (provider, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await ask(stream) == b"good"
            with trio.fail_after(SOON_S):
                assert await stream.receive_some() == b""
        assert not provider.connections


async def test_what_is_being_answered_then_is_answered_and_nothing_more() -> None:
    async with (
        a_provider(hours(Refusal.CONNECT_REFUSED), LATE) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        assert await ask(stream) == b"good"
        with trio.fail_after(SOON_S):
            assert await stream.receive_some() == b""


async def test_a_process_that_dies_resets_what_it_is_answering() -> None:
    kept = hours(Refusal.CONNECT_REFUSED)
    async with (
        a_provider(kept, LATE, under_way=UnderWay.RESET) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        with pytest.raises(trio.BrokenResourceError):
            await ask(stream)


async def test_a_network_that_is_gone_brings_nothing_more_of_an_answer() -> None:
    kept = hours(Refusal.CONNECT_HANG)
    async with (
        a_provider(kept, LATE, under_way=UnderWay.SILENT) as (_, port),
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        with trio.move_on_after(OPEN_S + SHUT_S) as patience:
            await ask(stream)
        assert patience.cancelled_caught


async def test_a_black_hole_swallows_connections_and_lets_them_go_later() -> None:
    kept = hours(Refusal.CONNECT_HANG, from_s=0.0, until_s=SHUT_S)
    async with a_provider(kept) as (_, port):
        await trio.sleep(OPEN_S / 4)
        with trio.move_on_after(OPEN_S) as patience:
            await trio.open_tcp_stream("127.0.0.1", port)
        assert patience.cancelled_caught
        await trio.sleep(SHUT_S)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await ask(stream) == b"good"


def test_a_provider_is_shut_while_all_its_models_are() -> None:
    early, late = Spell(Hangs(), 1.0, 4.0), Spell(Hangs(), 3.0, 6.0)
    down = Refusal.CONNECT_REFUSED
    both = Hours((((early, down),), ((late, down),)))
    assert [both.shut(at_s) for at_s in (2.0, 3.5, 5.0)] == [None, down, None]
    assert both.next_edge(0.0) == 1.0
    assert both.next_edge(3.5) == 4.0
    assert both.next_edge(6.0) == inf
    assert [both.next_change(at_s) for at_s in (0.0, 3.0, 4.0)] == [3.0, 4.0, inf]


def test_a_flapping_spells_edges_come_one_after_the_other() -> None:
    spell = Spell(Hangs(), from_s=5.0, until_s=20.0, flaps=(4.0, 6.0))
    edges, at_s = [], 0.0
    while (at_s := spell.next_edge(at_s)) < inf:
        edges.append(at_s)
    assert edges == [5.0, 9.0, 15.0, 19.0, 20.0]
