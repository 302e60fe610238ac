"""The operators' page of targets: what it shows, and what it does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.factories import a_policy, a_route, a_target
from tests.relay.driver import SICK, a_body, a_stream
from tests.web.house import WALL, Fields, House, Visitor, a_house
from trio_gateway.chaos.vocabulary.script import Behaviour, Refusal
from trio_gateway.policy.route import Secret
from trio_gateway.web.app import create_admin_app

HOST = ("host", "127.0.0.1:9090")
JSON = ("content-type", "application/json")


async def get(house: House, path: str = "/admin/targets") -> Any:
    visitor = await Visitor(
        create_admin_app(house.gateway), "GET", path, [HOST]
    ).visit()
    assert visitor.status == 200, visitor.received
    return visitor.json


async def post(
    house: House,
    target_id: str,
    body: bytes,
    *,
    fields: Fields = (HOST, JSON),
    is_body_whole: bool = True,
) -> Visitor:
    app, path = create_admin_app(house.gateway), f"/admin/targets/{target_id}"
    return await Visitor(
        app, "POST", path, fields, [body], is_body_whole=is_body_whole
    ).visit()


async def act(house: House, action: str, target_id: str = "a/m") -> Mapping[str, Any]:
    visitor = await post(house, target_id, json.dumps({"action": action}).encode())
    assert visitor.status == 200, visitor.received
    assert isinstance(visitor.json, dict)
    return visitor.json


def details_of(visitor: Visitor) -> object:
    assert isinstance(visitor.json, dict)
    return visitor.json["error"]["details"]


def a_logged_house(**behaviours: Sequence[Behaviour]) -> tuple[House, list[str]]:
    house, lines = a_house(None, **behaviours), list[str]()
    house.gateway.write = lines.append
    return house, lines


async def test_a_fresh_gateway_shows_every_target_and_model(
    autojump_clock: MockClock,
) -> None:
    shown = await get(a_house())

    assert [target["id"] for target in shown["targets"]] == ["a/m", "b/m"]
    assert shown["targets"][0] == {
        "id": "a/m",
        "models": ["chat"],
        "state": "closed",
        "why": None,
        "since": None,
        "until": None,
        "breaker": {
            "state": "closed",
            "since": None,
            "until": None,
            "last_cause": None,
            "trips": 0,
            "share": 1.0,
        },
        "cooldown": None,
        "in_flight": 0,
        "limit": None,
        "waiting": 0,
        "provider": {"name": "a", "in_flight": 0, "limit": None},
        "budget_tokens": 20.0,
        "passed_over": {},
        "speeds": [],
    }
    assert shown["models"] == [
        {
            "model": "chat",
            "in_flight": 0,
            "budgets": {
                "retry": {"left": 50.0, "denied": 0},
                "extra": {"left": 50.0, "denied": 0},
                "last_resort": {"in_flight": 0, "limit": 5},
            },
        }
    ]


async def test_instants_are_told_as_dates(autojump_clock: MockClock) -> None:
    house = a_house(a=[SICK] * 5, b=[a_body()] * 5)
    await trio.sleep(100.0)
    for _ in range(5):
        await house.chat()
    await trio.sleep(1.0)

    (target, _) = (await get(house))["targets"]

    # The wall's clock of this house stands still: a second ago is a second before it.
    assert WALL == 1_800_000_000.0
    assert target["state"] == "open"
    assert target["why"] == "5 in a row: server error"
    assert target["since"] == "2027-01-15T07:59:59.000Z"
    assert "2027-01-15T08:00:01.500Z" <= target["until"] <= "2027-01-15T08:00:04.000Z"


async def test_what_was_measured_is_shown_with_the_limits_in_force(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[a_stream()] * 60)
    for _ in range(60):
        await house.chat(stream=True)
    await trio.sleep(1.0)  # quantiles are a second old at most

    (target, _) = (await get(house))["targets"]

    (speed,) = target["speeds"]
    assert speed["until"] == "first token"
    assert (speed["prompt_tokens"], speed["samples"]) == ("<1k", 60)
    assert speed["p50_ms"] == speed["p99_ms"] == pytest.approx(1.0, rel=0.05)
    assert speed["limits"] == [
        {"models": ["chat"], "soft_ms": 2000.0, "hard_ms": 5000.0}
    ]


async def test_one_target_is_shown_by_its_id(autojump_clock: MockClock) -> None:
    target = a_target("a", model="meta-llama/Llama-3.3 70B")
    house = a_house(a_policy(a_route([target])))

    shown = await get(house, "/admin/targets/a/meta-llama/Llama-3.3 70B")

    assert shown["id"] == "a/meta-llama/Llama-3.3 70B"


async def test_a_drained_target_is_not_asked_until_it_is_enabled(
    autojump_clock: MockClock,
) -> None:
    house, lines = a_logged_house(a=[a_body()] * 2, b=[a_body()])

    shown = await act(house, "drain")
    assert (shown["state"], shown["why"]) == ("disabled", "drained by an operator")
    assert (shown["since"], shown["until"]) == ("2027-01-15T08:00:00.000Z", None)
    assert (await house.chat()).field("x-gateway-target") == "b/m"

    shown = await act(house, "enable")
    assert (shown["state"], shown["why"]) == ("closed", None)
    assert (await house.chat()).field("x-gateway-target") == "a/m"

    assert [json.loads(line) for line in lines] == [
        {
            "at": "2027-01-15T08:00:00.000Z",
            "level": "info",
            "event": "target_changed_by_operator",
            "target": "a/m",
            "action": action,
        }
        for action in ("drain", "enable")
    ]


async def test_who_waits_at_a_disabled_target_is_answered_by_another(
    autojump_clock: MockClock,
) -> None:
    house = a_house(a=[Refusal.SILENCE], b=[a_body()])
    visitors: list[Visitor] = []

    async def ask() -> None:
        visitors.append(await house.chat())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(40.0)
        await act(house, "disable")

    (visitor,) = visitors
    assert visitor.status == 200
    assert visitor.field("x-gateway-target") == "b/m"
    assert visitor.ended_after_s is not None
    assert visitor.ended_after_s <= 41.0


async def test_an_unknown_target_is_not_found_and_near_ones_are_named(
    autojump_clock: MockClock,
) -> None:
    visitor = await post(a_house(), "a/n", b'{"action": "drain"}')

    assert visitor.status == 404
    assert details_of(visitor) == {"target": "a/n", "near": ["a/m"]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"action": "restart"}',
        b'{"action": null}',
        b'{"action": ["drain"]}',
        b'["drain"]',
        b"{}",
    ],
)
async def test_another_action_is_refused_with_those_there_are(
    body: bytes, autojump_clock: MockClock
) -> None:
    visitor = await post(a_house(), "a/m", body)

    assert visitor.status == 422
    assert details_of(visitor) == {"action": "must be one of drain, disable, enable"}


@pytest.mark.parametrize("body", [b"", b"drain", b"\xff", b"[" * 60_000])
async def test_what_is_no_json_is_refused(
    body: bytes, autojump_clock: MockClock
) -> None:
    visitor = await post(a_house(), "a/m", body)

    assert visitor.status == 422
    assert details_of(visitor) == {"error": "Invalid JSON"}


@pytest.mark.parametrize(
    "fields", [(), (("content-type", "text/plain"),)], ids=["none", "a form's"]
)
async def test_what_another_sites_form_could_send_is_refused(
    fields: Fields, autojump_clock: MockClock
) -> None:
    house, lines = a_logged_house()

    visitor = await post(house, "a/m", b'{"action": "drain"}', fields=(HOST, *fields))

    assert visitor.status == 415
    assert (await get(house))["targets"][0]["state"] == "closed"
    assert lines == []


async def test_a_foreign_page_changes_nothing(autojump_clock: MockClock) -> None:
    house, lines = a_logged_house()
    origin = ("origin", "http://evil.test")

    visitor = await post(
        house, "a/m", b'{"action": "drain"}', fields=(HOST, JSON, origin)
    )

    assert visitor.status == 403
    assert lines == []


async def test_a_key_is_asked_for_here_too(autojump_clock: MockClock) -> None:
    app = create_admin_app(a_house().gateway, key=Secret("ops"))

    assert (await Visitor(app, "GET", "/admin/targets", [HOST]).visit()).status == 401


async def test_a_body_that_does_not_come_is_not_waited_for(
    autojump_clock: MockClock,
) -> None:
    visitor = await post(a_house(), "a/m", b'{"action":', is_body_whole=False)

    assert visitor.status == 408
    assert visitor.ended_after_s == 5.0


async def test_a_body_beyond_all_measure_is_refused(autojump_clock: MockClock) -> None:
    visitor = await post(a_house(), "a/m", b" " * 100_000)

    assert visitor.status == 413
