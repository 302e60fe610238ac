"""What an exchange held is gone with it: its prompt may be megabytes."""

import gc
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_route
from tests.relay.driver import SICK, Run, a_body, a_request, a_run, a_stream
from trio_gateway.chaos.vocabulary.script import Ending
from trio_gateway.relay.exchange import Exchange
from trio_gateway.wire.chat import ChatRequest

LATE = a_stream(ending=Ending.HANG, gap_s=100.0)


def a_streamed_run() -> Run:
    return a_run(a_route("a"), a=[a_stream()])


def a_whole_run() -> Run:
    return a_run(a_route("a"), a=[a_body()])


def a_failing_run() -> Run:
    return a_run(a_route("a"), a=[SICK] * 9)


def an_overlapped_run() -> Run:
    return a_run(a_route("ab", is_overlap_on=True), a=[LATE], b=[a_stream()])


def a_run_whose_client_leaves() -> Run:
    return a_run(a_route("a"), a=[LATE])


@pytest.mark.parametrize(
    ("make", "is_stream", "attempts"),
    [
        (a_streamed_run, True, 1),
        (a_whole_run, False, 1),
        (a_failing_run, True, 2),
        (an_overlapped_run, True, 2),
        (a_run_whose_client_leaves, True, 1),
    ],
    ids=["streamed", "whole", "refused", "overlapped", "left"],
)
async def test_an_exchange_goes_without_the_garbage_collector(
    make: Callable[[], Run], is_stream: bool, attempts: int, autojump_clock: MockClock
) -> None:
    run = make()
    gc.collect()
    gc.disable()
    try:
        with trio.move_on_after(15.0):
            await run.go(a_request(stream=is_stream))
        assert len(run.record.attempts) == attempts
        left = [o for o in gc.get_objects() if isinstance(o, (Exchange, ChatRequest))]
        assert not left
    finally:
        gc.enable()
