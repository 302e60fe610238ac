import pytest
import trio
import trio.testing

from tests.chaos.client import a_call
from trio_gateway.chaos.upstream import CallState, ScriptedStream, ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Ending, Pause, Refusal, Script, Send
from trio_gateway.failover.failures import Failure, FailureClass

Clock = trio.testing.MockClock

STREAM = Script(
    headers=(("Content-Type", "text/event-stream"),),
    head_after_s=1.0,
    steps=(Send(b"one"), Pause(2.0), Send(b"two"), Pause(3.0), Send(b"three")),
)


async def opened(upstream: ScriptedUpstream) -> ScriptedStream:
    stream = await upstream.open(a_call())
    assert isinstance(stream, ScriptedStream)
    return stream


async def test_a_script_is_played_on_its_own_timetable(autojump_clock: Clock) -> None:
    upstream = ScriptedUpstream(lambda _: STREAM)
    stream = await opened(upstream)
    assert (stream.status, stream.headers) == (
        200,
        ((b"content-type", b"text/event-stream"),),
    )
    got = []
    while piece := await stream.receive():
        got.append((trio.current_time(), piece))
    await stream.aclose()

    assert got == [(1.0, b"one"), (3.0, b"two"), (6.0, b"three")]
    assert times_of(upstream) == (0.0, 1.0, 6.0)


def times_of(upstream: ScriptedUpstream) -> tuple[float, float | None, float | None]:
    seen = upstream.calls[0]
    return seen.opened_at, seen.head_at, seen.closed_at


async def test_a_slow_reader_does_not_slow_its_provider_down(
    autojump_clock: Clock,
) -> None:
    stream = await opened(ScriptedUpstream(lambda _: STREAM))
    await trio.sleep(100)
    for expected in (b"one", b"two", b"three", b""):
        assert await stream.receive() == expected
    assert trio.current_time() == 101.0
    await stream.aclose()


async def test_the_clean_end_stays_the_end(autojump_clock: Clock) -> None:
    stream = await opened(ScriptedUpstream(lambda _: Script(steps=(Send(b"x"),))))
    assert [await stream.receive() for _ in range(3)] == [b"x", b"", b""]
    await stream.aclose()


@pytest.mark.parametrize("ending", [Ending.CUT, Ending.RESET])
async def test_a_broken_body_is_interrupted_and_stays_so(
    autojump_clock: Clock, ending: Ending
) -> None:
    broken = Script(steps=(Send(b"x"), Send(b"")), ending=ending)
    stream = await opened(ScriptedUpstream(lambda _: broken))
    assert await stream.receive() == b"x"
    for _ in range(2):
        failure = await stream.receive()
        assert isinstance(failure, Failure)
        assert failure.kind is FailureClass.INTERRUPTED
    await stream.aclose()


async def test_a_body_shorter_than_announced_is_interrupted(
    autojump_clock: Clock,
) -> None:
    short = Script(headers=(("content-length", "9"),), steps=(Send(b"x"),))
    stream = await opened(ScriptedUpstream(lambda _: short))
    assert await stream.receive() == b"x"
    assert isinstance(await stream.receive(), Failure)
    await stream.aclose()


@pytest.mark.parametrize("ending", list(Ending))
async def test_a_body_as_long_as_announced_is_whole_however_it_ends(
    autojump_clock: Clock, ending: Ending
) -> None:
    whole = Script(
        headers=(("content-length", "1"),), steps=(Send(b"x"),), ending=ending
    )
    stream = await opened(ScriptedUpstream(lambda _: whole))
    assert [await stream.receive() for _ in range(2)] == [b"x", b""]
    await stream.aclose()


@pytest.mark.parametrize(
    ("refusal", "kind", "at"),
    [
        (Refusal.CONNECT_REFUSED, FailureClass.CONNECT, 0.0),
        (Refusal.CONNECT_HANG, FailureClass.CONNECT, 10.0),
        (Refusal.CLOSE, FailureClass.RESET, 0.0),
        (Refusal.RESET, FailureClass.RESET, 0.0),
    ],
)
async def test_a_refusal_is_a_failure_of_its_class(
    autojump_clock: Clock, refusal: Refusal, kind: FailureClass, at: float
) -> None:
    upstream = ScriptedUpstream(lambda _: refusal)
    failure = await upstream.open(a_call(connect_by=10.0))

    assert isinstance(failure, Failure)
    assert failure.kind is kind
    assert trio.current_time() == at
    assert upstream.calls[0].state is CallState.FAILED
    assert upstream.left_open == []


@pytest.mark.parametrize("refusal", [Refusal.SILENCE, Refusal.CONNECT_HANG])
async def test_a_caller_that_leaves_before_the_head_is_seen(
    autojump_clock: Clock, refusal: Refusal
) -> None:
    upstream = ScriptedUpstream(lambda _: refusal)
    with trio.move_on_after(5) as scope:
        await upstream.open(a_call())

    assert scope.cancelled_caught
    assert upstream.calls[0].state is CallState.CANCELLED
    assert upstream.calls[0].closed_at == 5.0


async def test_a_hang_lasts_until_the_caller_closes(autojump_clock: Clock) -> None:
    hang = Script(steps=(Send(b"x"),), ending=Ending.HANG)
    upstream = ScriptedUpstream(lambda _: hang)
    stream = await opened(upstream)
    assert await stream.receive() == b"x"
    with trio.move_on_after(7):
        await stream.receive()
    assert upstream.left_open == [upstream.calls[0]]
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()

    seen = upstream.calls[0]
    assert (seen.state, seen.closed_at, seen.closes) == (CallState.CLOSED, 7.0, 1)
    assert (seen.bytes_delivered, seen.is_read_to_end) == (1, False)
    assert upstream.left_open == []


async def test_a_closed_stream_gives_nothing_more() -> None:
    stream = await opened(ScriptedUpstream(lambda _: Script(steps=(Send(b"x"),))))
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()


async def test_each_account_plays_its_own_list_and_repeats_the_last() -> None:
    first, last = Script(status=500), Script(status=200)
    upstream = ScriptedUpstream.by_account({"a": [first, last], "b": [last]})

    statuses = []
    for account in ("a", "b", "a", "a"):
        stream = await upstream.open(a_call(account=account))
        assert isinstance(stream, ScriptedStream)
        statuses.append(stream.status)
        await stream.aclose()
    assert statuses == [500, 200, 200, 200]
    assert [seen.call.account.name for seen in upstream.calls] == list("abaa")
