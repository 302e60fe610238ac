"""Slots, renewals and the end of all, with workers that are none, in virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_gateway.serving.process import Shutdown
from trio_gateway.serving.workers.restarts import (
    DEATHS_MAX,
    SLOW_DELAY_S,
    WINDOW_S,
)
from trio_gateway.serving.workers.supervisor import (
    END_GRACE_S,
    END_NOW_S,
    START_S,
    NeverReadyError,
    Supervisor,
)
from trio_gateway.telemetry.log import Level


@dataclass(eq=False)
class Fake:
    """A worker whose fate a test decides."""

    index: int
    pid: int
    drains_in_s: float = 1.0
    obeys_end_now: bool = True
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    ending: str = "it is still there"
    left: bool | None = None  # whether others served then
    left_at: float = inf

    def become_ready(self) -> None:
        self.ready.set()

    def die(self, why: str = "killed by SIGKILL") -> None:
        self.ending = why
        self.ended.set()

    def tell(self, order: object) -> None:
        raise AssertionError("the supervisor has no orders of its own")

    def leave(self, *, do_others_serve: bool) -> None:
        self.left, self.left_at = do_others_serve, trio.current_time()

        async def drain() -> None:
            await trio.sleep(self.drains_in_s)
            if not self.ended.is_set():
                self.die("exit code 0")

        trio.lowlevel.spawn_system_task(drain)

    def end_now(self) -> None:
        if self.obeys_end_now:
            self.die("exit code 1")

    def kill(self) -> None:
        self.die()


@dataclass
class Crew:
    """A supervisor, all workers that it ever started, and what it said."""

    supervisor: Supervisor
    shutdown: Shutdown
    started: list[Fake]
    said: list[tuple[float, str, dict[str, Any]]]
    change_fate: Callable[["Fate"], None]
    code: int | None = None

    def of(self, index: int) -> Fake:
        """The newest in a slot."""
        return [fake for fake in self.started if fake.index == index][-1]

    def events(self) -> list[str]:
        return [event for _, event, _ in self.said]


Fate = Callable[[Fake], None]


def healthy(fake: Fake) -> None:
    """It is ready after a second."""
    _after(1.0, fake.become_ready)


def stillborn(fake: Fake) -> None:
    _after(0.5, partial(fake.die, f"no memory for {fake.index} (exit code 1)"))


def never(fake: Fake) -> None:
    """It hangs."""


def _after(delay_s: float, act: Callable[[], None]) -> None:
    async def wait() -> None:
        await trio.sleep(delay_s)
        act()

    trio.lowlevel.spawn_system_task(wait)


@asynccontextmanager
async def a_crew(
    count: int,
    fate: Fate = healthy,
    *,
    drain_s: float = 10.0,
    is_ready: bool = True,
) -> AsyncIterator[Crew]:
    started: list[Fake] = []
    said: list[tuple[float, str, dict[str, Any]]] = []
    fates = [fate]

    async def spawn(index: int) -> Fake:
        await trio.lowlevel.checkpoint()
        fake = Fake(index, pid=1000 + len(started))
        started.append(fake)
        fates[-1](fake)
        return fake

    def say(event: str, /, *, level: Level = Level.INFO, **fields: Any) -> None:
        said.append((trio.current_time(), event, fields))

    supervisor = Supervisor(count, spawn, drain_s=lambda: drain_s, say=say)
    crew = Crew(supervisor, Shutdown(), started, said, fates.append)
    ready = trio.Event()

    async def run() -> None:
        crew.code = await supervisor.run(crew.shutdown, on_ready=ready.set)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        if is_ready:
            await ready.wait()
        yield crew
        if crew.code is None:
            crew.shutdown.draining.set()


async def test_it_is_ready_when_all_had_their_chance_and_then_drains_all(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(3) as crew:
        assert trio.current_time() == pytest.approx(1)
        assert crew.supervisor.ready == 3
        crew.shutdown.draining.set()
        await trio.sleep(0.5)
        assert crew.supervisor.ready == 0
    assert [fake.left for fake in crew.started] == [False] * 3
    assert crew.code == 0
    assert trio.current_time() == pytest.approx(2)


async def test_if_none_becomes_ready_it_ends_with_the_first_ones_word(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(NeverReadyError, match="no memory for")):
        async with a_crew(2, stillborn, is_ready=False):
            await trio.sleep(1000)
    assert trio.current_time() < START_S


async def test_a_worker_that_hangs_at_its_start_is_killed_in_time(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(NeverReadyError, match="not ready")):
        async with a_crew(1, never, is_ready=False) as crew:
            await trio.sleep(1000)
    assert trio.current_time() == pytest.approx(START_S)
    assert crew.started[0].ended.is_set()


async def test_one_that_serves_is_enough_to_begin(autojump_clock: MockClock) -> None:
    def only_the_first(fake: Fake) -> None:
        (healthy if fake.index == 0 else stillborn)(fake)

    async with a_crew(2, only_the_first) as crew:
        assert crew.supervisor.ready == 1
        await trio.sleep(5 * WINDOW_S)
        assert crew.supervisor.looping == (1,)
        assert crew.supervisor.ready == 1
    assert crew.events().count("worker_crash_loop") == 1
    most = DEATHS_MAX + 5 * WINDOW_S / SLOW_DELAY_S
    assert len([fake for fake in crew.started if fake.index == 1]) <= most + 1


async def test_a_worker_that_dies_is_replaced_at_once_and_no_other_is_touched(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(3) as crew:
        crew.of(1).die()
        await trio.sleep(0.1)
        assert len(crew.started) == 4
        assert crew.supervisor.ready == 2
        await trio.sleep(1)
        assert crew.supervisor.ready == 3
        assert [fake.left for fake in crew.started] == [None] * 4
    assert crew.supervisor.deaths == 1
    (died,) = [fields for _, event, fields in crew.said if event == "worker_died"]
    assert (died["worker"], died["why"]) == (1, "killed by SIGKILL")


async def test_a_crash_loop_is_slowed_down_told_and_forgotten(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(2) as crew:
        for _ in range(DEATHS_MAX):
            await trio.sleep(3)
            crew.of(0).die()
        await trio.sleep(0.1)
        assert crew.supervisor.looping == (0,)
        count = len(crew.started)
        await trio.sleep(SLOW_DELAY_S - 1)
        assert len(crew.started) == count
        await trio.sleep(2 + WINDOW_S)
        assert not crew.supervisor.looping
    assert crew.events().count("worker_crash_loop") == 1
    assert "worker_recovered" in crew.events()


async def test_a_roll_renews_one_after_the_other_and_never_has_fewer(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(3) as crew:
        old = crew.started[:3]
        crew.supervisor.roll()
        for _ in range(70):
            await trio.sleep(0.1)
            assert crew.supervisor.ready == 3
            leaving = [f for f in old if f.left and not f.ended.is_set()]
            assert len(leaving) <= 1
        assert all(fake.ended.is_set() for fake in old)
        assert [fake.left for fake in old] == [True] * 3
        assert [crew.of(index).ready.is_set() for index in range(3)] == [True] * 3
        assert len(crew.started) == 6
    assert crew.supervisor.rolls == {"done": 1, "stopped": 0}
    assert crew.supervisor.deaths == 0


async def test_a_roll_stops_where_the_new_one_does_not_become_ready(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(2) as crew:
        crew.change_fate(stillborn)
        crew.supervisor.roll()
        await trio.sleep(5)
        assert crew.supervisor.ready == 2
        assert len(crew.started) == 3
        assert [fake.left for fake in crew.started[:2]] == [None, None]
        assert crew.supervisor.rolls == {"done": 0, "stopped": 1}
        crew.change_fate(healthy)
        crew.supervisor.roll()
        await trio.sleep(10)
        assert crew.supervisor.rolls == {"done": 1, "stopped": 1}
    assert "roll_stopped" in crew.events()


async def test_a_roll_wakes_a_slot_that_waits_in_a_crash_loop(
    autojump_clock: MockClock,
) -> None:
    """The operator has mended what was broken, and does not want to wait."""
    async with a_crew(2) as crew:
        for _ in range(DEATHS_MAX):
            await trio.sleep(3)
            crew.of(0).die()
        await trio.sleep(0.1)
        crew.supervisor.roll()
        await trio.sleep(5)
        assert crew.supervisor.ready == 2
        assert crew.supervisor.rolls["done"] == 1


async def test_an_old_one_that_dies_while_its_heir_starts_is_replaced_by_it(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(1) as crew:
        crew.supervisor.roll()
        await trio.sleep(0.5)
        crew.started[0].die()
        await trio.sleep(2)
        assert crew.supervisor.ready == 1
        assert len(crew.started) == 2


async def test_an_heir_that_dies_is_replaced_while_the_old_one_still_drains(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(1) as crew:
        crew.started[0].drains_in_s = 8
        crew.supervisor.roll()
        await trio.sleep(1.5)
        crew.started[1].die()
        await trio.sleep(1.5)
        assert crew.supervisor.ready == 1
        assert not crew.started[0].ended.is_set()


async def test_who_does_not_drain_in_time_is_killed_in_a_roll_and_at_the_end(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(1, drain_s=10) as crew:
        crew.started[0].drains_in_s = inf
        began = trio.current_time()
        crew.supervisor.roll()
        await trio.sleep(20)
        assert crew.started[0].ended.is_set()
        assert crew.supervisor.rolls["done"] == 1

        crew.of(0).drains_in_s = inf
        crew.of(0).obeys_end_now = False
        began = trio.current_time()
        crew.shutdown.draining.set()
    assert trio.current_time() - began == pytest.approx(10 + END_GRACE_S + END_NOW_S)
    assert crew.code == 1
    assert crew.events()[-1] == "workers_killed"


async def test_a_second_signal_ends_all_at_once(autojump_clock: MockClock) -> None:
    async with a_crew(2) as crew:
        for fake in crew.started:
            fake.drains_in_s = inf
        crew.shutdown.request()
        await trio.sleep(1)
        crew.shutdown.request()
    assert trio.current_time() == pytest.approx(2)
    assert crew.code == 1


async def test_the_end_of_all_reaches_those_that_only_begin(
    autojump_clock: MockClock,
) -> None:
    async with a_crew(2) as crew:
        crew.of(1).die()
        await trio.sleep(0.5)
        crew.shutdown.draining.set()
    assert crew.of(1).left is False
    assert crew.code == 0
    assert len(crew.started) == 3


async def test_a_machine_that_can_start_no_process_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    async def spawn(index: int) -> Fake:
        await trio.lowlevel.checkpoint()
        raise OSError(12, "Cannot allocate memory")

    supervisor = Supervisor(1, spawn, drain_s=lambda: 1.0, say=lambda *_, **__: None)
    with pytest.raises(NeverReadyError, match="Cannot allocate memory"):
        await supervisor.run(Shutdown())
