"""A clock that stands still while the process does.

`docker pause`, SIGSTOP, a machine that is moved or starved: a process may not run for
seconds. When it goes on, every limit seems to have passed, though the answers that it
waited for have come long ago and lie in the kernel: each provider would be blamed, and
each stream broken off. So that time counts for nobody. All that waits here goes by
Trio's clock, which is this one, and it is left out of it.

What is noticed is a gap between two looks at the clock. Trio looks whenever it has
waited, for as long as it said that it would, and all else looks many times in between;
so in a long gap either nothing ran, or one call blocked everything. The second takes
CPU, and counts: a loop that is blocked has too much to do, and must shed load.

Time that a machine sleeps is not in the counter in the first place.
"""

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time
from typing import Final, TypeVar

import trio

# Shorter ones are the lateness of a busy loop, which sheds load and has to be seen.
HALT_S: Final = 1.0

# To ask what CPU one has had is a system call, and a busy loop waits often. What it
# did since it asked counts as work done during a halt: it is too little to matter.
_WORK_KNOWN_S: Final = 0.02

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def _nobody_minds() -> None:
    """Nothing but the clock minds a halt."""


class AwakeClock(trio.abc.Clock, trio.abc.Instrument):
    """Seconds in which this process ran; both a clock and an instrument of `trio.run`.

    Args:
        counter: counts all seconds, from wherever.
        worked: counts the seconds of CPU that this process has had.
    """

    def __init__(
        self,
        counter: Callable[[], float] = perf_counter,
        worked: Callable[[], float] = process_time,
    ) -> None:
        self._counter = counter
        self._worked = worked
        self._expected_by = counter()  # the next look, at the latest
        self._had_worked_s = worked()  # before the last wait, or halt
        self._knows_work_since = self._expected_by
        self.halted_s = 0.0
        """How long it stood still, all in all."""
        self.on_halt: Callable[[], None] = _nobody_minds
        """Called after each halt, wherever somebody looked; must not wait or raise."""

    def start_clock(self) -> None:
        """Begin, as Trio does now."""
        self._expected_by = self._counter()

    def current_time(self) -> float:
        """Say what time it is, which never runs back."""
        now = self._counter()
        if now - self._expected_by > HALT_S:
            self._look_into(now - self._expected_by)
        self._expected_by = now
        return now - self.halted_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Say how long it is until then."""
        return deadline - self.current_time()

    def before_io_wait(self, timeout: float) -> None:
        """Expect nobody to look before this wait is over."""
        now = self._counter()
        self._expected_by = now + timeout
        if now - self._knows_work_since > _WORK_KNOWN_S:
            self._knows_work_since = now
            self._had_worked_s = self._worked()

    def _look_into(self, gap_s: float) -> None:
        worked_s = self._worked()
        halt_s = gap_s - (worked_s - self._had_worked_s)
        self._had_worked_s = worked_s
        if halt_s > HALT_S:
            self.halted_s += halt_s
            _log.warning("stood still for %.1f s, which count against nobody", halt_s)
            self.on_halt()


def run_awake(main: Callable[..., Awaitable[Result]], *args: object) -> Result:
    """Run Trio by such a clock."""
    clock = AwakeClock()
    return trio.run(main, *args, clock=clock, instruments=[clock])


def tell_of_halts(on_halt: Callable[[], None]) -> None:
    """Call this after each halt of this process; inside Trio. See `AwakeClock`."""
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, AwakeClock):
        clock.on_halt = on_halt


def halted_s() -> float:
    """Say how long this process stood still, as far as it is known; inside Trio."""
    clock = trio.lowlevel.current_clock()
    return clock.halted_s if isinstance(clock, AwakeClock) else 0.0
