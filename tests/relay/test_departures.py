"""A client that leaves takes everything with it, at whatever await it happens."""

import pytest
import trio

from tests.factories import a_route
from tests.relay.driver import (
    DONE,
    SICK,
    Run,
    a_body,
    a_request,
    a_run,
    a_stream,
    an_event,
)
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.relay.record import Outcome


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when its task is about to take step `k`."""

    def __init__(self, k: int, scope: trio.CancelScope, run: Run) -> None:
        self.left = k
        self.scope = scope
        self.run = run
        self.calls: int | None = None  # that were made until then
        self.task = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()
                self.calls = len(self.run.upstream.calls)


async def leave_at_step(run: Run, k: int, *, stream: bool) -> bool:
    """Run an exchange, cancelled at its k-th step; whether it got that far."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(k, scope, run)
        trio.lowlevel.add_instrument(instrument)
        try:
            await run.go(a_request(stream=stream))
        finally:
            trio.lowlevel.remove_instrument(instrument)
    if scope.cancelled_caught:
        assert len(run.upstream.calls) == instrument.calls, f"cancelled at step {k}"
    return scope.cancelled_caught


PATHS: dict[str, tuple[bool, list[Behaviour], list[Behaviour]]] = {
    "a stream": (True, [a_stream(gap_s=0.1)], []),
    "a plain answer": (False, [a_body()], []),
    "a failover": (True, [SICK], [a_stream(gap_s=0.1)]),
    "a failover of a plain answer": (False, [Refusal.RESET], [a_body()]),
    "a bad answer, then a good one": (
        True,
        [a_stream(b"data: {}\n\n")],
        [a_stream()],
    ),
    "a break": (True, [a_stream(an_event("x"), ending=Ending.CUT)], []),
}


@pytest.mark.parametrize("name", PATHS)
async def test_cancelled_at_any_checkpoint_nothing_is_left(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    stream, first, second = PATHS[name]
    tasks = trio.lowlevel.current_statistics().tasks_living
    k = 1
    while True:
        run = a_run(a_route("ab"), a=first, b=second or [a_stream()])
        cancelled = await leave_at_step(run, k, stream=stream)
        assert run.upstream.left_open == [], f"cancelled at step {k}"
        assert all(call.closes <= 1 for call in run.upstream.calls)
        assert len(run.records) == 1, "every exchange is recorded once"
        recorded = sum(a.reason is not None for a in run.record.attempts)
        assert recorded >= len(run.upstream.calls), "every attempt is accounted for"
        if not cancelled:
            break
        k += 1
    assert k > 4
    await trio.sleep(2)  # the task of the alarms rests a second after the last
    assert trio.lowlevel.current_statistics().tasks_living == tasks


PHASES: dict[str, tuple[bool, Behaviour]] = {
    "while connecting": (True, Refusal.CONNECT_HANG),
    "before the head": (True, Refusal.SILENCE),
    "before the first token": (True, a_stream(b": hi\n\n", ending=Ending.HANG)),
    "in mid-stream": (True, a_stream(an_event("x"), ending=Ending.HANG)),
    "in a plain answer": (
        False,
        Script(steps=(Send(b'{"choices"'), Pause(5.0), Send(b": []}"))),
    ),
    "while an error is read": (
        True,
        Script(status=503, steps=(Send(b"{"), Pause(0.9)), ending=Ending.HANG),
    ),
}


@pytest.mark.parametrize("name", PHASES)
async def test_a_departure_frees_the_upstream_in_the_same_instant(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    stream, behaviour = PHASES[name]
    run = a_run(a_route("a"), a=[behaviour])

    with trio.move_on_after(0.5):
        await run.go(a_request(stream=stream))

    (call,) = run.upstream.calls
    assert call.closed_at == trio.current_time()
    assert run.record.outcome is Outcome.CANCELLED
    assert run.record.duration_s == pytest.approx(0.5)


async def test_a_departure_in_a_backoff_dials_nobody_any_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow_down = a_body(b"{}", status=429, headers=[("retry-after", "3")])
    run = a_run(a_route("a"), a=[slow_down, a_stream()])

    with trio.move_on_after(1.0):
        await run.go()
    await trio.sleep(10.0)

    assert len(run.upstream.calls) == 1
    assert run.record.outcome is Outcome.CANCELLED


async def test_three_hundred_that_leave_at_any_moment_leave_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drip = a_stream(
        an_event("a"), an_event("b"), an_event(finish="stop"), DONE, gap_s=0.1
    )
    runs = [a_run(a_route("ab"), a=[SICK], b=[drip]) for _ in range(300)]

    async def one(run: Run, stays_s: float) -> None:
        with trio.move_on_after(stays_s):
            await run.go()

    async with trio.open_nursery() as nursery:
        for i, run in enumerate(runs):
            nursery.start_soon(one, run, i / 600)

    for run in runs:
        assert run.upstream.left_open == []
        assert len(run.records) == 1
