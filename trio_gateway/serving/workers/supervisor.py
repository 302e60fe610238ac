"""Keeps every slot filled with a worker, renews them one by one, and ends them all.

It decides with `restarts`, acts on `child.Worker`s, and tells what happens as events.
See the package for the drawing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import trio

from trio_gateway.serving.process import Shutdown
from trio_gateway.serving.workers.child import Worker
from trio_gateway.serving.workers.restarts import WINDOW_S, Restarts
from trio_gateway.telemetry.log import Field, Level

# A fresh interpreter takes a second or two on a busy machine; one that needs so long
# will not serve well either.
START_S: Final = 60.0

# Beyond what a worker's own drain may take.
END_GRACE_S: Final = 5.0

# For a worker that was told to end at once.
END_NOW_S: Final = 1.0

Spawn = Callable[[int], Awaitable[Worker]]
"""Starts a worker for a slot."""


class NeverReadyError(Exception):
    """No worker ever became ready; the text is the first one's word on it."""


class Say(Protocol):
    """Told what happens: an event's name, and fields for the log."""

    def __call__(
        self, event: str, /, *, level: Level = Level.INFO, **fields: Field
    ) -> None:
        """Tell."""


@dataclass(slots=True)
class Slot:
    """A place for one worker."""

    index: int
    worker: Worker | None = None  # the one that serves
    restarts: Restarts = field(default_factory=Restarts)
    is_settled: trio.Event = field(default_factory=trio.Event)  # had its first chance
    renewal: "Renewal | None" = None
    renewal_wanted: trio.Event = field(default_factory=trio.Event)

    @property
    def is_ready(self) -> bool:
        """Whether clients are served in it."""
        return self.worker is not None and not self.worker.ended.is_set()

    def ask_for_renewal(self) -> "Renewal":
        """Let the next worker take over, as soon as there can be one."""
        self.renewal = Renewal()
        self.renewal_wanted.set()
        return self.renewal

    def take_renewal(self) -> "Renewal":
        """Begin what was asked for, if anything was; who takes it must end it."""
        taken, self.renewal = self.renewal or Renewal(), None
        self.renewal_wanted = trio.Event()
        return taken


Outcome = Literal["done", "stopped"]


@dataclass(slots=True, eq=False)
class Renewal:
    """A wish for another worker in a slot, and what became of it."""

    over: trio.Event = field(default_factory=trio.Event)
    outcome: Outcome = "stopped"

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self.outcome = outcome
        self.over.set()


class Supervisor:
    """A number of slots and their workers.

    Args:
        count: How many.
        spawn: Starts a worker.
        drain_s: How long workers may drain, now; it may change.
        say: Told what happens.
    """

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        *,
        drain_s: Callable[[], float],
        say: Say,
    ) -> None:
        self.slots = tuple(Slot(index) for index in range(count))
        self.deaths = 0
        """How many workers ended unasked, or did not become ready."""
        self.rolls: dict[Outcome, int] = {"done": 0, "stopped": 0}
        """How many rolling restarts were done, and how many were stopped."""
        self.is_draining = False
        self._spawn = spawn
        self._drain_s = drain_s
        self._say = say
        self._workers: dict[Worker, int] = {}  # all that live, with their slots
        self._roll_wanted = trio.Event()
        self._first_failure = ""

    @property
    def workers(self) -> dict[Worker, int]:
        """All workers that live, those that start or drain included; by slot."""
        return {w: i for w, i in self._workers.items() if not w.ended.is_set()}

    @property
    def ready(self) -> int:
        """In how many slots clients are served."""
        return 0 if self.is_draining else sum(slot.is_ready for slot in self.slots)

    @property
    def looping(self) -> tuple[int, ...]:
        """The slots whose workers keep dying."""
        return tuple(s.index for s in self.slots if s.restarts.is_looping)

    def roll(self) -> None:
        """Renew all workers, one after the other; a second wish meanwhile is one."""
        self._roll_wanted.set()

    async def run(
        self, shutdown: Shutdown, *, on_ready: Callable[[], None] = lambda: None
    ) -> int:
        """Keep workers until `shutdown`, then drain them; return an exit code.

        `on_ready` is called when every slot had its first chance, and one of them at
        least serves.

        Raises:
            NeverReadyError: If none of them does.
        """
        has_failed = False
        async with trio.open_nursery() as nursery:
            for slot in self.slots:
                nursery.start_soon(self._keep, slot, nursery)
            nursery.start_soon(_cancel_on, shutdown.draining, nursery.cancel_scope)
            for slot in self.slots:
                await slot.is_settled.wait()
            if self.ready:
                on_ready()
                await self._roll_when_wanted()
            has_failed = True
            nursery.cancel_scope.cancel()
        self.is_draining = True
        if has_failed:
            await self._end_now()
            raise NeverReadyError(self._first_failure)
        return await self._drain(shutdown)

    # One slot.

    async def _keep(self, slot: Slot, leaving: trio.Nursery) -> None:
        """Keep a slot filled; who is replaced is seen off in the nursery."""
        while True:
            worker = await self._start(slot)
            slot.worker = worker
            slot.is_settled.set()
            slot.take_renewal().end("stopped" if worker is None else "done")
            if worker is not None:
                await self._stay_with(slot, worker, leaving)
                slot.worker = None
            await self._pause(slot)

    async def _start(self, slot: Slot) -> Worker | None:
        """Start a worker; None if it does not become ready."""
        began_at = trio.current_time()
        try:
            worker = await self._spawn(slot.index)
        except OSError as error:
            self._failed(slot, f"cannot be started: {error.strerror or error}")
            return None
        self._workers = {**self.workers, worker: slot.index}
        with trio.move_on_after(START_S) as patience:
            await _first_of(worker.ready, worker.ended)
        if worker.ready.is_set() and not worker.ended.is_set():
            self._say(
                "worker_ready",
                worker=slot.index,
                pid=worker.pid,
                ms=round((trio.current_time() - began_at) * 1000),
            )
            return worker
        if patience.cancelled_caught:
            worker.kill()
            await worker.ended.wait()
        why = f"not ready within {START_S:g}s" if patience.cancelled_caught else None
        self._failed(slot, why or worker.ending)
        return None

    def _failed(self, slot: Slot, why: str) -> None:
        self.deaths += 1
        self._first_failure = self._first_failure or why
        self._say("worker_failed", level=Level.ERROR, worker=slot.index, why=why)

    async def _stay_with(
        self, slot: Slot, worker: Worker, leaving: trio.Nursery
    ) -> None:
        """Return when the slot is empty: its worker has died."""
        while True:
            with trio.move_on_after(WINDOW_S) as window:
                await _first_of(worker.ended, slot.renewal_wanted)
            if worker.ended.is_set():
                self._died(slot, worker)
                return
            if window.cancelled_caught:
                self._has_lived(slot)
                continue
            renewal = slot.take_renewal()
            heir = await self._start(slot)
            if heir is None:
                renewal.end("stopped")
                continue
            slot.worker = heir
            if worker.ended.is_set():
                self._died(slot, worker)
            leaving.start_soon(self._see_off, slot, worker, renewal)
            worker = heir

    async def _see_off(self, slot: Slot, worker: Worker, renewal: Renewal) -> None:
        """Let a worker drain whose place is taken."""
        worker.leave(do_others_serve=True)
        with trio.move_on_after(self._drain_s() + END_GRACE_S):
            await worker.ended.wait()
        if not worker.ended.is_set():
            worker.kill()
            await worker.ended.wait()
        self._say("worker_left", worker=slot.index, pid=worker.pid, why=worker.ending)
        renewal.end("done")

    def _died(self, slot: Slot, worker: Worker) -> None:
        self.deaths += 1
        self._say(
            "worker_died",
            level=Level.ERROR,
            worker=slot.index,
            pid=worker.pid,
            why=worker.ending,
        )

    def _has_lived(self, slot: Slot) -> None:
        if slot.restarts.is_looping:
            self._say("worker_recovered", worker=slot.index)
        slot.restarts.lived()

    async def _pause(self, slot: Slot) -> None:
        was_looping = slot.restarts.is_looping
        delay_s = slot.restarts.died(trio.current_time())
        if slot.restarts.is_looping and not was_looping:
            self._say(
                "worker_crash_loop",
                level=Level.ERROR,
                worker=slot.index,
                retry_in_s=delay_s,
            )
        with trio.move_on_after(delay_s):
            await slot.renewal_wanted.wait()

    # Rolling restart.

    async def _roll_when_wanted(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted = trio.Event()
            await self._roll()

    async def _roll(self) -> None:
        self._say("roll_started", workers=len(self.slots))
        for slot in self.slots:
            renewal = slot.ask_for_renewal()
            await renewal.over.wait()
            if renewal.outcome == "stopped":
                self.rolls["stopped"] += 1
                self._say("roll_stopped", level=Level.ERROR, worker=slot.index)
                return
        self.rolls["done"] += 1
        self._say("roll_done", workers=len(self.slots))

    # The end of all.

    async def _drain(self, shutdown: Shutdown) -> int:
        """Drain all workers; 0, unless somebody had to be ended."""
        for worker in self.workers:
            worker.leave(do_others_serve=False)
        with trio.move_on_after(self._drain_s() + END_GRACE_S) as patience:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on, shutdown.ending, nursery.cancel_scope)
                for worker in self.workers:
                    await worker.ended.wait()
                nursery.cancel_scope.cancel()
        if not self.workers:
            return 1 if shutdown.ending.is_set() else 0
        if patience.cancelled_caught:
            left = len(self.workers)
            self._say("workers_killed", level=Level.ERROR, workers=left)
        await self._end_now()
        return 1

    async def _end_now(self) -> None:
        for worker in self.workers:
            worker.end_now()
        with trio.move_on_after(END_NOW_S):
            for worker in self.workers:
                await worker.ended.wait()
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            await worker.ended.wait()


async def _cancel_on(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _first_of(one: trio.Event, other: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, one, nursery.cancel_scope)
        nursery.start_soon(_cancel_on, other, nursery.cancel_scope)
