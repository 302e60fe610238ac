"""Three hundred clients that leave when they like, and what they leave behind."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from random import Random

import pytest
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import RstStreamFrame

from tests.factories import BREAKER, RETRY, a_policy, a_route, a_target, with_timeouts
from tests.serving.doors import dial, happens, reset, tasks_fall_to, tasks_living
from tests.sockets.gateway import (
    AT_ONCE_S,
    STUCK_S,
    OpenGateway,
    a_black_hole,
    chat_request,
    chat_request_in_http_2,
    eventually,
    open_files,
    open_gateway,
    weather,
)
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.provider.server import Behave
from trio_gateway.chaos.vocabulary.answers import ChatRequest, Pace
from trio_gateway.chaos.vocabulary.script import Behaviour, Overtaken
from trio_gateway.policy.route import Jitter, Policy, Route, Target
from trio_gateway.relay.record import Outcome
from trio_gateway.serving.server import ServerKind

SEED = "storm 1"
CLIENTS = 300

# So many are there at a time, each for at most so long.
AT_A_TIME = 12
STAY_MAX_S = 0.3

ENDLESS = Pace(tokens=1000, gap_s=0.05)

# Where the exchange is when its client leaves: what the provider of that model does.
PHASES: Mapping[str, Behave] = {
    "before the head": weather("silence"),
    "before the first token": weather("role_only"),
    "late first token": weather(pace=Pace(tokens=5, head_s=0.05, first_token_s=0.1)),
    "in mid-stream": weather(pace=ENDLESS),
    "in a backoff": weather("status=503"),
    "before a plain head": weather(pace=ENDLESS),
    "in a plain body": weather("hang=50"),
    "answered": weather(pace=Pace(tokens=5)),
}
PLAIN = {"before a plain head", "in a plain body"}


def behave(request: ChatRequest, number: int) -> Behaviour | Overtaken:
    return PHASES[json.loads(request.body)["model"]](request, number)


# Failures are the scenery here, and must not close the stage.
NEVER_OPENS = replace(BREAKER, consecutive=10_000, min_samples=10_000)


def a_stormy_target(model: str, *, account: str = "a") -> Target:
    return replace(a_target(account, model=model), breaker=NEVER_OPENS)


def a_stormy_policy() -> Policy:
    waits = replace(RETRY, backoff_initial_s=20.0, backoff_max_s=20.0)
    waits = replace(waits, jitter=Jitter.NONE)
    routes: list[Route] = []
    for phase in PHASES:
        target = a_stormy_target(phase)
        routes.append(a_route([target], slug=phase, same_target=2, retry=waits))
    patient = with_timeouts(connect_s=STUCK_S)
    hole = replace(a_stormy_target("none", account="hole"), timeouts=patient)
    routes.append(a_route([hole], slug="connecting", timeouts=patient))
    targets = [a_stormy_target(one) for one in ("in a backoff", "before the head")]
    return a_policy(*routes, a_route(targets, slug="after a failure"))


Leave = Callable[[trio.SocketStream], Awaitable[None]]


async def close(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def half_close(stream: trio.SocketStream) -> None:
    """Say that nothing more will come, and wait for the gateway's own goodbye."""
    await stream.send_eof()
    with trio.fail_after(STUCK_S):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
    await stream.aclose()


async def reset_the_stream(stream: trio.SocketStream) -> None:
    """Leave one stream of HTTP/2, and the connection a moment later."""
    await stream.send_all(RstStreamFrame(1, ErrorCodes.CANCEL).serialize())
    await trio.sleep(0.05)
    await stream.aclose()


LEAVES: Mapping[str, tuple[Leave, ...]] = {
    "HTTP/1.1": (close, reset, half_close),
    "HTTP/2": (close, reset, half_close, reset_the_stream),
}
SERVERS: Mapping[str, ServerKind] = {"HTTP/1.1": "fast", "HTTP/2": "hypercorn"}


class Storm:
    """All clients together; when each of them left, by its request id."""

    def __init__(self, gateway: OpenGateway, slugs: list[str], version: str) -> None:
        self.gateway = gateway
        self.leaves = LEAVES[version]
        is_new = version == "HTTP/2"
        self.request = chat_request_in_http_2 if is_new else chat_request
        self.slugs = slugs
        self.left_at: dict[str, float] = {}

    async def rage(self) -> None:
        with trio.fail_after(STUCK_S):
            async with trio.open_nursery() as nursery:
                room = trio.CapacityLimiter(AT_A_TIME)
                for number in range(CLIENTS):
                    nursery.start_soon(self._visit, f"client-{number}", room)

    async def _visit(self, name: str, room: trio.CapacityLimiter) -> None:
        async with room:
            await self._come_and_go(name)
            # Who comes next finds the gateway done with this one: on a machine that is
            # busy otherwise, a crowd that does not wait would only measure a queue.
            await happens(self.gateway.over[name], within_s=0.2)

    async def _come_and_go(self, name: str) -> None:
        dice = Random(f"{SEED}/{name}")
        slug = dice.choice(self.slugs)
        leave = dice.choice(self.leaves)
        stays_s = dice.uniform(0.0, STAY_MAX_S)
        request = self.request(
            stream=slug not in PLAIN, model=slug, content=name, request_id=name
        )
        if slug == "asking":
            request = request[: dice.randrange(len(request))]
        stream = await dial(self.gateway.port)
        await stream.send_all(request)
        with trio.move_on_after(stays_s):
            while await stream.receive_some():
                pass
            raise AssertionError(f"the gateway left {name} ({slug})")
        self.left_at[name] = trio.current_time()
        await leave(stream)


@pytest.mark.parametrize("version", LEAVES)
async def test_three_hundred_clients_leave_nothing_behind(
    version: str, nursery: trio.Nursery
) -> None:
    policy = a_stormy_policy()
    with a_black_hole() as hole:
        gateway = await open_gateway(
            nursery,
            policy,
            a=behave,
            other_names={"hole": hole},
            server=SERVERS[version],
        )
        files, tasks = open_files(), tasks_living()

        storm = Storm(gateway, [*policy.routes, "asking"], version)
        await storm.rage()

        assert await eventually(lambda: len(gateway.records) == gateway.chats.total())
        await gateway.upstream.retain(())  # closes the connections that wait for reuse
        assert await eventually(lambda: gateway.in_flight == 0)
        assert await tasks_fall_to(tasks, within_s=STUCK_S)
        assert tasks_living() == tasks
        assert await eventually(lambda: open_files() == files)

    # Every exchange was recorded once, and none that was not there.
    assert Counter(record.request_id for record in gateway.records) == gateway.chats
    cancelled = [one for one in gateway.records if one.outcome is Outcome.CANCELLED]
    assert {one.model for one in cancelled} >= policy.routes.keys() - {"answered"}

    # Who left was noticed here and by the provider, at once.
    took_s = [
        gateway.over_at[one.request_id] - storm.left_at[one.request_id]
        for one in cancelled
    ]
    assert len(took_s) > CLIENTS / 2
    assert max(took_s) < AT_ONCE_S
    left = [one for one in gateway.seen if one.ending is RequestEnding.CLIENT_LEFT]
    assert len(left) > CLIENTS / 10
    for one in left:
        assert one.ended_at is not None
        assert one.ended_at - storm.left_at[client_of(one.body)] < AT_ONCE_S
    assert {one.ending for one in gateway.seen} == {
        RequestEnding.ANSWERED,
        RequestEnding.CLIENT_LEFT,
    }


def client_of(body: bytes | None) -> str:
    assert body is not None
    name = json.loads(body)["messages"][0]["content"]
    assert isinstance(name, str)
    return name
