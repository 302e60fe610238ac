"""Happy eyeballs, on real sockets: whoever answers first, and nobody left behind."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

from tests.upstream.peers import a_port_nobody_listens_on, a_port_that_swallows
from tests.upstream.test_pool import needs_proc, open_files
from trio_gateway.upstream.dial import connect_any, over_sockets
from trio_gateway.upstream.dns import Address, Answer, Resolver


@contextmanager
def a_listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def a_black_hole() -> Iterator[Address]:
    with a_port_that_swallows() as port:
        yield here(port)


def here(port: int) -> Address:
    return Address(socket.AF_INET, ("127.0.0.1", port))


def address_of(listener: socket.socket) -> Address:
    return Address(socket.AF_INET, listener.getsockname())


def nobody() -> Address:
    return here(a_port_nobody_listens_on())


async def assert_leads_to(listener: socket.socket, *addresses: Address) -> None:
    with trio.fail_after(10):
        sock = await connect_any(addresses)
    with sock:
        assert sock.getpeername() == listener.getsockname()
        assert sock.getblocking() is False
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_first_address_that_answers_wins() -> None:
    with a_listener() as first, a_listener() as second:
        await assert_leads_to(first, address_of(first), address_of(second))


async def test_after_a_refusal_comes_the_next_address_at_once() -> None:
    with a_listener() as good:
        started_at = trio.current_time()
        await assert_leads_to(good, *[nobody() for _ in range(12)], address_of(good))
        assert trio.current_time() - started_at < 12 * 0.25


@needs_proc
async def test_silence_gives_the_next_address_its_turn_and_is_left_for_good() -> None:
    with a_listener() as good, a_black_hole() as silent, a_black_hole() as another:
        files = open_files()
        await assert_leads_to(good, silent, another, address_of(good))
        assert open_files() == files


async def test_where_all_refuse_the_first_error_is_told() -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect_any([nobody(), nobody()])


async def test_an_address_that_cannot_be_tried_is_passed_over() -> None:
    unusable = Address(socket.AF_INET, ("255.255.255.255", 9))
    with a_listener() as good:
        await assert_leads_to(good, unusable, address_of(good))


async def test_addresses_that_failed_are_asked_for_anew() -> None:
    with a_listener() as good:
        answers = [[nobody()], [address_of(good)]]

        def look_up(host: str, port: int, deliver: Callable[[Answer], None]) -> None:
            trio.lowlevel.current_trio_token().run_sync_soon(deliver, answers.pop(0))

        dial = over_sockets(Resolver(look_up))
        with pytest.raises(ConnectionRefusedError):
            await dial("provider.test", 443, None)
        link = await dial("provider.test", 443, None)
        await link.aclose()
        assert not answers


@needs_proc
async def test_a_cancelled_connect_leaves_no_socket() -> None:
    with a_black_hole() as silent, a_black_hole() as another:
        files = open_files()
        with trio.move_on_after(0.4) as scope:
            await connect_any([silent, another])
        assert scope.cancelled_caught
        assert open_files() == files


@needs_proc
async def test_a_connect_cancelled_in_the_instant_of_success_leaves_no_socket() -> None:
    with a_listener() as good:
        files = open_files()
        for k in range(1, 12):
            with trio.CancelScope() as scope:
                instrument = CancelAfter(k, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    (await connect_any([address_of(good), nobody()])).close()
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            assert open_files() == files, f"cancelled after step {k}"
        assert not scope.cancelled_caught


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope when any task has taken its k-th step."""

    def __init__(self, k: int, scope: trio.CancelScope) -> None:
        self.left = k
        self.scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()
