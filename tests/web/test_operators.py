"""Pages for operators: the policy, the last exchanges, and what would happen now."""

from typing import Any

import trio
from trio.testing import MockClock

from tests.factories import a_policy, a_route
from tests.relay.driver import SICK, a_body
from tests.web.house import WALL, House, Visitor, a_house
from trio_gateway.chaos.vocabulary.script import Behaviour
from trio_gateway.policy.route import Policy
from trio_gateway.telemetry.recent import EXCHANGES_MAX, RecentExchanges
from trio_gateway.web.app import create_admin_app
from trio_gateway.web.gateway import PolicyNews, PolicyRefusal

HOST = ("host", "127.0.0.1:9090")


def house_of(policy: Policy | None = None, **behaviours: list[Behaviour]) -> House:
    """One whose exchanges are remembered."""
    house = a_house(policy, **behaviours)
    record = house.gateway.relay.recorder

    def remember(exchange: Any) -> None:
        record(exchange)
        house.gateway.recent.observe(exchange)

    house.gateway.relay.recorder = remember
    return house


async def get(house: House, path: str, query: bytes = b"") -> Visitor:
    app = create_admin_app(house.gateway)
    return await Visitor(app, "GET", path, [HOST], query=query).visit()


async def shown(house: House, path: str, query: bytes = b"") -> Any:
    visitor = await get(house, path, query)
    assert visitor.status == 200, visitor.received
    return visitor.json


async def test_a_page_has_lines_and_the_list_of_exchanges_one_for_each() -> None:
    house = house_of(a=[a_body(), a_body()])
    await house.chat()
    await house.chat()

    page = (await get(house, "/admin/exchanges")).received.splitlines()
    assert [line[:11] for line in page] == [
        b"{",
        b'  "exchange',
        b'    {"at": ',
        b'    {"at": ',
        b"  ]",
        b"}",
    ]
    for path in ("/admin/targets/a/m", "/admin/policy", "/admin/explain/chat"):
        assert (await get(house, path)).received.count(b"\n") > 5, path


async def test_the_policy_that_holds_is_shown_with_what_was_refused() -> None:
    house = a_house()
    refusal = PolicyRefusal(WALL, ("policy.yaml:1:1: is empty. Write something.",))
    house.gateway.news = PolicyNews(
        "policy.yaml",
        number=3,
        loaded_at=WALL,
        changes=("model chat: added",),
        last_refusal=refusal,
        are_files_refused=True,
    )

    assert await shown(house, "/admin/policy") == {
        "revision": 3,
        "hash": house.gateway.policy.revision,
        "loaded_at": "2027-01-15T08:00:00.000Z",
        "source": "policy.yaml",
        "models": ["chat"],
        "changes": ["model chat: added"],
        "files_refused": True,
        "last_refusal": {
            "at": "2027-01-15T08:00:00.000Z",
            "report": ["policy.yaml:1:1: is empty. Write something."],
        },
    }


async def test_nothing_was_refused_yet() -> None:
    policy = await shown(a_house(), "/admin/policy")
    assert policy["last_refusal"] is None
    assert policy["files_refused"] is False


async def test_the_last_exchanges_are_shown_newest_first_with_their_attempts() -> None:
    house = house_of(a=[SICK, a_body()], b=[a_body()])
    await house.chat()
    await house.chat(model="unknown")

    second, first = (await shown(house, "/admin/exchanges"))["exchanges"]

    assert (second["model"], second["outcome"], second["status"]) == (
        "unknown",
        "refused",
        404,
    )
    assert [attempt["target"] for attempt in first["attempts"]] == ["a/m", "b/m"]
    assert first["attempts"][0]["class"] == "server_error"
    assert first["target"] == "b/m"


async def test_exchanges_are_found_by_model_and_outcome() -> None:
    house = house_of(a=[a_body()], b=[])
    await house.chat()
    await house.chat(model="unknown")
    await house.chat(model="unknown")

    async def models(query: bytes) -> list[str]:
        found = await shown(house, "/admin/exchanges", query)
        return [exchange["model"] for exchange in found["exchanges"]]

    assert await models(b"model=chat") == ["chat"]
    assert await models(b"outcome=refused") == ["unknown", "unknown"]
    assert await models(b"outcome=refused&limit=1") == ["unknown"]
    assert await models(b"model=chat&outcome=refused") == []


async def test_a_filter_that_is_none_is_refused() -> None:
    for query in (b"modle=chat", b"outcome=done", b"limit=0", b"limit=1000"):
        assert (await get(house_of(), "/admin/exchanges", query)).status == 400


async def test_only_so_many_exchanges_are_kept() -> None:
    house = house_of(a=[a_body()], b=[])
    await house.chat()
    recent = RecentExchanges()
    for number in range(EXCHANGES_MAX + 5):
        recent.observe(house.record._replace(id=str(number)))

    newest = list(recent.newest(1000, where=lambda _: True))

    assert len(newest) == EXCHANGES_MAX
    assert newest[0].id == str(EXCHANGES_MAX + 4)


async def test_what_would_happen_now_is_explained_with_the_health_of_now(
    autojump_clock: MockClock,
) -> None:
    house = house_of(a_policy(a_route("ab")), a=[SICK], b=[a_body()])
    for _ in range(5):
        await house.chat()
        await trio.sleep(0.1)

    told = await shown(house, "/admin/explain/chat")

    assert told["targets"][0]["target"] == "a/m"
    assert told["targets"][0]["state"] == "open"
    assert told["targets"][0]["for_s"] > 0
    first = told["timelines"][0]["steps"][0]
    assert (first["at_s"], first["target"]) == (0.0, "b/m")
    await house.chat()
    assert house.records[-1].attempts[0].target == "b/m"


async def test_people_get_the_explanation_in_the_words_of_the_command() -> None:
    house = house_of(a_policy(a_route("ab")))
    visitor = await get(house, "/admin/explain/chat", b"format=text")
    assert visitor.field("content-type") == "text/plain; charset=utf-8"
    assert visitor.received.startswith(b"chat: its targets, in order of preference\n")
    assert (await get(house, "/admin/explain/chat", b"format=prose")).status == 400


async def test_an_unknown_model_cannot_be_explained() -> None:
    visitor = await get(a_house(), "/admin/explain/chta")
    assert visitor.status == 404
    assert visitor.json["error"]["details"]["near"] == ["chat"]  # type: ignore[index]
