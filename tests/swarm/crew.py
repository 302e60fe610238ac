"""Seeds played by several processes, so that every core has work."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from os import cpu_count
from signal import SIG_IGN, SIGINT, signal
from typing import Final

from tests.swarm.play import Depth, Played, play

# What a process gets at once; enough that handing it over costs nothing.
_BATCH: Final = 5

Job = tuple[int, Depth]


class Crew:
    """Processes at work."""

    def __init__(self, executor: ProcessPoolExecutor, count: int) -> None:
        self._executor = executor
        self._count = count

    def play(self, jobs: Iterable[Job]) -> Iterator[Played]:
        """Play every job, in the order of their ends.

        Jobs are taken as they are needed, so that there may be infinitely many.
        """
        source = iter(jobs)
        running: set[Future[list[Played]]] = set()
        while True:
            while len(running) < 2 * self._count:
                batch = tuple(islice(source, _BATCH))
                if not batch:
                    break
                running.add(self._executor.submit(_play_batch, batch))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


@contextmanager
def a_crew() -> Iterator[Crew]:
    """As many processes as there are cores; they finish what they are at, at most."""
    count = cpu_count() or 1
    executor = ProcessPoolExecutor(count, get_context("spawn"), _leave_interrupts)
    try:
        yield Crew(executor, count)
    finally:
        executor.shutdown(cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; only the first one is to hear it."""
    signal(SIGINT, SIG_IGN)


def _play_batch(batch: Iterable[Job]) -> list[Played]:
    return [play(seed, depth) for seed, depth in batch]
