"""How late the event loop is."""

import trio
from trio.testing import MockClock

from trio_gateway.failover.shedding import LagShedder
from trio_gateway.relay.lag import watch_lag


async def test_a_loop_that_keeps_up_is_not_late(autojump_clock: MockClock) -> None:
    noted: list[tuple[float, float]] = []
    with trio.move_on_after(1.0):
        await watch_lag(lambda lag_s, now: noted.append((lag_s, now)))

    assert len(noted) in (19, 20)
    assert all(lag_s == 0.0 for lag_s, _ in noted)


async def test_a_loop_that_was_held_up_is_late_by_as_much(
    mock_clock: MockClock,
) -> None:
    noted: list[tuple[float, float]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, lambda lag_s, now: noted.append((lag_s, now)))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.35)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    ((lag_s, now),) = noted
    assert (round(lag_s, 9), now) == (0.3, 0.35)


async def test_a_loop_that_stays_late_makes_the_gateway_shed(
    mock_clock: MockClock,
) -> None:
    shedder = LagShedder(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, shedder.note)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(0.2)
        nursery.cancel_scope.cancel()

    assert shedder.share > 0
