"""Every row of the table of answers, with the exact JSON.

All of it in virtual time, so that an attempt of no length takes 0 ms.
"""

import json
import logging
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tests.factories import (
    a_policy,
    a_route,
    a_target,
    an_access_key,
    with_timeouts,
)
from tests.relay.driver import SICK, a_body, an_event
from tests.web.house import BEARER, FIRST_ID, JSON, WALL, Visitor, a_house
from trio_gateway.chaos.vocabulary.script import Refusal, Script, Send
from trio_gateway.policy.route import Patience
from trio_gateway.relay.port import Call
from trio_gateway.relay.record import Outcome, Shed


def an_error(
    code: str,
    message: str,
    type: str,  # noqa: A002 - the envelope's own word
    details: object = None,
) -> object:
    error = {"code": code, "message": message, "type": type, "param": None}
    return {"error": error if details is None else {**error, "details": details}}


def assert_refused(
    visitor: Visitor,
    status: int,
    body: object,
    *,
    should_retry: bool = False,
    target: str = "none",
    attempts: int = 0,
    **fields: str,
) -> None:
    assert (visitor.status, visitor.json) == (status, body)
    assert visitor.is_finished
    expected = {
        "content-type": "application/json",
        "content-length": str(len(visitor.received)),
        "x-should-retry": "true" if should_retry else "false",
        **{name.replace("_", "-"): value for name, value in fields.items()},
        "x-request-id": FIRST_ID,
        "x-gateway-target": target,
        "x-gateway-attempts": str(attempts),
    }
    assert dict(visitor.answered) == expected
    assert len(visitor.answered) == len(expected)


# At the door


@pytest.mark.parametrize(
    "fields",
    [
        (JSON,),
        (JSON, ("authorization", "Bearer wrong")),
        (JSON, ("authorization", "Basic dGVzdA==")),
        (JSON, BEARER, BEARER),
    ],
    ids=["no key", "a wrong key", "another scheme", "two keys"],
)
async def test_no_or_wrong_key(
    fields: tuple[tuple[str, str], ...], autojump_clock: MockClock
) -> None:
    house = a_house()

    visitor = await house.chat(fields=fields)

    body = an_error("unauthorized", "Unauthorized", "authentication_error")
    assert_refused(visitor, 401, body, www_authenticate="Bearer")
    assert house.record.status == 401
    assert house.record.outcome is Outcome.REFUSED
    assert house.record.key is None
    assert house.record.detail == "unauthorized"


async def test_an_expired_key_is_no_key(autojump_clock: MockClock) -> None:
    house = a_house(a_policy(keys=[an_access_key(expires_at=WALL - 1)]))

    assert (await house.chat()).status == 401


async def test_a_key_is_asked_for_before_the_body_is_read(
    autojump_clock: MockClock,
) -> None:
    house = a_house()

    visitor = await house.post(fields=(JSON,), is_body_whole=False)

    assert visitor.status == 401


async def test_a_key_that_may_not_use_the_model(autojump_clock: MockClock) -> None:
    routes = (a_route(slug="chat"), a_route(slug="other"))
    key = an_access_key(models=frozenset({"other"}))
    house = a_house(a_policy(*routes, keys=[key]))

    visitor = await house.chat()

    details = {"model": "not allowed for this key"}
    body = an_error("forbidden", "Forbidden", "permission_error", details)
    assert_refused(visitor, 403, body)
    assert (house.record.model, house.record.key) == ("chat", "tester")
    assert (house.record.org, house.record.project) == ("acme", "tests")


@pytest.mark.parametrize(
    ("body", "blank"),
    [
        ('{"model": "chat"}', ["messages"]),
        ('{"model": "chat", "messages": []}', ["messages"]),
        ('{"model": "", "messages": [{}]}', ["model"]),
        ("{}", ["model", "messages"]),
    ],
)
async def test_model_or_messages_missing_or_empty(
    body: str, blank: list[str], autojump_clock: MockClock
) -> None:
    house = a_house()

    visitor = await house.post(body.encode())

    details = dict.fromkeys(blank, "cannot be blank")
    expected = an_error("bad_request", "Bad Request", "invalid_request_error", details)
    assert_refused(visitor, 400, expected)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "Invalid JSON at byte 1"),
        ('{"model": 5}', "model: Input should be a valid string"),
    ],
)
async def test_a_body_that_cannot_be_parsed(
    body: str, why: str, autojump_clock: MockClock
) -> None:
    house = a_house()

    visitor = await house.post(body.encode())

    details = {"error": f"1 validation error for LLMRequest: {why}"}
    expected = an_error(
        "bad_request", "Failed to parse data", "invalid_request_error", details
    )
    assert_refused(visitor, 422, expected)
    assert house.record.status == 422
    assert house.record.model == ""


async def test_a_member_again_and_again_in_which_an_override_would_be_sought(
    autojump_clock: MockClock,
) -> None:
    target = a_target(overrides={"temperature": 0})
    house = a_house(a_policy(a_route([target])), a=[a_body()])
    members = '"model": "chat", "messages": [{}]' + ', "temperature": 1' * 10_001

    visitor = await house.post(f"{{{members}}}".encode())

    why = "1 validation error for LLMRequest: More than 10000 members"
    expected = an_error(
        "bad_request", "Failed to parse data", "invalid_request_error", {"error": why}
    )
    assert_refused(visitor, 422, expected, target="a/m", attempts=1)
    assert house.record.outcome is Outcome.REFUSED


async def test_an_unknown_slug_and_names_near_it_that_the_key_may_use(
    autojump_clock: MockClock,
) -> None:
    slugs = ("gpt-4o-mini", "gpt-4o", "claude", "gpt-4.1-mini")
    key = an_access_key(models=frozenset({"gpt-4o-mini", "claude", "gpt-4.1-mini"}))
    house = a_house(a_policy(*(a_route(slug=slug) for slug in slugs), keys=[key]))

    visitor = await house.chat(model="gpt-4o-mni")

    details = {"model": "gpt-4o-mni", "near": ["gpt-4o-mini", "gpt-4.1-mini"]}
    message = "Model not found. Did you mean gpt-4o-mini or gpt-4.1-mini?"
    body = an_error("not_found", message, "not_found_error", details)
    assert_refused(visitor, 404, body)
    assert house.record.model == "gpt-4o-mni"
    assert house.record.detail == "unknown model"


async def test_an_unknown_slug_like_no_other(autojump_clock: MockClock) -> None:
    house = a_house()

    visitor = await house.chat(model="nothing-like-it")

    details = {"model": "nothing-like-it", "near": []}
    body = an_error("not_found", "Model not found", "not_found_error", details)
    assert_refused(visitor, 404, body)


async def test_a_slug_is_not_repeated_at_any_length(autojump_clock: MockClock) -> None:
    house = a_house()

    visitor = await house.chat(model="x" * 100_000)

    assert visitor.status == 404
    assert len(visitor.received) < 500
    assert len(house.record.model) == 200


@pytest.mark.parametrize(
    "fields",
    [(BEARER,), (BEARER, ("content-type", "application/x-www-form-urlencoded"))],
    ids=["none", "a form"],
)
async def test_a_content_type_that_is_not_json(
    fields: tuple[tuple[str, str], ...], autojump_clock: MockClock
) -> None:
    house = a_house()

    visitor = await house.chat(fields=fields)

    body = an_error(
        "unsupported_media_type",
        "Unsupported media type",
        "invalid_request_error",
        {"allowed": ["application/json"]},
    )
    assert_refused(visitor, 415, body)


@pytest.mark.parametrize("coding", ["gzip", "identity, br", "zstd"])
async def test_a_compressed_body_is_refused_as_such(
    coding: str, autojump_clock: MockClock
) -> None:
    house = a_house()

    visitor = await house.chat(fields=(BEARER, JSON, ("content-encoding", coding)))

    body = an_error(
        "unsupported_media_type",
        "Unsupported content encoding",
        "invalid_request_error",
        {"allowed": ["identity"]},
    )
    assert_refused(visitor, 415, body, accept_encoding="identity")


async def test_a_body_that_is_said_to_be_as_it_is_is_read(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_body()], b=[])

    visitor = await house.chat(fields=(BEARER, JSON, ("content-encoding", "Identity")))

    assert visitor.status == 200


TOO_LARGE = an_error(
    "payload_too_large",
    "Payload too large",
    "invalid_request_error",
    {"limit_bytes": 100},
)


async def test_a_body_that_says_it_is_too_large_is_not_read(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a_policy(max_body_bytes=100))

    visitor = await house.post(
        fields=(BEARER, JSON, ("content-length", "101")), is_body_whole=False
    )

    assert_refused(visitor, 413, TOO_LARGE, connection="close")
    assert house.record.status == 413


async def test_a_body_that_becomes_too_large_is_not_read_on(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a_policy(max_body_bytes=100))

    visitor = await house.post(b"x" * 60, b"x" * 41, is_body_whole=False)

    assert_refused(visitor, 413, TOO_LARGE, connection="close")


async def test_a_body_of_just_the_limit_is_read(autojump_clock: MockClock) -> None:
    house = a_house(a_policy(max_body_bytes=100))

    visitor = await house.post(b"x" * 60, b"x" * 40)

    assert visitor.status == 422


async def test_a_body_that_does_not_come_in_time(autojump_clock: MockClock) -> None:
    house = a_house()

    visitor = await house.post(b"{", is_body_whole=False)

    body = an_error(
        "request_timeout", "The request body did not come in time", "timeout_error"
    )
    assert_refused(visitor, 408, body, connection="close", should_retry=True)
    assert visitor.ended_after_s == 300.0


async def test_more_exchanges_than_the_gateway_takes(autojump_clock: MockClock) -> None:
    policy = a_policy()
    policy = replace(policy, gateway=replace(policy.gateway, max_in_flight=1))
    house = a_house(policy, a=[Refusal.SILENCE], b=[a_body()])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.chat)
        await trio.sleep(1.0)
        visitor = await house.chat()
        assert visitor.field("x-request-id") != FIRST_ID
        assert visitor.json == BUSY
        assert visitor.field("retry-after") in ("2", "3")
        assert visitor.field("x-should-retry") == "true"

    assert (await house.chat()).status == 200
    (turned_away, *_) = house.records
    assert turned_away.shed is Shed.IN_FLIGHT


async def test_a_gateway_whose_loop_falls_behind_turns_some_away(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_body()] * 200)
    shedder = house.gateway.shedder
    for tenth in range(1, 51):
        shedder.note(0.2, tenth / 10)
    share = shedder.share
    assert 0.2 <= share <= 0.8

    visitors = [await house.chat() for _ in range(200)]

    refused = [visitor for visitor in visitors if visitor.status == 503]
    assert abs(len(refused) / 200 - share) < 0.1
    for visitor in refused:
        assert visitor.json == BUSY
        assert visitor.field("x-should-retry") == "true"
        assert 2 <= int(visitor.field("retry-after") or 0) <= 15
    shed = [record for record in house.records if record.shed is Shed.LAG]
    assert len(shed) == len(refused)
    assert len(house.records) == 200


async def test_a_line_that_is_too_slow_is_told_apart_from_failures(
    autojump_clock: MockClock,
) -> None:
    target = a_target("a", max_concurrency=1)
    policy = a_policy(a_route([target]))
    house = a_house(policy, a=[Refusal.SILENCE])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.chat)
        await trio.sleep(1.0)
        visitor = await house.chat()

    assert visitor.status == 503
    assert visitor.json == UNAVAILABLE
    assert [record.shed for record in house.records] == [Shed.LINE, None]


async def test_who_is_cut_in_line_by_the_gateways_end_was_not_shed(
    autojump_clock: MockClock,
) -> None:
    target = a_target("a", max_concurrency=1)
    house = a_house(a_policy(a_route([target])))
    relay = house.gateway.relay
    relay.fleet.health(target, trio.current_time()).began()  # somebody has the slot

    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.chat)
        await trio.sleep(1.0)
        relay.curfew.set(trio.current_time())

    assert (house.record.status, house.record.attempts) == (503, ())
    assert house.record.shed is None


# From inside


def told(target: str, failure: str, status: int | None, ms: int = 0) -> object:
    return {"target": target, "class": failure, "status": status, "milliseconds": ms}


BUSY = an_error("unavailable", "The gateway is busy", "api_error", {"attempts": []})
UNAVAILABLE = an_error(
    "unavailable", "No target can be tried now", "api_error", {"attempts": []}
)


async def test_the_upstream_says_that_the_request_is_wrong(
    autojump_clock: MockClock,
) -> None:
    said = {
        "message": "max_tokens is too large",
        "type": "invalid_request_error",
        "param": "max_tokens",
        "code": "integer_above_max_value",
    }
    house = a_house(a=[a_body(json.dumps({"error": said}).encode(), status=400)], b=[])

    visitor = await house.chat()

    details = {"attempts": [told("a/m", "client_error", 400)]}
    body = {"error": {**said, "details": details}}
    assert_refused(visitor, 400, body, target="a/m", attempts=1)
    assert house.record.outcome is Outcome.REFUSED
    assert house.record.status == 400


async def test_the_upstreams_own_status_is_passed_on(autojump_clock: MockClock) -> None:
    error = b'{"error": {"message": "no", "type": null, "code": null}}'
    house = a_house(a=[a_body(error, status=422)], b=[])

    visitor = await house.chat()

    details = {"attempts": [told("a/m", "client_error", 422)]}
    error_type = "invalid_request_error"
    body = {
        "error": {
            "code": None,
            "message": "no",
            "type": error_type,
            "param": None,
            "details": details,
        }
    }
    assert_refused(visitor, 422, body, target="a/m", attempts=1)


async def test_a_client_error_inside_a_200_is_a_400(autojump_clock: MockClock) -> None:
    error = {"message": "too long", "code": "context_length_exceeded"}
    house = a_house(a=[a_body(json.dumps({"error": error}).encode())], b=[])

    visitor = await house.chat()

    assert visitor.status == 400
    assert isinstance(visitor.json, dict)
    assert visitor.json["error"]["code"] == "context_length_exceeded"


async def test_a_client_error_without_words_gets_ours(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_body(b"", status=400)], b=[])

    visitor = await house.chat()

    details = {"attempts": [told("a/m", "client_error", 400)]}
    body = an_error("bad_request", "Bad Request", "invalid_request_error", details)
    assert_refused(visitor, 400, body, target="a/m", attempts=1)


def a_throttle(seconds: int) -> Script:
    headers = [("content-type", "application/json"), ("retry-after", str(seconds))]
    return a_body(b'{"error": {"message": "slow"}}', status=429, headers=headers)


async def test_every_target_throttled(autojump_clock: MockClock) -> None:
    house = a_house(a=[a_throttle(30)], b=[a_throttle(20)])

    visitor = await house.chat()

    details = {
        "attempts": [told("a/m", "rate_limit", 429), told("b/m", "rate_limit", 429)]
    }
    body = an_error(
        "rate_limited", "Every target is rate limited", "rate_limit_error", details
    )
    retry_after = visitor.field("retry-after")
    assert retry_after is not None
    assert 20 <= int(retry_after) <= 24
    assert_refused(
        visitor,
        429,
        body,
        should_retry=True,
        target="b/m",
        attempts=2,
        retry_after=retry_after,
    )


async def test_every_target_throttled_for_long(autojump_clock: MockClock) -> None:
    house = a_house(a=[a_throttle(90)], b=[a_throttle(100)])

    visitor = await house.chat()

    assert visitor.status == 429
    assert visitor.field("x-should-retry") == "false"


async def test_every_attempt_timed_out(autojump_clock: MockClock) -> None:
    timeouts = with_timeouts(
        first_token=Patience(soft_s=1.0, hard_s=2.0, is_hard_written=True)
    )
    policy = a_policy(a_route(timeouts=timeouts))
    house = a_house(policy, a=[Refusal.SILENCE], b=[Refusal.SILENCE])

    visitor = await house.chat(stream=True)

    attempts = [told("a/m", "timeout", None, 2000), told("b/m", "timeout", None, 2000)]
    body = an_error(
        "deadline_exceeded",
        "No target answered in time",
        "timeout_error",
        {"attempts": attempts},
    )
    assert_refused(visitor, 504, body, target="b/m", attempts=2)


async def test_nothing_could_be_sent(autojump_clock: MockClock) -> None:
    house = a_house(a_policy(a_route("")))

    visitor = await house.chat()

    retry_after = visitor.field("retry-after")
    assert retry_after is not None
    assert_refused(
        visitor, 503, UNAVAILABLE, should_retry=True, retry_after=retry_after
    )


async def test_targets_failed_otherwise(autojump_clock: MockClock) -> None:
    late = Script(status=500, head_after_s=0.25, steps=(Send(b"<html>oops</html>"),))
    house = a_house(a=[late], b=[Refusal.RESET])

    visitor = await house.chat(stream=True)

    attempts = [told("a/m", "server_error", 500, 250), told("b/m", "reset", None)]
    body = an_error(
        "upstream_failed",
        "Every target that was tried failed",
        "api_error",
        {"attempts": attempts},
    )
    assert_refused(visitor, 502, body, target="b/m", attempts=2)
    assert house.record.status == 502
    assert len(house.record.attempts) == 2


async def test_our_refused_credential_is_not_the_clients_401(
    autojump_clock: MockClock,
) -> None:
    refused = a_body(b'{"error": {"message": "bad key sk-a"}}', status=401)
    house = a_house(a=[refused], b=[refused])

    visitor = await house.chat()

    assert visitor.status == 502
    assert b"sk-a" not in visitor.received
    assert b'"class": "auth"' in visitor.received


class BrokenUpstream:
    """Breaks the port's rule that a failure is a value."""

    async def open(self, call: Call) -> "BrokenStream":
        return BrokenStream()


class BrokenStream:
    status = 200
    headers = ((b"content-type", b"text/event-stream"),)

    def __init__(self) -> None:
        self._first = [an_event("Hel")]

    def take_rest(self) -> bytes | None:
        return None

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self._first:
            return self._first.pop()
        raise RuntimeError("hunter2")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_our_bug_before_the_commit_point(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    house = a_house()
    house.gateway.relay.upstream = BrokenUpstream()

    with caplog.at_level(logging.ERROR):
        visitor = await house.chat(stream=False)

    body = an_error("internal_error", "Internal error", "api_error")
    assert_refused(visitor, 500, body, target="a/m", attempts=1)
    assert house.record.status == 500
    assert house.record.outcome is Outcome.REFUSED
    assert house.record.detail == "internal error"
    assert "RuntimeError: hunter2" in caplog.text
    assert house.gateway.in_flight == 0


async def test_our_bug_after_the_commit_point_breaks_the_answer_visibly(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    house = a_house()
    house.gateway.relay.upstream = BrokenUpstream()

    with caplog.at_level(logging.ERROR):
        visitor = await house.chat(stream=True)

    assert visitor.status == 200
    assert visitor.received == an_event("Hel")
    assert not visitor.is_finished
    assert house.record.detail == "internal error"
    assert "RuntimeError: hunter2" in caplog.text


async def test_an_answer_that_a_client_does_not_take_is_given_up(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[SICK], b=[SICK])

    visitor = await house.chat(reads_for_s=0.0)

    assert visitor.status is None
    assert visitor.ended_after_s == 30.0
    assert house.upstream.left_open == []
