"""A client that leaves takes everything with it, at every phase, in that instant."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_policy, a_route
from tests.relay.driver import GOOD_EVENTS, GOOD_JSON, SICK, a_body, a_stream, an_event
from tests.web.house import BEARER, JSON, House, a_house
from trio_gateway.chaos.upstream import CallState
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.relay.record import Outcome

LEAVES_AFTER_S = 1.5

FIRST, *REST = GOOD_EVENTS
SLOW_BODY = Script(steps=(Send(GOOD_JSON[:20]), Pause(60.0), Send(GOOD_JSON[20:])))

PHASES: dict[str, tuple[bool, list[Behaviour], CallState]] = {
    "connecting": (True, [Refusal.CONNECT_HANG], CallState.CANCELLED),
    "before the head": (True, [Refusal.SILENCE], CallState.CANCELLED),
    "before the first token": (
        True,
        [a_stream(FIRST, ending=Ending.HANG)],
        CallState.CLOSED,
    ),
    "in mid-stream": (
        True,
        [a_stream(*GOOD_EVENTS[:2], ending=Ending.HANG)],
        CallState.CLOSED,
    ),
    "between two events": (True, [a_stream(gap_s=0.4)], CallState.CLOSED),
    "before the head of a plain answer": (
        False,
        [Refusal.SILENCE],
        CallState.CANCELLED,
    ),
    "in the body of a plain answer": (False, [SLOW_BODY], CallState.CLOSED),
    "in the body of an error": (
        False,
        [Script(status=500, head_after_s=1.2, ending=Ending.HANG)],
        CallState.CLOSED,
    ),
}


@pytest.mark.parametrize(
    ("stream", "behaviours", "state"), PHASES.values(), ids=PHASES.keys()
)
async def test_a_departure_frees_the_upstream_at_once(
    stream: bool,
    behaviours: Sequence[Behaviour],
    state: CallState,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = a_house(a=behaviours, b=[a_body()])

    visitor = await house.chat(stream=stream, leaves_after_s=LEAVES_AFTER_S)

    assert visitor.ended_after_s == LEAVES_AFTER_S
    assert not visitor.is_finished
    (seen,) = house.upstream.calls
    assert (seen.state, seen.closed_at) == (state, trio.current_time())
    assert_left(house, status=visitor.status)
    assert house.record.attempts[0].failure == "cancelled"
    assert caplog.text == ""


async def test_a_departure_in_a_backoff_ends_it(autojump_clock: MockClock) -> None:
    house = a_house(a_policy(a_route("a")), a=[SICK, Refusal.SILENCE])

    visitor = await house.chat(leaves_after_s=0.01)

    assert visitor.ended_after_s == 0.01
    assert len(house.upstream.calls) == 1
    assert_left(house, status=None)


async def test_a_departure_in_the_second_attempt_ends_it(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[SICK], b=[Refusal.SILENCE])

    visitor = await house.chat(leaves_after_s=LEAVES_AFTER_S)

    assert visitor.ended_after_s == LEAVES_AFTER_S
    classes = [attempt.failure for attempt in house.record.attempts]
    assert classes == ["server_error", "cancelled"]
    assert_left(house, status=None)


async def test_a_departure_while_the_body_is_read_is_recorded(
    autojump_clock: MockClock,
) -> None:
    house = a_house()

    visitor = await house.post(
        b'{"model":', is_body_whole=False, leaves_after_s=LEAVES_AFTER_S
    )

    assert visitor.ended_after_s == LEAVES_AFTER_S
    assert visitor.status is None
    assert len(house.upstream.calls) == 0
    assert_left(house, status=None)
    assert house.record.key == "tester"


async def test_a_departure_at_once_is_recorded(autojump_clock: MockClock) -> None:
    house = a_house(a=[a_body()], b=[])

    await house.chat(leaves_after_s=0.0)

    assert_left(house, status=None)


async def test_a_departure_told_with_the_last_byte_is_none(
    autojump_clock: MockClock,
) -> None:
    lingering = a_stream(*GOOD_EVENTS, ending=Ending.HANG)
    house = a_house(a=[lingering], b=[])

    visitor = await house.chat(stream=True)

    assert visitor.is_finished
    assert house.record.outcome is Outcome.COMPLETED
    assert house.upstream.left_open == []


async def test_an_end_from_outside_passes_through_and_is_recorded(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_stream(gap_s=1.0)], b=[])

    with trio.move_on_after(2.5) as scope:
        await house.post(
            b'{"model":"chat","messages":[{}],"stream":true}', fields=(BEARER, JSON)
        )

    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2.5)
    assert_left(house, status=200)


async def test_clients_that_leave_at_any_time_leave_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    behaviours: list[Behaviour] = [a_stream(gap_s=0.3), SICK, Refusal.SILENCE]
    house = a_house(a=behaviours[1:] * 50, b=[behaviours[0], SICK] * 50)

    async with trio.open_nursery() as nursery:
        for number in range(100):

            async def visit(leaves_after_s: float = number * 0.03) -> None:
                await house.chat(stream=True, leaves_after_s=leaves_after_s)

            nursery.start_soon(visit)

    assert len(house.records) == 100
    assert house.upstream.left_open == []
    assert all(seen.closes <= 1 for seen in house.upstream.calls)
    assert house.gateway.in_flight == 0


async def test_a_gateway_that_ends_does_not_say_that_the_client_left(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_stream(an_event("x"), ending=Ending.HANG)])

    with trio.move_on_after(2.5):
        await house.chat(stream=True)

    assert_left(house, status=200)
    assert house.record.detail == "the gateway ended"


def assert_left(house: House, *, status: int | None) -> None:
    assert house.record.outcome is Outcome.CANCELLED
    assert house.record.status == status
    assert house.upstream.left_open == []
    assert all(seen.closes <= 1 for seen in house.upstream.calls)
    assert house.gateway.in_flight == 0
