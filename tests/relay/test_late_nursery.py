"""What is started late keeps a nursery's promises."""

from functools import partial

import trio
from trio.testing import MockClock

from trio_gateway.relay.late_nursery import LateNursery


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_none_outlives_its_close(autojump_clock: MockClock) -> None:
    before, ends = tasks(), list[str]()

    async def work(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(name)

    nursery = LateNursery(lambda _: None)
    nursery.start_soon(partial(work, "a"))
    nursery.start_soon(partial(work, "b"))
    await trio.sleep(1)
    await nursery.aclose()
    assert sorted(ends) == ["a", "b"]
    assert tasks() == before


async def test_it_closes_while_its_owner_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    before = tasks()
    nursery = LateNursery(lambda _: None)
    with trio.move_on_after(1):
        try:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
        finally:
            await nursery.aclose()
    assert tasks() == before


async def test_what_is_raised_in_it_is_told_to_its_owner(
    autojump_clock: MockClock,
) -> None:
    told: list[Exception] = []

    async def work() -> None:
        raise ValueError("a bug")

    nursery = LateNursery(told.append)
    nursery.start_soon(work)
    await trio.sleep(1)
    await nursery.aclose()
    assert [str(error) for error in told] == ["a bug"]


async def test_one_that_is_started_while_it_closes_ends_too(
    autojump_clock: MockClock,
) -> None:
    before, ends = tasks(), list[float]()
    nursery = LateNursery(lambda _: None)

    async def second() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(trio.current_time())

    async def first() -> None:
        try:
            await trio.sleep_forever()
        finally:
            nursery.start_soon(second)

    nursery.start_soon(first)
    await trio.sleep(1)
    closed_at = trio.current_time()
    await nursery.aclose()
    assert ends == [closed_at]
    assert tasks() == before


async def test_one_that_never_ran_ends_too(autojump_clock: MockClock) -> None:
    begun: list[str] = []

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        begun.append("work")

    nursery = LateNursery(lambda _: None)
    nursery.start_soon(work)
    await nursery.aclose()
    assert begun == []
