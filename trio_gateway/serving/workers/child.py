"""A worker as the supervisor sees it: a process, and the line to it.

Whatever a worker does, nobody waits for it: orders go into a queue that a task of its
own sends, and questions have a bound. One that hangs would keep its clients for ever,
so its pulse is felt, and as long as it misses beats nothing else is asked of it. (Beats
are counted, not seconds: a machine that was halted for a minute has missed one beat,
and no worker is to blame.)
"""

import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

import trio

from trio_gateway.serving.workers.line import Line, LineError
from trio_gateway.serving.workers.messages import (
    Answer,
    Ask,
    Begin,
    EndNow,
    Failed,
    Farewell,
    FromWorker,
    Leave,
    Ready,
    Tell,
    ToWorker,
)
from trio_gateway.serving.workers.turns import Places

# After a process has ended, for what it said last to be read.
_LAST_WORDS_S: Final = 1.0

# Orders are few, and a worker takes them at once. One that has left so many lying does
# not serve either.
_ORDERS_MAX: Final = 256

# Far beyond what a busy loop may be late: then it has shed most of its load long ago. A
# worker has all of a beat to answer it, so those that may be missed are half a minute.
BEAT_S: Final = 5.0
BEATS_MISSED_MAX: Final = 6


class Worker(Protocol):
    """What the supervisor needs to know of a worker, and may do with it."""

    @property
    def pid(self) -> int:
        """Its process."""

    @property
    def ready(self) -> trio.Event:
        """Set when it accepts clients."""

    @property
    def ended(self) -> trio.Event:
        """Set when its process is no more."""

    @property
    def ending(self) -> str:
        """How it ended, and why if it said so; for an operator."""

    def tell(self, order: object) -> None:
        """Give an order; returns at once, and orders arrive one after another."""

    def leave(self, *, do_others_serve: bool) -> None:
        """Let it drain and end."""

    def end_now(self) -> None:
        """Let it end at once."""

    def kill(self) -> None:
        """End it without its doing."""


class Child:
    """A real worker. Its tasks live in the nursery that it was started in."""

    def __init__(
        self, process: trio.Process, line: Line, *, beat_s: float = BEAT_S
    ) -> None:
        self._beat_s = beat_s
        self._process = process
        self._line = line
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.farewell: bytes | None = None
        """What it said last, if it ended in peace."""
        self._why = ""
        self._missed = 0
        self._asked = 0
        self._waiting: dict[int, trio.MemorySendChannel[Answer]] = {}
        self._orders, self._unsent = trio.open_memory_channel[ToWorker](_ORDERS_MAX)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def ending(self) -> str:
        """How it ended, and why if it said so; for an operator."""
        code = self._process.returncode
        if code is None:
            how = "it is still there"
        elif code < 0:
            how = f"killed by {_name_of_signal(-code)}"
        else:
            how = f"exit code {code}"
        return f"{self._why} ({how})" if self._why else how

    @property
    def is_answering(self) -> bool:
        """Whether it has not missed the last beat."""
        return not self._missed

    def tell(self, order: object) -> None:
        """Give an order; returns at once, and orders arrive one after another."""
        self._order(Tell(order))

    def leave(self, *, do_others_serve: bool) -> None:
        """Let it drain and end."""
        self._order(Leave(do_others_serve))

    def end_now(self) -> None:
        """Let it end at once."""
        self._order(EndNow())

    def kill(self) -> None:
        """End it without its doing."""
        self._process.kill()

    async def ask(self, path: str, query: bytes = b"") -> Answer | None:
        """Ask its admin app; None if it ends before it answers. Bound the wait."""
        if self.ended.is_set():
            return None
        self._asked += 1
        number = self._asked
        sender, receiver = trio.open_memory_channel[Answer](1)
        self._waiting[number] = sender
        try:
            self._order(Ask(number, path, query))
            return await receiver.receive()
        except trio.EndOfChannel:
            return None
        finally:
            self._waiting.pop(number, None)

    def begin(self, order: object) -> None:
        """Give the first order; before all others, and before `look_after`."""
        self._order(Begin(order))

    async def look_after(self) -> None:
        """Carry what is said, and note the process's end; returns after it."""
        reading = trio.CancelScope()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                nursery.start_soon(self._read, reading)
                async with trio.open_nursery() as watching:
                    watching.start_soon(self._feel_pulse)
                    await self._process.wait()
                    watching.cancel_scope.cancel()
                reading.deadline = trio.current_time() + _LAST_WORDS_S
                self._orders.close()
        finally:
            await self._line.aclose()
        self.ended.set()
        for sender in self._waiting.values():
            sender.close()

    async def _feel_pulse(self) -> None:
        """End a worker that hangs."""
        await self.ready.wait()
        while self._missed < BEATS_MISSED_MAX:
            over_at = trio.current_time() + self._beat_s
            with trio.move_on_at(over_at) as beat:
                await self.ask("/livez")
            self._missed = self._missed + 1 if beat.cancelled_caught else 0
            await trio.sleep_until(over_at)
        self._why = f"it did not answer {self._missed} times"
        self.kill()

    def _order(self, message: ToWorker) -> None:
        try:
            self._orders.send_nowait(message)
        except trio.WouldBlock:
            self._why = "it left its orders lying"
            self.kill()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return  # it is no more

    async def _send(self) -> None:
        async with self._unsent:
            async for message in self._unsent:
                await self._line.send(message)

    async def _read(self, reading: trio.CancelScope) -> None:
        with reading:
            try:
                while (message := await self._line.receive()) is not None:
                    self._take(message)  # type: ignore[arg-type] # it says no others
            except LineError as error:
                self._why = f"it said what is no message: {error}"
                self.kill()

    def _take(self, message: FromWorker) -> None:
        match message:
            case Ready():
                self.ready.set()
            case Failed(why):
                self._why = why
            case Farewell(words):
                self.farewell = words
            case Answer(number):
                if number in self._waiting:
                    self._waiting[number].send_nowait(message)
            case _:
                assert_never(message)


async def ask_all(
    children: Iterable[Child], path: str, query: bytes = b"", *, within_s: float
) -> list[tuple[Child, Answer]]:
    """Ask them at once; what those said that answered in time."""
    answers: list[tuple[Child, Answer]] = []

    async def ask(child: Child) -> None:
        answer = await child.ask(path, query)
        if answer is not None:
            answers.append((child, answer))

    with trio.move_on_after(within_s):
        async with trio.open_nursery() as nursery:
            for child in children:
                if child.is_answering:
                    nursery.start_soon(ask, child)
    return answers


@dataclass(frozen=True, slots=True)
class Spawner:
    """Starts workers.

    Args:
        command: The program; `worker.Inherited` reads the arguments that are added.
        sockets: The listening sockets, which each worker inherits.
        places: The memory that workers share.
        beat_s: How often their pulse is felt.
        nursery: Where the workers' tasks live.
    """

    command: Sequence[str]
    sockets: Sequence[trio.socket.SocketType]
    places: Places
    nursery: trio.Nursery
    beat_s: float = BEAT_S

    async def __call__(
        self, order: Callable[[], object], on_end: Callable[[Child], None]
    ) -> Child:
        """Start one, and give it its first order, made at the last moment.

        Raises:
            OSError: If there can be no further process, or no further file.
        """
        place = self.places.take()
        try:
            child = await self._child(place)
        except BaseException:
            self.places.free(place)
            raise

        def ended() -> None:
            self.places.free(place)
            on_end(child)

        child.begin(order())
        self.nursery.start_soon(_look_after, child, ended)
        return child

    async def _child(self, place: int) -> Child:
        ours, theirs = socket.socketpair()
        with ExitStack() as open_for_it:
            open_for_it.enter_context(theirs)
            try:
                # Copies: ours are closed when a drain begins, perhaps before a thread
                # has started this one, and their numbers become others' files.
                copies = [open_for_it.enter_context(s.dup()) for s in self.sockets]
                sockets = [copy.fileno() for copy in copies]
                inherited = [theirs.fileno(), self.places.fd, *sockets]
                process = await trio.lowlevel.open_process(
                    [*self.command, str(place), *map(str, inherited)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=inherited,
                    # Ctrl-C is for the supervisor, which tells the workers.
                    process_group=0,
                )
            except BaseException:
                ours.close()
                raise
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        return Child(process, Line(stream), beat_s=self.beat_s)


async def _look_after(child: Child, on_end: Callable[[], None]) -> None:
    await child.look_after()
    on_end()


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
