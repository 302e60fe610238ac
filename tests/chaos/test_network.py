import contextlib
import errno
import socket

import pytest
import trio
import trio.testing

from trio_gateway.chaos.clock import LeapingClock
from trio_gateway.chaos.network import MemoryNetwork, MemoryStream


@pytest.fixture(params=["jumping", "leaping"])
def clock(request: pytest.FixtureRequest) -> trio.abc.Clock:
    """Trio's for tests, or the one whose alarms wake those who wait."""
    if request.param == "leaping":
        return LeapingClock()
    return trio.testing.MockClock(autojump_threshold=0.0)


NEAR, FAR = ("127.0.0.1", 50000), ("provider", 443)


def a_pair(
    *, latency_s: float = 0.0, buffer_bytes: int = 1024
) -> tuple[MemoryStream, MemoryStream]:
    network = MemoryNetwork(latency_s=latency_s, buffer_bytes=buffer_bytes)
    return network.stream_pair(near=NEAR, far=FAR)


@pytest.mark.parametrize("latency_s", [0.0, 0.01])
async def test_streams_behave_as_trio_asks_of_a_stream(
    clock: trio.abc.Clock, latency_s: float
) -> None:
    async def make() -> tuple[MemoryStream, MemoryStream]:
        return a_pair(latency_s=latency_s)

    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        near, far = a_pair(latency_s=latency_s, buffer_bytes=16)
        await near.send_all(b"x" * 16)
        await far.send_all(b"x" * 16)
        return near, far

    await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_bytes_arrive_one_latency_after_they_were_sent(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    await near.send_all(b"first")
    await trio.sleep(0.02)
    await near.send_all(b"second")

    assert await far.receive_some() == b"first"
    assert trio.current_time() == pytest.approx(0.05)
    assert await far.receive_some() == b"second"
    assert trio.current_time() == pytest.approx(0.07)


async def test_a_sender_waits_for_a_slow_reader(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(buffer_bytes=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"x" * 25)
        await trio.sleep(1)
        assert len(await far.receive_some(100)) == 10
        await trio.sleep(1)
        assert len(await far.receive_some(100)) == 10
        await trio.sleep(1)
        assert len(await far.receive_some(100)) == 5


async def test_what_was_sent_before_a_reset_arrives_before_it(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    await near.send_all(b"last words")
    near.reset()

    assert await far.receive_some() == b"last words"
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await far.send_all(b"hello?")
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"more")


async def test_a_close_is_an_end_and_not_an_error_for_the_reader(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    await near.send_all(b"bye")
    await near.aclose()

    assert await far.receive_some() == b"bye"
    assert await far.receive_some() == b""
    assert await far.receive_some() == b""


async def test_a_writer_learns_after_one_latency_that_nobody_reads(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    await far.aclose()

    await near.send_all(b"lost on the way")
    await trio.sleep(0.05)
    with pytest.raises(trio.BrokenResourceError):
        await near.send_all(b"x")


async def test_a_blocked_writer_wakes_when_the_reader_leaves(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05, buffer_bytes=4)
    broken_at = None

    async def send() -> None:
        nonlocal broken_at
        with pytest.raises(trio.BrokenResourceError):
            await near.send_all(b"x" * 100)
        broken_at = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(1)
        await far.aclose()
    assert broken_at == pytest.approx(1.05)


async def test_a_half_closed_stream_still_carries_the_other_direction() -> None:
    near, far = a_pair()
    await near.send_eof()

    assert await far.receive_some() == b""
    await far.send_all(b"answer")
    assert await near.receive_some() == b"answer"


async def test_a_pool_can_see_that_a_connection_is_stale(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    assert not near.is_readable()
    await far.aclose()
    assert not near.is_readable()
    await trio.sleep(0.05)
    assert near.is_readable()


async def test_a_connection_takes_a_round_trip_and_names_its_ends(
    clock: trio.abc.Clock,
) -> None:
    network = MemoryNetwork(latency_s=0.05)
    listener = network.listen("provider", 443)

    near = await network.connect("provider", 443)
    far = await listener.accept()

    assert trio.current_time() == pytest.approx(0.1)
    assert near.socket.family is socket.AF_INET
    assert near.socket.getpeername() == far.socket.getsockname() == ("provider", 443)
    assert near.socket.getsockname() == far.socket.getpeername()


async def test_unknown_hosts_and_ports_fail_as_the_operating_system_would(
    clock: trio.abc.Clock,
) -> None:
    network = MemoryNetwork()
    listener = network.listen("provider", 443)

    with pytest.raises(socket.gaierror):
        await network.connect("elsewhere", 443)
    with pytest.raises(ConnectionRefusedError):
        await network.connect("provider", 80)
    with pytest.raises(OSError, match="in use") as in_use:
        network.listen("provider", 443)
    assert in_use.value.errno == errno.EADDRINUSE
    await listener.aclose()
    with pytest.raises(ConnectionRefusedError):
        await network.connect("provider", 443)
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_free_ports_are_given_out_once() -> None:
    network = MemoryNetwork()
    ports = {network.listen("127.0.0.1").address[1] for _ in range(3)}
    assert len(ports) == 3


async def test_a_black_hole_never_answers(
    clock: trio.abc.Clock,
) -> None:
    network = MemoryNetwork()
    network.swallow("provider", 443)
    with trio.move_on_after(3600) as scope:
        await network.connect("provider", 443)
    assert scope.cancelled_caught


async def test_closing_a_listener_resets_those_it_never_accepted() -> None:
    network = MemoryNetwork()
    listener = network.listen("provider", 443)
    near = await network.connect("provider", 443)
    await listener.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await near.receive_some()


async def test_trio_serves_memory_listeners_like_any_other() -> None:
    network = MemoryNetwork()

    async def echo(stream: MemoryStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(await stream.receive_some())
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = [network.listen("provider", 80)]
        await nursery.start(trio.serve_listeners, echo, listeners)
        near = await network.connect("provider", 80)
        await near.send_all(b"hello")
        assert await near.receive_some() == b"hello"
        nursery.cancel_scope.cancel()


class Steps(trio.abc.Instrument):
    """Counts how often one task is run."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


@pytest.mark.parametrize("clock", ["leaping"], indirect=True)
async def test_where_alarms_are_kept_a_reader_runs_once_for_what_it_waits_for(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    steps = Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"first")
        trio.lowlevel.add_instrument(steps)
        assert await far.receive_some() == b"first"
        trio.lowlevel.remove_instrument(steps)
    assert steps.count == 1
    assert trio.current_time() == pytest.approx(0.05)


@pytest.mark.parametrize("has_come", [False, True])
async def test_to_receive_is_a_checkpoint_and_takes_nothing_if_cancelled(
    clock: trio.abc.Clock, *, has_come: bool
) -> None:
    near, far = a_pair(latency_s=0.05)
    await near.send_all(b"kept")
    await trio.sleep(0.1 if has_come else 0.01)
    with trio.CancelScope() as scope:
        scope.cancel()
        await far.receive_some()
    assert scope.cancelled_caught
    assert await far.receive_some() == b"kept"


async def test_a_reader_that_was_cancelled_is_not_woken_later(
    clock: trio.abc.Clock,
) -> None:
    near, far = a_pair(latency_s=0.05)
    await near.send_all(b"late")
    with trio.move_on_after(0.01) as patience:
        await far.receive_some()
    assert patience.cancelled_caught
    await trio.sleep(1)
    assert trio.current_time() == pytest.approx(1.01)
    assert await far.receive_some() == b"late"


async def test_a_close_at_this_end_wakes_who_reads_here(clock: trio.abc.Clock) -> None:
    near, _ = a_pair(latency_s=0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        with pytest.raises(trio.ClosedResourceError):
            await near.receive_some()
    assert trio.current_time() == 0
