"""The leaping clock: time passes in waits alone, alarms ring when nobody can go on."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from trio_gateway.chaos.clock import LeapingClock, sleep, sleep_until


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


class Turns(trio.abc.Instrument):
    """Counts turns of Trio's loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def turns_of(act: Callable[[], Awaitable[object]]) -> int:
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    await act()
    trio.lowlevel.remove_instrument(turns)
    return turns.count


@pytest.mark.parametrize("wait", [trio.sleep_until, sleep_until])
async def test_a_sleep_ends_at_its_instant_to_the_bit(
    clock: LeapingClock, wait: Callable[[float], Awaitable[None]]
) -> None:
    for at in (0.1, 0.1 + 0.2, 1e9 + 0.7, 1e9 + 0.7):
        await wait(at)
        assert trio.current_time() == at


async def test_time_stands_still_while_a_task_can_go_on(clock: LeapingClock) -> None:
    with trio.move_on_after(1e-9) as patience:
        for _ in range(100):
            await trio.lowlevel.cancel_shielded_checkpoint()
        assert not patience.cancel_called
        await trio.sleep_forever()
    assert trio.current_time() == 1e-9


async def test_an_instant_costs_no_idle_turn(clock: LeapingClock) -> None:
    assert await turns_of(partial(trio.sleep, 1)) == 1
    assert await turns_of(partial(sleep, 1)) == 1


async def test_alarms_ring_in_their_order_and_beside_deadlines(
    clock: LeapingClock,
) -> None:
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> None:
        rung.append((name, trio.current_time()))

    clock.set_alarm(3, partial(ring, "d"))
    clock.set_alarm(1, partial(ring, "a"))
    clock.set_alarm(1, partial(ring, "b"))
    await trio.sleep(1)
    ring("c")
    await trio.sleep(4)
    assert rung == [("a", 1), ("b", 1), ("c", 1), ("d", 3)]


async def test_an_alarm_set_for_what_is_past_rings_at_once(clock: LeapingClock) -> None:
    await trio.sleep(5)
    rung: list[float] = []
    clock.set_alarm(1, lambda: rung.append(trio.current_time()))
    await trio.sleep(1)
    assert rung == [5]


async def test_a_sleeper_can_be_cancelled_and_its_alarm_wakes_nobody(
    clock: LeapingClock,
) -> None:
    with trio.move_on_after(1) as patience:
        await sleep(10)
    assert patience.cancelled_caught
    assert trio.current_time() == 1
    await sleep(20)
    assert trio.current_time() == 21


async def test_to_sleep_is_a_checkpoint_even_where_the_instant_is_past(
    clock: LeapingClock,
) -> None:
    await trio.sleep(5)
    for at in (1.0, 5.0, 6.0):
        with trio.CancelScope() as scope:
            scope.cancel()
            await sleep_until(at)
        assert scope.cancelled_caught
    assert await turns_of(partial(sleep_until, 1.0)) == 1


async def test_on_another_clock_it_sleeps_as_trio_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    await sleep(3)
    await sleep_until(7)
    assert trio.current_time() == pytest.approx(7)
