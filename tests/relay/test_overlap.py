"""Two attempts alive: one winner, the loser closed before the answer starts."""

import pytest
import trio

from tests.factories import a_route, a_target
from tests.relay.driver import (
    GOOD_EVENTS,
    FakeClient,
    Run,
    a_run,
    a_stream,
    an_event,
    events_in,
)
from trio_gateway.chaos.upstream import ScriptedStream, ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Ending, Refusal, Script
from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint
from trio_gateway.relay.port import Call

SLOW = Script(
    headers=(("content-type", "text/event-stream"),),
    head_after_s=9.0,
    steps=a_stream().steps,
)


async def test_a_silent_target_costs_its_soft_limit_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    run = a_run(a_route("ab", is_overlap_on=True), a=[Refusal.SILENCE], b=[a_stream()])

    await run.go()

    assert trio.current_time() - began == pytest.approx(8.0)
    assert run.client.received == b"".join(GOOD_EVENTS)
    first, second = run.record.attempts
    assert (first.failure, second.reason) == (FailureClass.CANCELLED, Reason.OVERLAP)
    loser, winner = run.upstream.calls
    assert loser.closed_at == winner.head_at
    assert run.upstream.left_open == []


async def test_the_late_one_may_win_and_the_other_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = a_run(a_route("ab", is_overlap_on=True), a=[SLOW], b=[Refusal.SILENCE])

    await run.go()

    assert run.record.target == "a/m"
    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.upstream.left_open == []


async def test_a_dead_heat_has_one_winner(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Both first tokens come 9 s after the start.
    other = Script(headers=SLOW.headers, head_after_s=1.0, steps=SLOW.steps)
    run = a_run(a_route("ab", is_overlap_on=True), a=[SLOW], b=[other])

    await run.go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert [a.failure for a in run.record.attempts].count(None) == 1
    assert run.upstream.left_open == []
    assert all(call.closes == 1 for call in run.upstream.calls)


async def test_a_departure_ends_both(autojump_clock: trio.testing.MockClock) -> None:
    silence = Refusal.SILENCE
    run = a_run(a_route("ab", is_overlap_on=True), a=[silence], b=[silence])

    with trio.move_on_after(9.0):
        await run.go()

    assert [call.closed_at for call in run.upstream.calls] == [trio.current_time()] * 2
    assert len(run.records) == 1


class BuggyInTheEnd(ScriptedUpstream):
    """Fails by a bug of ours where somebody stops waiting for `b`."""

    async def open(self, call: Call) -> ScriptedStream | Failure:
        if call.account.name != "b":
            return await super().open(call)
        try:
            return await trio.sleep_forever()
        finally:
            raise ValueError("a bug")


async def test_a_bug_of_the_loser_is_loud_before_anything_of_the_answer_is_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = Run(a_route("ab", is_overlap_on=True), BuggyInTheEnd(lambda _: SLOW))

    with pytest.raises(ValueError, match="a bug"):
        await run.go()

    assert run.client.received == b""
    assert run.upstream.left_open == []


async def test_a_slot_that_becomes_free_is_used_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route([a_target("a", max_concurrency=1)])
    upstream = ScriptedUpstream.by_account({"a": [a_stream(gap_s=0.2)]})
    first = Run(route, upstream)
    began = trio.current_time()

    async with trio.open_nursery() as nursery:
        for i in range(2):
            nursery.start_soon(another(first, f"id-{i}").go)

    assert trio.current_time() - began == pytest.approx(2 * 5 * 0.2)
    assert [call.opened_at - began for call in upstream.calls] == pytest.approx(
        [0.0, 1.0]
    )


def another(run: Run, name: str) -> Run:
    """One more exchange over the same relay."""
    other = Run(run.route, run.upstream, client=FakeClient(), name=name)
    other.relay = run.relay
    return other


# Commit points


async def test_an_answer_that_commits_when_complete_is_never_cut(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.COMPLETE))
    cut = a_stream(*GOOD_EVENTS[:3], ending=Ending.CUT)

    run = await a_run(route, a=[cut], b=[a_stream(gap_s=0.5)]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.client.is_finished
    assert run.record.attempts[0].failure is FailureClass.BAD_ANSWER


async def test_a_complete_answer_may_lack_its_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("a", commit=CommitPoint(CommitMode.COMPLETE))
    endless = a_stream(*GOOD_EVENTS[:-1], ending=Ending.HANG)
    began = trio.current_time()

    run = await a_run(route, a=[endless]).go()

    assert run.client.received == b"".join(GOOD_EVENTS[:-1])
    assert run.client.is_finished
    assert trio.current_time() - began < 2.0


async def test_half_a_complete_answer_then_silence_costs_the_idle_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.COMPLETE))
    half = a_stream(*GOOD_EVENTS[:2], ending=Ending.HANG)
    began = trio.current_time()

    run = await a_run(route, a=[half], b=[a_stream()]).go()

    assert run.client.is_finished
    assert trio.current_time() - began == pytest.approx(30.0)


async def test_what_breaks_before_so_many_tokens_fails_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.TOKENS, 3))
    two = a_stream(an_event("x"), an_event("y"), ending=Ending.CUT)

    run = await a_run(route, a=[two], b=[a_stream()]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.record.target == "b/m"


async def test_after_so_many_tokens_a_break_is_visible(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.TOKENS, 2))
    two = a_stream(an_event("x"), an_event("y"), ending=Ending.CUT)

    run = await a_run(route, a=[two], b=[a_stream()]).go()

    assert run.record.target == "a/m"
    last = events_in(run.client.received)[-1]
    assert isinstance(last, dict)
    assert last["error"]["code"] == "stream_interrupted"


async def test_an_answer_shorter_than_the_commit_point_is_committed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("ab", commit=CommitPoint(CommitMode.TOKENS, 500))

    run = await a_run(route, a=[a_stream()]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.client.is_finished
