"""What a record tells of each attempt."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_route, a_target, with_timeouts
from tests.relay.driver import (
    GOOD_EVENTS,
    ROLE,
    SICK,
    Run,
    a_request,
    a_run,
    a_stream,
    an_event,
)
from trio_gateway.chaos.upstream import ScriptedStream, ScriptedUpstream, SeenCall
from trio_gateway.chaos.vocabulary.script import Ending
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint, Patience
from trio_gateway.relay.port import Call


async def test_an_attempt_is_told_from_its_begin_to_its_end(
    autojump_clock: MockClock,
) -> None:
    sick = replace(SICK, head_after_s=2.0)
    well = replace(a_stream(gap_s=1.0), head_after_s=3.0)
    run = await a_run(a_route("ab"), a=[sick], b=[well]).go()

    failed, won = run.record.attempts
    assert run.record.winner == 2
    assert run.record.shed is None
    assert (failed.started_s, failed.head_s, failed.opened_s) == (0.0, 2.0, None)
    assert (failed.ended_s, failed.left_s, failed.bytes_in) == (2.0, 45.0, None)
    # The role comes after a second, the first token after another.
    assert (won.started_s, won.head_s, won.opened_s) == (2.0, 5.0, 7.0)
    assert (won.ended_s, won.left_s) == (10.0, 43.0)
    assert won.bytes_in == sum(map(len, GOOD_EVENTS))


async def test_a_loser_tells_how_much_came_of_its_answer(
    autojump_clock: MockClock,
) -> None:
    limits = with_timeouts(first_token=Patience(1.0, 20.0))
    route = a_route("ab", is_overlap_on=True, timeouts=limits)
    slow = a_stream(*GOOD_EVENTS, gap_s=2.0)

    run = await a_run(route, a=[slow], b=[a_stream(gap_s=0.7)]).go()

    lost, won = run.record.attempts
    assert (lost.reason, won.reason) == (Reason.FIRST, Reason.OVERLAP)
    assert lost.bytes_in == len(GOOD_EVENTS[0])
    assert (lost.head_s, lost.opened_s) == (0.0, None)
    assert run.record.winner == won.number


async def test_who_was_not_waited_for_had_the_status_that_came(
    autojump_clock: MockClock,
) -> None:
    run = a_run(a_route("a"), a=[a_stream(ROLE, ending=Ending.HANG)])
    with trio.move_on_after(1.0):
        await run.go()

    (left,) = run.record.attempts
    assert left.failure is FailureClass.CANCELLED
    assert (left.head_s, left.opened_s, left.status) == (0.0, None, 200)


@pytest.mark.parametrize(
    ("commit", "cause"),
    [
        (CommitPoint(), "first token late"),
        (CommitPoint(CommitMode.TOKENS, 3), "tokens late"),
        (CommitPoint(CommitMode.COMPLETE), "answer late"),
    ],
)
async def test_what_was_late_is_told(
    autojump_clock: MockClock, commit: CommitPoint, cause: str
) -> None:
    patience = Patience(1.0, 2.0)
    limits = with_timeouts(
        first_token=patience, answer=patience, precommit_s=3.0, total_s=4.0
    )
    route = a_route("a", commit=commit, timeouts=limits, attempts_max=1)
    pieces = [ROLE] if commit == CommitPoint() else [ROLE, an_event("x")]
    run = await a_run(route, a=[a_stream(*pieces, ending=Ending.HANG)]).go()

    assert [attempt.cause for attempt in run.record.attempts] == [cause]


async def test_how_busy_a_target_was_is_told(autojump_clock: MockClock) -> None:
    run = a_run(a_route([a_target("a")]), a=[a_stream(gap_s=1.0)] * 3)
    async with trio.open_nursery() as nursery:
        for n in range(3):
            run.name = f"id-{n}"
            nursery.start_soon(run.go, a_request())
            await trio.sleep(0.1)

    busy = [attempt.in_flight for record in run.records for attempt in record.attempts]
    assert busy == [1, 2, 3]


async def test_an_exchange_that_could_send_nothing_has_no_winner(
    autojump_clock: MockClock,
) -> None:
    run = await a_run(a_route("a", attempts_max=1), a=[SICK]).go()

    assert run.record.winner is None


class StaleAtFirst(ScriptedUpstream):
    """Its first call meets a kept connection that is dead."""

    async def open(self, call: Call) -> ScriptedStream | Failure:
        if self.calls:
            return await super().open(call)
        self.calls.append(SeenCall(call, opened_at=trio.current_time()))
        await trio.lowlevel.checkpoint()
        return Failure(FailureClass.NOT_PROCESSED, "closed")


async def test_only_a_redial_asks_for_a_new_connection(
    autojump_clock: MockClock,
) -> None:
    played = {"a": SICK, "b": a_stream()}
    upstream = StaleAtFirst(lambda call: played[call.account.name])
    run = await Run(a_route("ab"), upstream).go()
    reasons = [attempt.reason for attempt in run.record.attempts]
    assert reasons == [Reason.FIRST, Reason.REDIAL, Reason.FAILOVER]
    assert [seen.call.is_redial for seen in upstream.calls] == [False, True, False]
