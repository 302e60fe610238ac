"""What our own server offers to do for the app is taken, and told in the record."""

import json

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.factories import KEY
from tests.relay.driver import a_body, a_stream, an_event
from tests.serving.test_connection import read_to_end
from tests.serving.toy import request
from tests.web.house import House, a_house
from trio_gateway.chaos.vocabulary.script import Ending
from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.record import Outcome
from trio_gateway.serving.server import serve_stream
from trio_gateway.web import answers

STREAM = json.dumps({"model": "chat", "messages": [{}], "stream": True}).encode()


def asking(body: bytes, framing: str) -> bytes:
    """A request for a chat completion, as far as its body has come."""
    fields = (f"authorization: Bearer {KEY}", "content-type: application/json", framing)
    return request("/v1/chat/completions", *fields, method="POST") + body


def a_hanging_house() -> House:
    return a_house(a=[a_stream(an_event("x"), ending=Ending.HANG)])


@pytest.mark.parametrize(
    ("body", "framing", "status", "detail"),
    [
        (b"zz\r\n", "transfer-encoding: chunked", 400, "the request body is malformed"),
        (b"{", "content-length: 9", 408, answers.body_too_slow().detail),
    ],
    ids=["malformed", "too slow"],
)
async def test_a_body_that_the_server_refuses_is_recorded_as_it_was_answered(
    body: bytes, framing: str, status: int, detail: str, autojump_clock: MockClock
) -> None:
    house = a_house(a=[a_body()])
    ours, theirs = memory_stream_pair()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, house.app, theirs)
        await ours.send_all(asking(body, framing))
        answered = await read_to_end(ours)
        await ours.aclose()

    assert answered.startswith(b"HTTP/1.1 %d " % status)
    record = house.record
    assert (record.status, record.detail) == (status, detail)
    assert record.outcome is Outcome.REFUSED
    assert not house.upstream.calls
    assert house.gateway.in_flight == 0


async def test_who_leaves_before_the_end_of_its_body_left_before_its_request(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_body()])
    ours, theirs = memory_stream_pair()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, house.app, theirs)
        await ours.send_all(asking(b"{", "content-length: 9"))
        await trio.sleep(20)
        await ours.aclose()

    record = house.record
    assert (record.status, record.detail) == (None, "left before its request")
    assert record.outcome is Outcome.CANCELLED
    assert record.duration_s == pytest.approx(20)


async def test_a_departure_is_told_from_the_gateways_own_end(
    autojump_clock: MockClock,
) -> None:
    details: list[str | None] = []
    for leaves in (True, False):
        house = a_hanging_house()
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, house.app, theirs)
            await ours.send_all(asking(STREAM, f"content-length: {len(STREAM)}"))
            await trio.sleep(2.5)
            if leaves:
                await ours.aclose()
            else:
                nursery.cancel_scope.cancel()
        assert house.record.outcome is Outcome.CANCELLED
        assert house.record.attempts[0].failure is FailureClass.CANCELLED
        assert house.upstream.left_open == []
        details.append(house.record.detail)
    assert details == ["the client left", "the gateway ended"]
