"""The supervisor as a worker sees it, over a line in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.testing

from tests.serving.toy import Toy
from trio_gateway.serving.process import Drain
from trio_gateway.serving.workers.line import Line, LineError
from trio_gateway.serving.workers.messages import (
    Answer,
    Ask,
    EndNow,
    Farewell,
    Leave,
    Ready,
    Tell,
)
from trio_gateway.serving.workers.worker import (
    PARTING_S,
    Boss,
    Inherited,
    WorkerShutdown,
    visit,
)


@dataclass
class Obeying:
    """A worker that takes orders, and the supervisor's end of its line."""

    line: Line
    boss: Boss
    shutdown: WorkerShutdown
    drain: Drain
    orders: list[object] = field(default_factory=list)

    async def obey(self, order: object) -> None:
        await trio.lowlevel.checkpoint()
        self.orders.append(order)

    async def say(self, message: object) -> None:
        await self.line.send(message)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def a_worker() -> AsyncIterator[Obeying]:
    ours, theirs = trio.testing.memory_stream_pair()
    shutdown, drain = WorkerShutdown(), Drain(notice_s=1.0)
    boss = Boss(Line(theirs), shutdown, drain)
    worker = Obeying(Line(ours), boss, shutdown, drain)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(boss.obey, worker.obey, Toy()))
        yield worker
        nursery.cancel_scope.cancel()


async def test_it_says_that_it_is_ready_once_it_listens() -> None:
    async with a_worker() as worker:
        with trio.move_on_after(0.01) as silence:
            await worker.line.receive()
        assert silence.cancelled_caught
        worker.boss.listening.set()
        assert await worker.line.receive() == Ready()


async def test_orders_are_obeyed_one_after_the_other() -> None:
    async with a_worker() as worker:
        for number in range(10):
            await worker.line.send(Tell(number))
        await trio.testing.wait_all_tasks_blocked()
        assert worker.orders == list(range(10))


async def test_what_is_asked_is_answered_by_its_own_admin_app(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with a_worker() as worker:
        await worker.line.send(Ask(1, "/slow"))
        await worker.line.send(Ask(2, "/hi"))
        said = [await worker.line.receive(), await worker.line.receive()]
    assert said == [Answer(2, 200, b"hi"), Answer(1, 200, b"slow")]


async def test_in_a_rolling_restart_it_parts_from_its_clients_without_notice() -> None:
    async with a_worker() as worker:
        await worker.say(Leave(do_others_serve=True))
        assert worker.shutdown.draining.is_set()
        assert (worker.drain.notice_s, worker.drain.parting_s) == (0.0, PARTING_S)
        assert not worker.shutdown.ending.is_set()


async def test_where_all_end_it_gives_notice_first() -> None:
    async with a_worker() as worker:
        await worker.say(Leave(do_others_serve=False))
        assert worker.shutdown.draining.is_set()
        assert worker.drain.notice_s == 1.0


async def test_without_a_supervisor_it_drains() -> None:
    async with a_worker() as worker:
        await worker.line.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert worker.shutdown.draining.is_set()
        assert not worker.shutdown.ending.is_set()
        await worker.boss.farewell(b"nobody hears")


async def test_it_ends_at_once_when_told_so() -> None:
    async with a_worker() as worker:
        await worker.say(EndNow())
        assert worker.shutdown.ending.is_set()


async def test_its_last_words_reach_the_supervisor() -> None:
    async with a_worker() as worker:
        await worker.boss.farewell(b"counted 1")
        assert await worker.line.receive() == Farewell(b"counted 1")


@pytest.mark.parametrize("signal_first", [True, False])
async def test_a_signal_beside_the_order_to_drain_is_not_a_second_one(
    signal_first: bool,
) -> None:
    """A service manager signals the supervisor and all workers."""
    async with a_worker() as worker:
        if signal_first:
            worker.shutdown.request()
        await worker.say(Leave(do_others_serve=False))
        if not signal_first:
            worker.shutdown.request()
        assert not worker.shutdown.ending.is_set()
        worker.shutdown.request()
        assert worker.shutdown.ending.is_set()


async def test_nonsense_on_the_line_is_an_error() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(b"\0\0\0\1x")
    boss = Boss(Line(theirs), WorkerShutdown(), Drain())

    async def obey(_: object) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.RaisesGroup(LineError):
        await boss.obey(obey, Toy())


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/hi", 200, b"hi"), ("/none", 404, b"nothing here"), ("/three", 200, b"xxx")],
)
async def test_a_page_is_visited_without_a_server(
    path: str, status: int, body: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    assert await visit(Toy(), path, b"") == (status, body)


def test_what_is_inherited_is_read_from_the_arguments() -> None:
    assert Inherited.of(["3", "10", "11", "12", "13"]) == Inherited(3, 10, 11, (12, 13))
