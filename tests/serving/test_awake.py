"""A clock that leaves out the time in which its process did not run."""

import logging

import pytest
import trio
import trio.lowlevel

from trio_gateway.serving.awake import HALT_S, AwakeClock, halted_s, run_awake


class Seconds:
    """A counter that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def work() -> Seconds:
    """The CPU that the process has had."""
    return Seconds()


@pytest.fixture
def clock(seconds: Seconds, work: Seconds) -> AwakeClock:
    return AwakeClock(seconds, work)


def test_it_goes_as_the_counter_does(seconds: Seconds, clock: AwakeClock) -> None:
    before = clock.current_time()
    for step_s in (0.0, 0.2, 0.9, HALT_S):
        seconds.now += step_s
        assert clock.current_time() - before == pytest.approx(step_s)
        before = clock.current_time()
    assert clock.halted_s == 0.0


def test_a_wait_may_be_as_long_as_it_was_meant_to_be(
    seconds: Seconds, clock: AwakeClock
) -> None:
    before = clock.current_time()
    clock.before_io_wait(30.0)
    seconds.now += 30.9
    assert clock.current_time() - before == pytest.approx(30.9)
    assert clock.halted_s == 0.0


@pytest.mark.parametrize("wait_s", [0.0, 0.05, 30.0])
def test_a_halt_in_a_wait_is_left_out(
    seconds: Seconds, clock: AwakeClock, wait_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    before = clock.current_time()
    clock.before_io_wait(wait_s)
    seconds.now += wait_s + 60.0
    assert clock.current_time() - before == pytest.approx(wait_s)
    assert clock.halted_s == pytest.approx(60.0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "stood still for 60.0 s, which count against nobody"


def test_a_halt_amid_the_work_is_left_out_and_time_never_runs_back(
    seconds: Seconds, clock: AwakeClock
) -> None:
    seen = []
    for _ in range(3):
        seen.append(clock.current_time())
        seconds.now += 5.0
        seen.append(clock.current_time())
        clock.before_io_wait(0.1)
        seconds.now += 0.05
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] == pytest.approx(2 * 0.05)


@pytest.mark.parametrize("gap_s", [1.5, 60.0])
def test_one_call_that_blocks_everything_is_no_halt(
    seconds: Seconds, work: Seconds, clock: AwakeClock, gap_s: float
) -> None:
    before = clock.current_time()
    clock.before_io_wait(0.0)
    seconds.now += gap_s
    work.now += gap_s - 0.9  # for the machine has others to serve
    assert clock.current_time() - before == pytest.approx(gap_s)
    assert clock.halted_s == 0.0


def test_of_a_halt_within_such_a_call_the_call_counts(
    seconds: Seconds, work: Seconds, clock: AwakeClock
) -> None:
    before = clock.current_time()
    clock.before_io_wait(0.0)
    seconds.now += 60.0
    work.now += 2.0
    assert clock.current_time() - before == pytest.approx(2.0)


@pytest.mark.parametrize("turn_s", [0.0003, 0.005, 0.5])
def test_work_before_a_halt_is_not_taken_for_work_during_it(
    seconds: Seconds, work: Seconds, clock: AwakeClock, turn_s: float
) -> None:
    for _ in range(1000):
        seconds.now += turn_s
        work.now += turn_s
        clock.before_io_wait(0.0)
    seconds.now += 60.0
    clock.current_time()
    assert clock.halted_s == pytest.approx(60.0, abs=0.03)


def test_who_is_told_of_halts_hears_of_each(
    seconds: Seconds, clock: AwakeClock
) -> None:
    told: list[float] = []
    clock.on_halt = lambda: told.append(clock.halted_s)
    for _ in range(2):
        seconds.now += 60.0
        clock.current_time()
        clock.current_time()
    assert told == [pytest.approx(60.0), pytest.approx(120.0)]


def test_what_was_due_is_due_as_much_later(seconds: Seconds, clock: AwakeClock) -> None:
    deadline = clock.current_time() + 2.0
    clock.before_io_wait(0.05)
    seconds.now += 10.0
    assert clock.deadline_to_sleep_time(deadline) == pytest.approx(2.0 - 0.05)


def test_limits_of_a_run_stand_still_with_it(seconds: Seconds) -> None:
    class Halt(trio.abc.Instrument):
        """A minute in which nothing runs, while all tasks wait."""

        def after_io_wait(self, timeout: float) -> None:
            seconds.now += 60.0

    async def main() -> bool:
        with trio.move_on_after(0.5) as limit:
            trio.lowlevel.add_instrument(halt)
            await trio.lowlevel.checkpoint()
            trio.lowlevel.remove_instrument(halt)
            await trio.lowlevel.checkpoint()
        return limit.cancelled_caught

    clock, halt = AwakeClock(seconds, Seconds()), Halt()
    assert not trio.run(main, clock=clock, instruments=[clock])
    assert trio.run(main, clock=PlainClock(seconds))


class PlainClock(trio.abc.Clock):
    """Shows all seconds."""

    def __init__(self, counter: Seconds) -> None:
        self._counter = counter

    def start_clock(self) -> None:
        """It goes already."""

    def current_time(self) -> float:
        return self._counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


def test_a_run_by_it_knows_how_long_it_stood_still() -> None:
    async def main(word: str) -> tuple[str, float]:
        await trio.lowlevel.checkpoint()
        return word, halted_s()

    assert run_awake(main, "done") == ("done", 0.0)


def test_by_another_clock_nobody_stands_still() -> None:
    async def main() -> float:
        return halted_s()

    assert trio.run(main) == 0.0
