import trio
import trio.testing

from trio_gateway.chaos.provider.slots import LineTurn, Slots
from trio_gateway.chaos.worlds.world import Capacity, Shrinks, Spell

Clock = trio.testing.MockClock


async def open_slots(
    nursery: trio.Nursery, capacity: Capacity, *shrinks: Spell, speed: float = 1.0
) -> Slots:
    slots = Slots(capacity, shrinks, speed=speed)
    nursery.start_soon(slots.run)
    await trio.testing.wait_all_tasks_blocked()
    return slots


def joined(slots: Slots, takes_s: float = 10.0) -> LineTurn:
    turn = slots.join(takes_s)
    assert turn is not None
    return turn


async def work(turn: LineTurn, begun: list[float]) -> None:
    await turn.come()
    begun.append(trio.current_time())
    await trio.sleep(turn.place.takes_s)
    turn.leave()


async def test_first_come_first_served(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    slots = await open_slots(nursery, Capacity(slots=2))
    begun: list[float] = []
    async with trio.open_nursery() as clients:
        for _ in range(5):
            clients.start_soon(work, joined(slots), begun)
        assert (slots.busy, slots.waiting) == (2, 3)
    assert begun == [0.0, 0.0, 10.0, 10.0, 20.0]
    assert (slots.busy, slots.waiting) == (0, 0)


async def test_a_full_line_takes_nobody(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    slots = await open_slots(nursery, Capacity(slots=1, line_max=2))
    for _ in range(3):
        joined(slots)
    assert slots.join(10.0) is None


async def test_who_is_noticed_to_leave_makes_room_at_once(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    slots = await open_slots(nursery, Capacity(slots=1))
    first, second, third = (joined(slots) for _ in range(3))
    second.leave()
    first.leave()
    await third.come()
    assert trio.current_time() == 0.0


async def test_who_is_not_noticed_is_worked_for_to_the_end(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    slots = await open_slots(nursery, Capacity(slots=1, notices_departures=False))
    first, second, third = (joined(slots) for _ in range(3))
    await trio.sleep(3.0)
    first.leave()  # while it is answered
    second.leave()  # while it stands in line
    assert (slots.busy, slots.waiting) == (1, 2)
    await third.come()
    assert trio.current_time() == 20.0
    third.leave()
    await trio.sleep(10.1)
    assert slots.busy == 0


async def test_slots_that_come_back_are_given_at_once(
    autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    half = Spell(Shrinks(0.5), from_s=60.0, until_s=120.0)
    slots = await open_slots(nursery, Capacity(slots=2), half, speed=10.0)
    await trio.sleep(6.0)
    begun: list[float] = []
    async with trio.open_nursery() as clients:
        for _ in range(2):
            clients.start_soon(work, joined(slots, takes_s=100.0), begun)
    assert begun == [6.0, 12.0]
