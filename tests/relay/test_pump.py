"""After the commit point: whole events only, and an honest ending."""

import pytest
import trio

from tests.factories import a_route, with_timeouts
from tests.relay.driver import (
    DONE,
    GOOD_EVENTS,
    GOOD_JSON,
    ROLE,
    FakeClient,
    Run,
    a_body,
    a_request,
    a_run,
    a_stream,
    an_event,
    events_in,
)
from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending, Script
from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint
from trio_gateway.relay.record import Outcome

RECORDED = b"".join(
    (
        ROLE,
        b": keep-alive\n\n",
        an_event("Grüße"),
        an_event("\\u2028 and \\n"),
        an_event("東京"),
        an_event(finish="stop"),
        b'data: {"choices":[],"usage":{"total_tokens":9}}\n\n',
        DONE,
    )
)
FINISHED_AT = RECORDED.index(b'data: {"choices":[],"usage"')


def shows_a_break(run: Run) -> bool:
    events = events_in(run.client.received)
    last = events[-1]
    assert isinstance(last, dict)
    return (
        last["error"]["code"] == "stream_interrupted"
        and "[DONE]" not in events
        and not run.client.is_finished
    )


@pytest.mark.parametrize("ending", [Ending.CLEAN, Ending.CUT, Ending.RESET])
async def test_a_stream_cut_at_any_byte_never_passes_as_whole(
    ending: Ending, autojump_clock: trio.testing.MockClock
) -> None:
    for k in range(len(RECORDED)):
        behaviour = a_stream(RECORDED[:k], ending=ending)
        run = await a_run(a_route("a", attempts_max=1), a=[behaviour]).go()
        if run.refuse is not None:
            assert run.client.received == b"", "no byte before the commit point"
        elif k < FINISHED_AT:
            assert shows_a_break(run), RECORDED[:k]
            assert run.record.outcome is Outcome.INTERRUPTED
        else:
            assert run.client.is_finished, "a cut after the last word loses no text"
            assert RECORDED.startswith(run.client.received)
            assert run.record.outcome is Outcome.COMPLETED
            is_over = b"[DONE]\n\n" in RECORDED[:k] or ending is Ending.CLEAN
            assert (run.record.detail is None) == is_over, "but it is told"


async def test_however_a_stream_is_sliced_it_passes_byte_for_byte(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for size in (1, 2, 7, 64):
        pieces = [RECORDED[i : i + size] for i in range(0, len(RECORDED), size)]
        run = await a_run(a_route("a"), a=[a_stream(*pieces)]).go()
        assert run.client.received == RECORDED
        assert run.client.is_finished


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (a_stream(*GOOD_EVENTS), None),
        (a_stream(*GOOD_EVENTS[:-1]), None),
        (a_stream(*GOOD_EVENTS[:-1], ending=Ending.HANG), "idle, after its last word"),
        (
            a_stream(*GOOD_EVENTS[:-1], b'data: {"error":{"message":"no"}}\n\n'),
            "error inside a 200: server error, after its last word",
        ),
        (
            a_stream(*GOOD_EVENTS[:-1], b"data: {half\n\n"),
            "malformed event, after its last word",
        ),
    ],
)
async def test_what_breaks_after_the_last_word_is_told(
    behaviour: Behaviour,
    detail: str | None,
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = await a_run(a_route("a"), a=[behaviour]).go()
    assert run.client.is_finished
    assert (run.record.outcome, run.record.detail) == (Outcome.COMPLETED, detail)


BREAKS: dict[str, Behaviour] = {
    "an error event": a_stream(
        ROLE, an_event("x"), b'data: {"error": {"message": "sk-secret"}}\n\n', DONE
    ),
    "an event that is no JSON": a_stream(an_event("x"), b"data: {half\n\n", DONE),
    "[DONE] before the finish": a_stream(an_event("x"), DONE),
    "silence": a_stream(an_event("x"), ending=Ending.HANG),
    "heartbeats without end": a_stream(
        an_event("x"), *[b": ping\n\n"] * 100, gap_s=5.0, ending=Ending.HANG
    ),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_a_stream_that_breaks_ends_visibly_and_dials_nobody(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    run = await a_run(a_route("ab"), a=[BREAKS[name]], b=[a_stream()]).go()

    assert shows_a_break(run)
    assert b"sk-secret" not in run.client.received
    assert run.failure is not None
    assert run.failure.kind is FailureClass.INTERRUPTED
    assert len(run.upstream.calls) == 1
    assert run.upstream.left_open == []


async def test_heartbeats_alone_extend_the_idle_limit_three_times_at_most(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    await a_run(a_route("a"), a=[BREAKS["heartbeats without end"]]).go()
    assert trio.current_time() - began == pytest.approx(95.0, abs=1.0)


async def test_every_choice_must_finish(autojump_clock: trio.testing.MockClock) -> None:
    half = (
        an_event("a"),
        an_event("b", index=1),
        an_event(finish="stop"),
    )
    run = a_run(a_route("a"), a=[a_stream(*half, ending=Ending.EOF)])
    await run.go(a_request(n=2))
    assert shows_a_break(run)

    whole = (*half, an_event(finish="stop", index=1), DONE)
    run = a_run(a_route("a"), a=[a_stream(*whole)])
    await run.go(a_request(n=2))
    assert run.client.is_finished


async def test_nothing_passes_after_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = await a_run(a_route("a"), a=[a_stream(*GOOD_EVENTS, DONE, b"x")]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.client.is_finished


async def test_an_upstream_that_lingers_after_done_keeps_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()

    run = await a_run(a_route("a"), a=[a_stream(ending=Ending.HANG)]).go()

    assert run.client.is_finished
    assert trio.current_time() - began < 0.1
    assert run.upstream.left_open == []


async def test_the_total_deadline_ends_a_stream_visibly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("a", timeouts=with_timeouts(total_s=50.0))
    drip = a_stream(*[an_event("x")] * 100, gap_s=1.0)
    began = trio.current_time()

    run = await a_run(route, a=[drip]).go()

    assert shows_a_break(run)
    assert trio.current_time() - began == pytest.approx(50.0)


async def test_a_client_that_stops_reading_frees_the_upstream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()

    run = await a_run(a_route("a"), client=FakeClient(slow_s=1e6), a=[a_stream()]).go()

    assert trio.current_time() - began == pytest.approx(30.0)
    assert run.record.outcome is Outcome.CANCELLED
    assert run.record.detail == "the client stopped reading"
    assert run.upstream.left_open == []


async def test_who_does_not_take_a_whole_answer_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    run = a_run(a_route("a"), client=FakeClient(slow_s=1e6), a=[a_body()])

    await run.go(a_request(stream=False))

    assert trio.current_time() - began == pytest.approx(30.0)
    assert run.record.outcome is Outcome.CANCELLED
    assert run.record.detail == "the client stopped reading"
    assert run.upstream.left_open == []


async def test_the_total_deadline_holds_for_a_slow_client_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("a", timeouts=with_timeouts(total_s=50.0))
    drip = a_stream(*[an_event("x")] * 100, gap_s=1.0)
    began = trio.current_time()

    await a_run(route, client=FakeClient(slow_s=29.0), a=[drip]).go()

    assert trio.current_time() - began == pytest.approx(50.0)


async def test_a_slow_client_is_not_mistaken_for_a_silent_upstream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    route = a_route("a", timeouts=with_timeouts(idle_s=1.0))

    run = await a_run(route, client=FakeClient(slow_s=20.0), a=[a_stream()]).go()

    assert run.client.is_finished
    assert run.client.received == b"".join(GOOD_EVENTS)


async def test_a_client_that_reads_a_long_answer_slowly_gets_all_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    answer = GOOD_JSON.replace(b"Hello", b"Hello" * 100_000)
    run = a_run(a_route("a"), client=FakeClient(slow_s=20.0), a=[a_body(answer)])

    await run.go(a_request(stream=False))

    assert run.client.is_finished
    assert run.client.received == answer
    assert trio.current_time() > 100.0, "though `client_stall` is 30 s"


@pytest.mark.parametrize("mode", [CommitMode.FIRST_TOKEN, CommitMode.COMPLETE])
async def test_a_client_that_reads_long_events_slowly_gets_all_of_them(
    mode: CommitMode, autojump_clock: trio.testing.MockClock
) -> None:
    image = an_event("x" * 500_000)
    events = (ROLE, an_event("Here:"), image, image, an_event(finish="stop"), DONE)
    route = a_route("a", commit=CommitPoint(mode))
    client = FakeClient(slow_s=20.0)

    run = await a_run(route, client=client, a=[a_stream(*events)]).go()

    assert run.record.outcome is Outcome.COMPLETED
    assert run.client.received == b"".join(events)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_no_slow_client_gets_much_more_than_the_total(
    is_stream: bool, autojump_clock: trio.testing.MockClock
) -> None:
    long = "Hello" * 600_000
    a = [a_stream(an_event("Here:"), an_event(long), an_event(finish="stop"), DONE)]
    if not is_stream:
        a = [a_body(GOOD_JSON.replace(b"Hello", long.encode()))]
    route = a_route("a", timeouts=with_timeouts(total_s=20.0))
    began = trio.current_time()
    run = a_run(route, client=FakeClient(slow_s=0.9), a=a)

    await run.go(a_request(stream=is_stream))

    assert not run.client.is_finished
    assert run.client.received
    assert trio.current_time() - began <= 22.0


async def test_a_drain_that_runs_out_ends_open_streams_visibly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = a_run(a_route("a"), a=[a_stream(an_event("x"), ending=Ending.HANG)])
    began = trio.current_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.go)
        await trio.sleep(1.0)
        run.relay.curfew.set(trio.current_time() + 2.0)

    assert shows_a_break(run)
    assert run.record.detail == "the gateway is ending"
    assert trio.current_time() - began == pytest.approx(3.0)


async def test_a_drain_that_runs_out_refuses_what_has_no_answer_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = Run(a_route("ab"), ScriptedUpstream(lambda _: Script(head_after_s=10.0)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.go)
        await trio.sleep(1.0)
        run.relay.curfew.set(trio.current_time())

    assert run.refuse is not None
    assert run.refuse.is_retry_welcome
    assert run.upstream.left_open == []


async def test_an_exchange_of_a_drain_is_not_held_until_it_runs_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = a_run(a_route("a"), a=[a_stream()])
    run.relay.curfew.set(trio.current_time() + 600.0)

    await run.go()
    await trio.sleep(2.0)

    assert len(run.relay.alarms) == 0
