"""A worker as the supervisor sees it: real processes, which are hardly workers."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.sockets.gateway import eventually
from trio_gateway.serving.workers.child import (
    BEAT_S,
    BEATS_MISSED_MAX,
    Child,
    Spawner,
    ask_all,
)
from trio_gateway.serving.workers.messages import Answer
from trio_gateway.serving.workers.turns import Places

STUCK_S = 30.0

# What a worker's program begins with: its line, and the first order.
PROLOGUE = """
import pickle, socket, struct, sys, time
line = socket.socket(fileno=int(sys.argv[2])).makefile("rwb")
def take():
    head = line.read(4)
    return pickle.loads(line.read(struct.unpack("!I", head)[0])) if head else None
def say(message):
    data = pickle.dumps(message)
    line.write(struct.pack("!I", len(data)) + data)
    line.flush()
from trio_gateway.serving.workers.messages import *
order = take().order
"""


@asynccontextmanager
async def a_child(
    program: str, order: object = "begin", *, beat_s: float = BEAT_S
) -> AsyncIterator[Child]:
    """A process that runs a program of a few lines."""
    places = Places(2)
    ended: list[Child] = []
    try:
        async with trio.open_nursery() as nursery:
            command = (sys.executable, "-c", PROLOGUE + program)
            spawn = Spawner(command, [], places, nursery, beat_s)
            child = await spawn(lambda: order, ended.append)
            try:
                with trio.fail_after(STUCK_S):
                    yield child
            finally:
                child.kill()
            with trio.fail_after(STUCK_S):
                await child.ended.wait()
        assert ended == [child]
        # It gave its place back.
        assert sorted([places.take(), places.take()]) == [0, 1]
    finally:
        places.close()


async def test_it_is_given_an_order_and_says_that_it_is_ready() -> None:
    program = "assert order == {'a': 1}; say(Ready()); time.sleep(60)"
    async with a_child(program, {"a": 1}) as child:
        await child.ready.wait()
        assert not child.ended.is_set()


async def test_how_and_why_it_ended_is_known() -> None:
    async with a_child("say(Failed('no port')); sys.exit(3)") as child:
        await child.ended.wait()
        assert not child.ready.is_set()
        assert child.ending == "no port (exit code 3)"
    async with a_child("time.sleep(60)") as child:
        child.kill()
        await child.ended.wait()
        assert child.ending == "killed by SIGKILL"


async def test_questions_are_answered_each_with_its_own_answer() -> None:
    answers = """
one, two = sorted([take(), take()], key=lambda ask: ask.path)
say(Answer(two.number, 200, two.path.encode()))
say(Answer(999, 200, b'nobody asked'))
say(Answer(one.number, 404, one.query))
take()
"""
    got = dict[str, Answer | None]()

    async def ask(path: str, query: bytes) -> None:
        got[path] = await child.ask(path, query)

    async with a_child(answers) as child:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "/one", b"q=1")
            nursery.start_soon(ask, "/two", b"")
        bodies = {(a.status, a.body) for a in got.values() if a is not None}
        assert bodies == {(404, b"q=1"), (200, b"/two")}


async def test_who_asks_a_worker_that_dies_is_not_left_waiting() -> None:
    async with a_child("take(); sys.exit(1)") as child:
        assert await child.ask("/metrics") is None
        assert await child.ask("/metrics") is None
        child.tell("nobody hears this")
        child.leave(do_others_serve=True)


async def test_its_last_words_are_heard_after_its_end() -> None:
    async with a_child("take(); say(Farewell(b'x' * 3000000))") as child:
        child.leave(do_others_serve=False)
        await child.ended.wait()
        assert child.farewell == b"x" * 3_000_000


async def test_orders_come_in_their_order() -> None:
    echo = """
seen = []
while not isinstance(m := take(), Ask):
    seen.append(m.order)
say(Answer(m.number, 200, repr(seen).encode()))
take()
"""
    async with a_child(echo) as child:
        for number in range(100):
            child.tell(number)
        answer = await child.ask("/")
        assert answer is not None
        assert answer.body == repr(list(range(100))).encode()


async def test_one_that_leaves_its_orders_lying_is_ended() -> None:
    async with a_child("time.sleep(60)") as child:
        for _ in range(500):
            child.tell(b"x" * 10_000)
            await trio.lowlevel.checkpoint()
        await child.ended.wait()
        assert child.ending == "it left its orders lying (killed by SIGKILL)"


async def test_one_that_hangs_is_ended() -> None:
    async with a_child("say(Ready()); time.sleep(60)", beat_s=0.02) as child:
        await child.ended.wait()
        assert child.ending == "it did not answer 6 times (killed by SIGKILL)"


async def test_one_that_hangs_is_ended_after_so_many_beats_and_no_later(
    mock_clock: MockClock,
) -> None:
    async with a_child("say(Ready()); time.sleep(60)", beat_s=1.0) as child:
        await child.ready.wait()
        for beat in range(BEATS_MISSED_MAX):
            await wait_all_tasks_blocked()
            assert child.ending == "it is still there", beat
            mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        assert child.ending != "it is still there"


async def test_one_that_misses_beats_is_asked_nothing_else_until_it_answers(
    mock_clock: MockClock,
) -> None:
    absent = """
say(Ready())
*missed, beat = [take() for _ in range(3)]
say(Answer(beat.number, 200, b''))
page = take()
say(Answer(page.number, 200, page.path.encode()))
time.sleep(60)
"""
    got: list[tuple[Child, Answer]] | None = None

    async def ask() -> None:
        nonlocal got
        got = await ask_all([child], "/metrics", within_s=STUCK_S)

    async with a_child(absent, beat_s=10.0) as child, trio.open_nursery() as nursery:
        await child.ready.wait()
        assert child.is_answering
        await wait_all_tasks_blocked()
        mock_clock.jump(10.0)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert got == []

        mock_clock.jump(10.0)
        mock_clock.rate = 1.0
        assert await eventually(lambda: child.is_answering)
        await ask()
        assert [(who, said.body) for who, said in got] == [(child, b"/metrics")]


async def test_one_that_misses_some_beats_goes_on() -> None:
    """As does a whole machine that was halted: the next beat comes in time."""
    absent = f"""
say(Ready())
for _ in range(4):
    asked = [take() for _ in range({BEATS_MISSED_MAX // 2})]
    say(Answer(asked[-1].number, 200, b''))
say(Failed('well'))
while ask := take():
    say(Answer(ask.number, 200, b''))
"""
    async with a_child(absent, beat_s=0.1) as child:
        assert await eventually(lambda: child.ending.startswith("well"))
        assert not child.ended.is_set()


async def test_one_that_says_nonsense_is_ended() -> None:
    nonsense = "line.write(struct.pack('!I', 3) + b'abc'); line.flush(); time.sleep(60)"
    async with a_child(nonsense) as child:
        await child.ended.wait()
        assert "what is no message" in child.ending


async def test_a_command_that_is_none_is_an_error_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    places = Places(1)
    async with trio.open_nursery() as nursery:
        spawn = Spawner([str(tmp_path / "none")], [], places, nursery)
        with pytest.raises(FileNotFoundError):
            await spawn(lambda: None, lambda _: None)
    assert places.take() == 0
    places.close()


async def test_one_that_starts_as_the_listeners_are_closed_has_them_all_the_same() -> (
    None
):
    listening = trio.socket.socket()
    await listening.bind(("127.0.0.1", 0))
    listening.listen()
    port = listening.getsockname()[1]
    program = """
served = socket.socket(fileno=int(sys.argv[4]))
say(Failed(str(served.getsockname()[1])))
"""
    threads = trio.to_thread.current_default_thread_limiter()
    threads.total_tokens = 1
    places, ended = Places(1), list[Child]()
    async with trio.open_nursery() as nursery:
        command = (sys.executable, "-c", PROLOGUE + program)
        spawn = Spawner(command, [listening], places, nursery)
        async with threads:  # so that no process can be started
            nursery.start_soon(spawn, lambda: "begin", ended.append)
            await wait_all_tasks_blocked()
            listening.close()
    assert ended[0].ending.startswith(f"{port} (")
    places.close()
