"""Deadlines of many, kept by one task, in virtual time."""

import pytest
import trio
from trio.testing import MockClock

from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper


class Story:
    """A sweeper with a long and a short line, and who was due when."""

    def __init__(self) -> None:
        self.due: list[tuple[str, float]] = []
        self.sweeper = Sweeper()
        self.long = DeadlineQueue(self.sweeper, 75, self.note)
        self.short = DeadlineQueue(self.sweeper, 10, self.note)

    def note(self, who: str) -> None:
        self.due.append((who, trio.current_time()))


async def begin(nursery: trio.Nursery) -> Story:
    story = Story()
    nursery.start_soon(story.sweeper.run)
    await trio.testing.wait_all_tasks_blocked()
    return story


async def test_each_is_due_at_its_own_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    story = await begin(nursery)
    story.long.enter("a")
    await trio.sleep(1)
    story.short.enter("b")
    await trio.sleep(1)
    story.long.enter("c")
    await trio.sleep(100)
    assert [who for who, _ in story.due] == ["b", "a", "c"]
    assert [at for _, at in story.due] == pytest.approx([11, 75, 77])


async def test_who_left_is_not_due(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    story = await begin(nursery)
    story.short.enter("a")
    story.short.enter("b")
    story.short.leave("a")
    story.short.leave("nobody")
    await trio.sleep(100)
    assert [who for who, _ in story.due] == ["b"]
    assert "b" not in story.short


async def test_who_enters_again_waits_anew_and_is_the_youngest(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    story = await begin(nursery)
    story.short.enter("a")
    story.short.enter("b")
    await trio.sleep(5)
    story.short.enter("a")
    assert story.short.oldest == "b"
    await trio.sleep(100)
    assert [who for who, _ in story.due] == ["b", "a"]
    assert [at for _, at in story.due] == pytest.approx([10, 15])


async def test_whoever_entered_before_it_ran_is_swept_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    story = Story()
    story.short.enter("a")
    nursery.start_soon(story.sweeper.run)
    await trio.sleep(100)
    assert [who for who, _ in story.due] == ["a"]
