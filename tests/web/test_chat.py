"""An answer comes through the door as the upstream said it."""

import json

import trio
from trio.testing import MockClock

from tests.factories import a_policy, a_route, a_target
from tests.relay.driver import (
    GOOD_EVENTS,
    GOOD_JSON,
    SICK,
    a_body,
    a_stream,
    an_event,
    events_in,
)
from tests.web.house import BEARER, FIRST_ID, JSON, a_house
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending
from trio_gateway.relay.record import Outcome


async def test_a_stream_passes_byte_for_byte() -> None:
    house = a_house(a=[a_stream()], b=[])

    visitor = await house.chat(stream=True)

    assert visitor.status == 200
    assert visitor.received == b"".join(GOOD_EVENTS)
    assert visitor.is_finished
    assert visitor.answered == [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("x-request-id", FIRST_ID),
        ("x-gateway-target", "a/m"),
        ("x-gateway-attempts", "1"),
    ]
    assert house.record.outcome is Outcome.COMPLETED
    assert house.record.bytes_out == len(visitor.received)
    assert house.upstream.left_open == []


async def test_a_stream_of_many_events_passes(autojump_clock: MockClock) -> None:
    words = [an_event(f"word {number} ") for number in range(500)]
    house = a_house(a=[a_stream(*words, *GOOD_EVENTS, gap_s=0.02)], b=[])

    visitor = await house.chat(stream=True)

    assert visitor.received == b"".join((*words, *GOOD_EVENTS))
    assert len(visitor.chunks) > 400


async def test_a_plain_answer_passes_byte_for_byte() -> None:
    house = a_house(a=[a_body()], b=[])

    visitor = await house.chat()

    assert visitor.status == 200
    assert visitor.received == GOOD_JSON
    assert visitor.is_finished
    assert visitor.answered == [
        ("content-type", "application/json"),
        ("content-length", str(len(GOOD_JSON))),
        ("x-request-id", FIRST_ID),
        ("x-gateway-target", "a/m"),
        ("x-gateway-attempts", "1"),
    ]


async def test_an_answer_after_failover_names_its_target_and_attempts() -> None:
    house = a_house(a=[SICK], b=[a_body()])

    visitor = await house.chat()

    assert visitor.status == 200
    assert visitor.field("x-gateway-target") == "b/m"
    assert visitor.field("x-gateway-attempts") == "2"


async def test_a_broken_stream_ends_with_an_error_event_and_without_an_end() -> None:
    house = a_house(a=[a_stream(an_event("Hel"), ending=Ending.CUT)], b=[])

    visitor = await house.chat(stream=True)

    assert visitor.status == 200
    *before, last = events_in(visitor.received)
    assert len(before) == 1
    assert isinstance(last, dict)
    assert last["error"]["code"] == "stream_interrupted"
    assert b"[DONE]" not in visitor.received
    assert not visitor.is_finished
    assert house.record.outcome is Outcome.INTERRUPTED
    assert house.record.status == 200


async def test_a_client_that_stops_reading_is_left_and_its_upstream_freed(
    autojump_clock: MockClock,
) -> None:
    events = [an_event("x")] * 50
    house = a_house(a=[a_stream(*events, gap_s=1.0)], b=[])

    visitor = await house.chat(stream=True, reads_for_s=10.0)

    assert visitor.ended_after_s == 10.0 + 30.0  # `client_stall`
    assert not visitor.is_finished
    assert house.upstream.left_open == []
    assert house.record.outcome is Outcome.CANCELLED


async def test_values_reach_the_upstream_exactly() -> None:
    house = a_house(a=[a_body()], b=[])
    body = (
        b'{"seed": 123456789012345678901234567890, "model": "chat", "x": 1.10,\n'
        b' "messages": [{"role": "user", "content": "\\ud83d"}], "y": 1E400 }'
    )

    await house.post(body[:30], body[30:60], b"", body[60:])

    (seen,) = house.upstream.calls
    assert seen.call.body == body.replace(b'"chat"', b'"m"')


async def test_only_allowed_fields_reach_the_upstream() -> None:
    house = a_house(a=[a_body()], b=[])
    trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    private = (("cookie", "a=b"), ("x-forwarded-for", "10.0.0.1"), ("x-other", "y"))

    await house.chat(fields=(BEARER, JSON, trace, *private))

    (seen,) = house.upstream.calls
    fields = {name.decode(): value.decode() for name, value in seen.call.headers}
    assert fields == {
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "trio-gateway",
        "traceparent": trace[1],
        "x-request-id": FIRST_ID,
        "authorization": "Bearer sk-a",
    }


async def test_only_allowed_fields_reach_the_client() -> None:
    headers = [
        ("content-type", "application/json"),
        ("openai-processing-ms", "12"),
        ("openai-organization", "ours"),
        ("set-cookie", "a=b"),
        ("x-ratelimit-remaining-tokens", "5"),
        ("x-should-retry", "true"),
        ("x-request-id", "theirs"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ]
    house = a_house(a=[a_body(headers=headers)], b=[])

    visitor = await house.chat()

    assert [name for name, _ in visitor.answered] == [
        "content-type",
        "content-length",
        "openai-processing-ms",
        "x-request-id",
        "x-gateway-target",
        "x-gateway-attempts",
    ]
    assert visitor.field("x-request-id") == FIRST_ID


async def test_a_sane_request_id_is_answered_and_recorded() -> None:
    house = a_house(a=[a_body()], b=[])

    visitor = await house.chat(fields=(BEARER, JSON, ("x-request-id", "job-7")))

    assert visitor.field("x-request-id") == "job-7"
    assert house.record.request_id == "job-7"
    assert house.record.id == FIRST_ID
    (seen,) = house.upstream.calls
    assert dict(seen.call.headers)[b"x-request-id"] == FIRST_ID.encode()


async def test_an_insane_request_id_is_replaced() -> None:
    house = a_house(a=[a_body()], b=[])

    visitor = await house.chat(fields=(BEARER, JSON, ("x-request-id", "a b" * 99)))

    assert visitor.field("x-request-id") == FIRST_ID


async def test_parameters_of_the_content_type_do_not_matter() -> None:
    house = a_house(a=[a_body()], b=[])
    charset = ("content-type", "Application/JSON; charset=UTF-8")

    visitor = await house.chat(fields=(BEARER, charset))

    assert visitor.status == 200


async def test_a_policy_is_taken_once_for_each_request(
    autojump_clock: MockClock,
) -> None:
    behaviours: dict[str, list[Behaviour]] = {"a": [a_body()], "b": [a_body()]}
    house = a_house(a_policy(a_route("a")), **behaviours)
    assert (await house.chat()).field("x-gateway-target") == "a/m"

    house.gateway.policy = a_policy(a_route([a_target("b", model="n")]))

    assert (await house.chat()).field("x-gateway-target") == "b/n"


async def test_a_path_with_more_slashes_or_in_a_whole_url_is_the_same_path() -> None:
    house = a_house(a=[a_body()], b=[])
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": ""}]})

    chat = "/v1/chat/completions"
    for path in (f"{chat}/", f"/{chat}", f"http://gateway.test{chat}"):
        visitor = await house.get(path, method="POST", fields=(BEARER, JSON))
        assert visitor.status == 422, path  # an empty body: it got that far

    assert (await house.post(body.encode())).status == 200


async def test_streams_and_exchanges_are_counted_while_they_last(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_stream(gap_s=1.0)], b=[])
    seen: list[bytes] = []

    async def look() -> None:
        await trio.sleep(3.5)
        seen.append(house.gateway.metrics.render())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await house.chat(stream=True)

    after = house.gateway.metrics.render()
    for name in (b"trio_gateway_in_flight", b"trio_gateway_open_streams"):
        assert name + b" 1.0\n" in seen[0]
        assert name + b" 0.0\n" in after
    assert house.gateway.in_flight == 0


async def test_who_stops_reading_before_a_whole_answer_is_left(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_body()], b=[])

    visitor = await house.chat(reads_for_s=0.0)

    assert not visitor.is_finished
    assert house.record.detail == "the client stopped reading"
    assert house.upstream.left_open == []
