"""Limits of waits, one after the other: kept to the instant, without an alarm each."""

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_route, with_timeouts
from tests.relay.driver import FakeClient, a_run, a_stream, an_event, events_in
from trio_gateway.relay.alarms import Alarms
from trio_gateway.relay.curfew import Curfew
from trio_gateway.relay.patience import Patience


def a_patience(*, shortest_s: float = 10.0) -> Patience:
    return Patience(Alarms(), Curfew(), shortest_s=shortest_s)


async def test_a_wait_ends_at_its_limit(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with a_patience() as patience:
        patience.for_upstream(began + 3)
        await trio.sleep_forever()
    assert patience.is_over
    assert not patience.is_for_client
    assert trio.current_time() == began + 3


@pytest.mark.parametrize("step_s", [0.001, 1.0, 9.99, 10.0, 29.0])
async def test_a_limit_that_moves_on_is_kept_where_it_comes_to_rest(
    step_s: float, autojump_clock: MockClock
) -> None:
    with a_patience() as patience:
        for _ in range(20):
            patience.for_client(trio.current_time() + 30)
            await trio.sleep(step_s)
            patience.for_upstream(trio.current_time() + 30)
            await trio.sleep(step_s)
        patience.for_upstream(by := trio.current_time() + 15)
        await trio.sleep_forever()
    assert patience.is_over
    assert trio.current_time() == by


async def test_a_limit_nearer_than_the_one_before_is_kept(
    autojump_clock: MockClock,
) -> None:
    with a_patience(shortest_s=30) as patience:
        patience.for_upstream(trio.current_time() + 30)
        patience.for_client(by := trio.current_time() + 0.001)
        await trio.sleep_forever()
    assert patience.is_over
    assert patience.is_for_client
    assert trio.current_time() == by


async def test_waits_share_one_alarm(autojump_clock: MockClock) -> None:
    alarms = Alarms()
    with Patience(alarms, Curfew(), shortest_s=10) as patience:
        for _ in range(100):
            patience.for_client(trio.current_time() + 10)
            patience.for_upstream(trio.current_time() + 30)
            await trio.sleep(1)
            assert len(alarms) == 1
    await trio.sleep(100)
    assert len(alarms) == 0
    assert not patience.is_over


@pytest.mark.parametrize("shortest_s", [0.0, 1e-9])
async def test_no_limit_is_so_short_that_nothing_else_is_done(
    shortest_s: float, autojump_clock: MockClock
) -> None:
    with a_patience(shortest_s=shortest_s) as patience:
        patience.for_upstream(trio.current_time() + 0.5)
        await trio.sleep(0.4)
        patience.for_upstream(by := trio.current_time() + 1)
        await trio.sleep_forever()
    assert trio.current_time() == by


async def test_the_curfew_ends_a_wait_for_an_upstream(
    autojump_clock: MockClock,
) -> None:
    curfew = Curfew()
    began = trio.current_time()
    with Patience(Alarms(), curfew, shortest_s=10) as patience:
        patience.for_upstream(began + 30)
        curfew.set(began + 2)
        await trio.sleep_forever()
    assert trio.current_time() == began + 2
    with Patience(Alarms(), curfew, shortest_s=10) as patience:
        patience.for_upstream(began + 30)
        await trio.sleep_forever()
    assert trio.current_time() == began + 2
    assert not curfew.waits


async def test_the_curfew_lets_the_client_have_what_it_is_being_sent(
    autojump_clock: MockClock,
) -> None:
    curfew = Curfew()
    began = trio.current_time()
    with Patience(Alarms(), curfew, shortest_s=10) as patience:
        patience.for_client(began + 30)
        curfew.set(began + 2)
        await trio.sleep(20)
        assert not patience.is_over
        patience.for_upstream(began + 60)
        await trio.sleep_forever()
    assert trio.current_time() == began + 20


@pytest.mark.parametrize("slow_s", [0.0, 1.0])
async def test_what_comes_in_the_last_instant_passes_whole_or_shows_a_break(
    slow_s: float, autojump_clock: MockClock
) -> None:
    events = (an_event("a"), an_event("b"), an_event(finish="stop"))
    timeouts = with_timeouts(idle_s=1.0, client_stall_s=1.0)
    route = a_route("a", timeouts=timeouts)
    for _ in range(30):  # which of two is first in one instant, chance decides
        client = FakeClient(slow_s=slow_s)
        run = a_run(route, client=client, a=[a_stream(*events, gap_s=1.0)])
        await run.go()
        if client.is_finished:
            assert run.failure is None
            assert client.received == b"".join(events)
        else:
            assert run.failure is not None
            last = events_in(client.received)[-1] if client.pieces else None
            assert run.record.detail == "the client stopped reading" or (
                isinstance(last, dict) and "error" in last
            )
        assert run.upstream.left_open == []
