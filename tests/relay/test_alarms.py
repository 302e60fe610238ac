"""Alarms ring once, in time and in order; those that are off hold nothing for long."""

import trio
from trio.testing import MockClock

from trio_gateway.relay.alarms import Alarms


async def test_alarms_ring_at_their_instants(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), list[tuple[str, float]]()

    def ring(name: str) -> None:
        rung.append((name, trio.current_time()))

    began = trio.current_time()
    alarms.set(began + 3, lambda: ring("late"))
    alarms.set(began + 1, lambda: ring("early"))
    await trio.sleep(2)
    assert rung == [("early", began + 1)]
    await trio.sleep(2)
    assert rung == [("early", began + 1), ("late", began + 3)]


async def test_one_that_is_off_does_not_ring(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), list[str]()
    alarm = alarms.set(trio.current_time() + 1, lambda: rung.append("x"))
    alarm.off()
    alarm.off()
    await trio.sleep(5)
    assert rung == []
    assert len(alarms) == 0


async def test_one_may_set_another_as_it_rings(autojump_clock: MockClock) -> None:
    alarms, rung = Alarms(), list[float]()
    began = trio.current_time()

    def ring() -> None:
        rung.append(trio.current_time() - began)
        if len(rung) < 3:
            alarms.set(trio.current_time() + 1, ring)

    alarms.set(began + 1, ring)
    await trio.sleep(10)
    assert rung == [1, 2, 3]


async def test_those_that_are_off_are_let_go_of(autojump_clock: MockClock) -> None:
    alarms = Alarms()
    kept = alarms.set(trio.current_time() + 60, lambda: None)
    for _ in range(10_000):
        alarms.set(trio.current_time() + 60, lambda: None).off()
    assert len(alarms) < 600
    assert kept.ring is not None


async def test_the_task_rests_when_there_is_nothing_to_wait_for(
    autojump_clock: MockClock,
) -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before, alarms = tasks(), Alarms()
    for delay_s in (1, 2, 3):
        alarms.set(trio.current_time() + delay_s, lambda: None)
    await trio.sleep(2.5)
    assert tasks() == before + 1
    await trio.sleep(1)
    assert tasks() == before
    alarms.set(trio.current_time() + 1, lambda: None)
    await trio.sleep(0.5)
    assert tasks() == before + 1


async def test_the_task_rests_soon_after_the_last_alarm_is_off(
    autojump_clock: MockClock,
) -> None:
    def tasks() -> int:
        return trio.lowlevel.current_statistics().tasks_living

    before, alarms, rung = tasks(), Alarms(), list[float]()
    began = trio.current_time()
    alarms.set(began + 600, lambda: None).off()
    await trio.sleep(2)
    assert tasks() == before
    began = trio.current_time()
    alarms.set(began + 600, lambda: None).off()
    await trio.sleep(0.5)
    alarms.set(began + 5, lambda: rung.append(trio.current_time() - began))
    await trio.sleep(2)
    assert tasks() == before + 1, "somebody waits"
    await trio.sleep(4)
    assert rung == [5]
    assert tasks() == before
