"""The operators' door of several workers: real gateways behind it, no processes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from trio.testing import MockClock

from tests.factories import a_policy, a_route, a_target
from tests.relay.driver import SICK, a_body
from tests.web.house import JSON, WALL, Fields, House, Visitor, a_house
from trio_gateway.policy.route import Policy, Secret, Target
from trio_gateway.policy.share import Share, divided
from trio_gateway.serving.workers.messages import Answer
from trio_gateway.serving.workers.worker import visit
from trio_gateway.telemetry.exposition import Families, show_number
from trio_gateway.telemetry.workers import WorkersView
from trio_gateway.web import merged
from trio_gateway.web.app import create_admin_app
from trio_gateway.web.crew import create_crew_app
from trio_gateway.web.gateway import PolicyNews
from trio_gateway.web.targets import Action, act_on

HOST = ("host", "127.0.0.1:9090")
TARGET = "/admin/targets/a/m"


@dataclass
class FakeCrew:
    """Workers that are gateways in this process; some may be silent."""

    policy: Policy
    houses: list[House]
    is_draining: bool = False
    news: PolicyNews = field(default_factory=PolicyNews)
    silent: set[int] = field(default_factory=set)
    looping: tuple[int, ...] = ()
    acts: list[tuple[str, Action]] = field(default_factory=list)

    @property
    def serving(self) -> list[int]:
        return [n for n in range(len(self.houses)) if n not in self.silent]

    def standing(self) -> WorkersView:
        ready = len(self.serving)
        return WorkersView(len(self.houses), ready, self.looping, 0, 0, 0)

    async def ask(self, path: str, query: bytes) -> Sequence[tuple[int, Answer]]:
        said = []
        for index in self.serving:
            app = create_admin_app(self.houses[index].gateway)
            said.append((index, Answer(1, *await visit(app, path, query))))
        return said

    async def counted(self) -> Families:
        families: Families = {}
        show_number(families, "counter", "counted_total", "What was counted.", 1)
        return families

    def act(self, target: Target, action: Action) -> None:
        self.acts.append((target.id, action))
        for index in self.serving:
            act_on(self.houses[index].gateway, target, action)

    @staticmethod
    def wall_clock() -> float:
        return WALL


def a_crew(count: int = 2, policy: Policy | None = None) -> FakeCrew:
    """Each worker's provider `a` is sick as often as its number says, then well."""
    policy = policy or a_policy()
    houses = [
        a_house(
            divided(policy, Share(index, count)),
            a=[SICK] * (5 * index) + [a_body()] * 20,
            b=[a_body()] * 20,
        )
        for index in range(count)
    ]
    return FakeCrew(policy, houses)


async def get(
    crew: FakeCrew, path: str, *fields: tuple[str, str], query: bytes = b""
) -> Visitor:
    app = create_crew_app(crew)
    given: Fields = fields or (HOST,)
    return await Visitor(app, "GET", path, given, query=query).visit()


async def page(crew: FakeCrew, path: str, *, query: bytes = b"") -> Any:
    visitor = await get(crew, path, query=query)
    assert visitor.status == 200, visitor.received
    return visitor.json


async def post(crew: FakeCrew, path: str, action: object) -> Visitor:
    body = json.dumps({"action": action}).encode()
    app = create_crew_app(crew)
    return await Visitor(app, "POST", path, (HOST, JSON), (body,)).visit()


async def test_it_is_ready_while_anybody_serves_and_names_crash_loops() -> None:
    crew = a_crew(3)
    crew.silent, crew.looping = {2}, (2,)
    said = await page(crew, "/readyz")
    assert said["status"] == "ready"
    assert said["workers"] == {"ready": 2, "of": 3, "crash_loops": [2]}
    crew.silent = {0, 1, 2}
    visitor = await get(crew, "/readyz")
    assert visitor.status == 503
    assert b'"crash_loops": [2]' in visitor.received
    assert (await get(crew, "/livez")).status == 200


async def test_it_is_not_ready_once_it_drains() -> None:
    crew = a_crew()
    crew.is_draining = True
    visitor = await get(crew, "/readyz")
    assert (visitor.status, b"Draining" in visitor.received) == (503, True)


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/admin/policy", "/admin/targets", TARGET, "/admin/explain/chat"],
)
async def test_the_rules_of_who_may_come_in_are_those_of_one_process(path: str) -> None:
    crew = a_crew()
    app = create_crew_app(crew, bind_host="10.0.0.5", key=Secret("ops"))

    async def status(*fields: tuple[str, str]) -> int | None:
        return (await Visitor(app, "GET", path, fields).visit()).status

    bearer = ("authorization", "Bearer ops")
    assert await status(HOST) == 401
    assert await status(HOST, ("authorization", "Bearer wrong")) == 401
    assert await status(HOST, bearer) == 200
    assert await status(("host", "10.0.0.5:9090"), bearer) == 200
    assert await status(("host", "evil.test"), bearer) == 403
    assert await status(HOST, bearer, ("origin", "http://evil.test")) == 403
    assert (await Visitor(app, "GET", "/readyz", (HOST,)).visit()).status == 200


async def test_a_target_is_as_the_worker_says_that_sees_it_worst(
    autojump_clock: MockClock,
) -> None:
    crew = a_crew()
    for _ in range(6):
        for house in crew.houses:
            await house.chat()

    shown = await page(crew, TARGET)

    assert shown["state"] == "open"
    assert [one["state"] for one in shown["workers"]] == ["closed", "open"]
    assert shown["breaker"]["trips"] == 1
    alone = [(await page_of(house, TARGET)) for house in crew.houses]
    assert shown["budget_tokens"] == min(one["budget_tokens"] for one in alone)
    assert shown.keys() - {"workers"} == alone[0].keys()
    every = await page(crew, "/admin/targets")
    assert [one["id"] for one in every["targets"]] == ["a/m", "b/m"]
    assert every["targets"][0] == shown
    assert every["workers"] == [0, 1]


async def page_of(house: House, path: str) -> Any:
    app = create_admin_app(house.gateway)
    return (await Visitor(app, "GET", path, (HOST,)).visit()).json


class Name(str):
    """A name that notes how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Name.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


async def test_a_target_is_not_sought_among_all_others(
    autojump_clock: MockClock,
) -> None:
    (one, _) = (await page(a_crew(), "/admin/targets"))["targets"]
    every = [{**one, "id": Name(f"a/{number}")} for number in range(1_000)]
    said = [(index, {"targets": every, "models": []}) for index in range(2)]

    assert len(merged.targets(said)["targets"]) == 1_000  # type: ignore[arg-type]
    assert Name.comparisons < 10 * 1_000


async def test_the_limits_of_all_workers_add_up_to_what_was_written() -> None:
    policy = a_policy(a_route([a_target("a", max_concurrency=7), a_target("b")]))
    shown = await page(a_crew(3, policy), TARGET)
    assert shown["limit"] == 7
    assert [one["limit"] for one in shown["workers"]] == [3, 2, 2]
    shown = await page(a_crew(3, policy), "/admin/targets/b/m")
    assert shown["limit"] is None


async def test_budgets_and_what_is_under_way_are_added_up(
    autojump_clock: MockClock,
) -> None:
    crew = a_crew(3)
    for house in crew.houses:
        await house.chat()
    (model,) = (await page(crew, "/admin/targets"))["models"]
    assert model["model"] == "chat"
    assert model["in_flight"] == 0
    assert model["budgets"]["retry"]["denied"] == 0
    each = [(await page_of(h, "/admin/targets"))["models"][0] for h in crew.houses]
    left = sum(one["budgets"]["retry"]["left"] for one in each)
    assert model["budgets"]["retry"]["left"] == pytest.approx(left)


async def test_an_action_reaches_all_and_the_answer_shows_it() -> None:
    crew = a_crew(3)
    visitor = await post(crew, TARGET, "drain")
    shown: Any = visitor.json
    assert shown["state"] == "disabled"
    assert [one["state"] for one in shown["workers"]] == ["disabled"] * 3
    shown = (await post(crew, TARGET, "enable")).json
    assert shown["state"] == "closed"
    assert crew.acts == [("a/m", Action.DRAIN), ("a/m", Action.ENABLE)]


async def test_what_cannot_be_done_is_done_in_none() -> None:
    crew = a_crew()
    assert (await post(crew, TARGET, "explode")).status == 422
    assert (await post(crew, "/admin/targets/a/x", "drain")).status == 404
    assert (await post(crew, "/admin/policy", "drain")).status == 405
    assert crew.acts == []


async def test_the_newest_exchanges_of_all_are_told_in_order(
    autojump_clock: MockClock,
) -> None:
    crew = a_crew(3)
    for _ in range(4):
        for house in crew.houses:
            await house.chat()
    for house in crew.houses:
        for record in house.records:
            house.gateway.recent.observe(record)
    said = await page(crew, "/admin/exchanges", query=b"limit=5&outcome=completed")
    assert len(said["exchanges"]) == 5
    at = [one["at"] for one in said["exchanges"]]
    assert at == sorted(at, reverse=True)
    assert {one["worker"] for one in said["exchanges"]} <= {0, 1, 2}
    assert said["workers"] == [0, 1, 2]
    assert (await get(crew, "/admin/exchanges", query=b"limit=0")).status == 400
    assert (await get(crew, "/admin/exchanges", query=b"who=me")).status == 400


async def test_all_explain_and_one_is_the_usual_answer(
    autojump_clock: MockClock,
) -> None:
    crew = a_crew()
    for _ in range(6):
        await crew.houses[1].chat()
    said = await page(crew, "/admin/explain/chat")
    assert said["model"] == "chat"
    states = [one["targets"][0]["state"] for one in said["workers"]]
    assert states == ["closed", "open"]
    assert (await get(crew, "/admin/explain/chut")).status == 404


async def test_as_text_they_explain_one_after_the_other(
    autojump_clock: MockClock,
) -> None:
    crew = a_crew()
    for _ in range(6):
        await crew.houses[1].chat()
    path = "/admin/explain/chat"
    told = (await get(crew, path, query=b"format=text")).received.decode()
    first, second = told.split("\n\nworker 1: ")
    assert first.startswith("worker 0: chat: its targets")
    assert "broken" not in first
    assert second.startswith("chat: its targets")
    assert "broken" in second
    assert (await get(crew, path, query=b"format=prose")).status == 400


async def test_workers_that_live_by_another_policy_are_named() -> None:
    crew = a_crew()
    assert (await page(crew, "/admin/policy"))["workers_differ"] is False
    late = a_policy()
    object.__setattr__(late, "revision", "older")
    crew.houses[1].gateway.adopt(late)
    said = await page(crew, "/admin/policy")
    assert said["workers_differ"] is True
    assert said["workers"][1] == {"worker": 1, "hash": "older"}
    assert said["hash"] == crew.policy.revision


async def test_without_anybody_to_ask_the_answer_is_503() -> None:
    crew = a_crew()
    crew.silent = {0, 1}
    for path in ("/admin/targets", TARGET, "/admin/exchanges", "/admin/explain/chat"):
        assert (await get(crew, path)).status == 503
    assert (await page(crew, "/admin/policy"))["workers"] == []


async def test_a_silent_worker_is_left_out() -> None:
    crew = a_crew(3)
    crew.silent = {1}
    assert (await page(crew, "/admin/targets"))["workers"] == [0, 2]
    workers = (await page(crew, TARGET))["workers"]
    assert [one["worker"] for one in workers] == [0, 2]


async def test_metrics_are_those_of_all() -> None:
    visitor = await get(a_crew(), "/metrics")
    assert visitor.received.endswith(b"\ncounted_total 1.0\n")
    assert (visitor.field("content-type") or "").startswith("text/plain")
