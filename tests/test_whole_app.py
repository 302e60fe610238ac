"""The whole gateway over connections in memory: the exact bound on a departure.

Everything is the real code, from the server's parser to the HTTP client, between a
client and a simulated provider. Only the network is not: it takes the same time, to the
instant, in every run.
"""

import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from tests.chaos.client import Reader
from tests.factories import RETRY, a_policy, a_route, a_target
from tests.relay.driver import GOOD_EVENTS, GOOD_JSON, SICK, a_stream
from tests.sockets.gateway import chat_request
from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.network import MemoryNetwork, MemoryStream
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.provider.server import SimulatedProvider
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Jitter
from trio_gateway.relay.record import ExchangeRecord, Outcome
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway

LATENCY_S = 0.01

# The bound of the promise, and what it takes when nothing but the network does: the
# news goes from the client to the gateway, and from there to the provider.
BOUND_S = 0.05
TWO_WAYS_S = 2 * LATENCY_S

LEAVES_AT = 1.5


@dataclass
class Town:
    """A network with a gateway and two providers on it."""

    network: MemoryNetwork
    server: Server
    upstream: PooledUpstream
    providers: Mapping[str, SimulatedProvider]
    records: list[ExchangeRecord]
    over_at: dict[str, float]  # by the client's request id

    async def ask(self, *, stream: bool, name: str = "r") -> MemoryStream:
        connection = await self.network.connect("gateway.test", 80)
        await connection.send_all(
            chat_request(stream=stream, content=name, request_id=name)
        )
        return connection


async def found_town(
    nursery: trio.Nursery, targets: str = "ab", **behaviours: list[Behaviour]
) -> Town:
    """Start everything; a provider's last behaviour is that of all later requests."""
    network = MemoryNetwork(latency_s=LATENCY_S)
    providers = {}
    for name, given in behaviours.items():

        def behave(_: object, number: int, given: list[Behaviour] = given) -> Behaviour:
            return given[min(number, len(given)) - 1]

        providers[name] = provider = SimulatedProvider(behave)
        await nursery.start(provider.serve, [network.listen(f"{name}.test", 80)])
    network.swallow("hole.test", 80)

    records: list[ExchangeRecord] = []
    over_at: dict[str, float] = {}
    ids = count(1)

    def record(exchange: ExchangeRecord) -> None:
        records.append(exchange)
        over_at[exchange.request_id] = trio.current_time()

    waits = replace(RETRY, backoff_initial_s=8.0, backoff_max_s=8.0, jitter=Jitter.NONE)
    names = [targets] if targets == "hole" else list(targets)
    route = a_route([a_target(name) for name in names], retry=waits)
    policy = a_policy(route)
    upstream = PooledUpstream(connect=network.connect)
    relay = Relay(
        upstream=upstream, fleet=Fleet(), recorder=record, wall_clock=lambda: 0.0
    )
    gateway = Gateway(
        policy=policy,
        keyring=Keyring(policy.access_keys),
        relay=relay,
        metrics=Metrics(slugs=policy.routes),
        new_id=lambda: str(uuid.UUID(int=next(ids))),
    )
    server = Server(create_app(gateway), Limits(sends_date=False))
    listener = network.listen("gateway.test", 80)
    await nursery.start(trio.serve_listeners, server.serve_stream, [listener])
    return Town(network, server, upstream, providers, records, over_at)


Leave = Callable[[MemoryStream], Awaitable[None]]


async def close(connection: MemoryStream) -> None:
    await connection.aclose()


async def reset(connection: MemoryStream) -> None:
    connection.reset()


async def half_close(connection: MemoryStream) -> None:
    await connection.send_eof()


FIRST, *REST = GOOD_EVENTS
SLOW_BODY = Script(steps=(Send(GOOD_JSON[:20]), Pause(60.0), Send(GOOD_JSON[20:])))
SLOW_ERROR = Script(status=500, head_after_s=1.2, ending=Ending.HANG)

# What the provider does until the client leaves; and whether that is a stream.
AT_THE_PROVIDER: dict[str, tuple[bool, Behaviour]] = {
    "before the head": (True, Refusal.SILENCE),
    "before the first token": (True, a_stream(FIRST, ending=Ending.HANG)),
    "in mid-stream": (True, a_stream(*GOOD_EVENTS[:2], ending=Ending.HANG)),
    "between two tokens": (True, a_stream(gap_s=0.4)),
    "before a plain head": (False, Refusal.SILENCE),
    "in a plain body": (False, SLOW_BODY),
    "in an error's body": (False, SLOW_ERROR),
}
every_phase = pytest.mark.parametrize(
    ("stream", "behaviour"), AT_THE_PROVIDER.values(), ids=AT_THE_PROVIDER.keys()
)
every_leave = pytest.mark.parametrize("leave", [close, reset, half_close])


@every_leave
@every_phase
async def test_a_departure_reaches_the_provider_as_fast_as_the_network(
    stream: bool,
    behaviour: Behaviour,
    leave: Leave,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    town = await found_town(nursery, a=[behaviour], b=[a_stream()])
    connection = await town.ask(stream=stream)
    await trio.sleep_until(LEAVES_AT)
    await leave(connection)
    await trio.sleep(BOUND_S)

    (seen,) = town.providers["a"].seen
    assert seen.ending is RequestEnding.CLIENT_LEFT
    assert seen.ended_at == pytest.approx(LEAVES_AT + TWO_WAYS_S)
    await assert_nothing_left(town)
    await connection.aclose()


@every_leave
@pytest.mark.parametrize("stream", [True, False])
async def test_a_departure_in_the_second_attempt_reaches_the_second_provider(
    stream: bool, leave: Leave, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    town = await found_town(nursery, a=[SICK], b=[Refusal.SILENCE])
    connection = await town.ask(stream=stream)
    await trio.sleep_until(LEAVES_AT)
    await leave(connection)
    await trio.sleep(BOUND_S)

    (seen,) = town.providers["b"].seen
    assert seen.ended_at == pytest.approx(LEAVES_AT + TWO_WAYS_S)
    await assert_nothing_left(town)
    await connection.aclose()


@every_leave
@pytest.mark.parametrize(("targets", "dials"), [("hole", 0), ("a", 1)])
async def test_a_departure_ends_what_no_provider_can_see(
    targets: str,
    dials: int,
    leave: Leave,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    """While connecting, and in a backoff."""
    town = await found_town(nursery, targets, a=[SICK, Refusal.SILENCE])
    connection = await town.ask(stream=True)
    await trio.sleep_until(LEAVES_AT)
    assert not town.records
    await leave(connection)
    await trio.sleep(60.0)

    assert town.over_at["r"] == pytest.approx(LEAVES_AT + LATENCY_S)
    assert len(town.providers["a"].seen) == dials
    await assert_nothing_left(town)
    await connection.aclose()


async def assert_nothing_left(town: Town) -> None:
    await town.upstream.retain(())  # closes the connections that wait for reuse
    await trio.sleep(BOUND_S)
    (record,) = town.records
    assert record.outcome is Outcome.CANCELLED
    assert town.server.connections == 0
    for provider in town.providers.values():
        assert provider.connections == provider.in_flight == 0


async def test_a_departure_at_any_moment_reaches_whoever_is_at_work(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    late = replace(SICK, head_after_s=0.1)
    good = replace(a_stream(gap_s=0.1), head_after_s=0.1)
    town = await found_town(nursery, a=[late], b=[good])
    left_at: dict[str, float] = {}

    async def visit(name: str, stays_s: float) -> None:
        connection = await town.ask(stream=True, name=name)
        await trio.sleep(stays_s)
        left_at[name] = trio.current_time()
        await connection.aclose()

    async with trio.open_nursery() as visits:
        for number in range(150):  # 6 ms apart, over the whole life of an exchange
            visits.start_soon(visit, f"client-{number}", number * 0.006)
    await trio.sleep(BOUND_S)

    outcomes = Counter(record.outcome for record in town.records)
    assert outcomes[Outcome.CANCELLED] > 100
    for provider in town.providers.values():
        left = [one for one in provider.seen if one.ending is RequestEnding.CLIENT_LEFT]
        assert left
        assert provider.in_flight == 0
        for seen in left:
            assert seen.body is not None
            name = json.loads(seen.body)["messages"][0]["content"]
            assert seen.ended_at is not None
            assert seen.ended_at - left_at[name] <= TWO_WAYS_S + 1e-9
    assert len(town.records) == len(town.over_at)
    assert town.server.connections == 0


async def test_an_answer_passes_byte_for_byte_and_takes_what_the_network_takes(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    town = await found_town(nursery, a=[SICK], b=[a_stream()])
    connection = await town.ask(stream=True)

    got = await Reader(connection).read()

    assert (got.status, got.ending) == (200, "whole")
    assert got.body == b"".join(GOOD_EVENTS)
    # A round trip to connect and one to ask: the gateway, the first and the second.
    assert trio.current_time() == pytest.approx(3 * 4 * LATENCY_S)
    assert town.records[0].outcome is Outcome.COMPLETED
    await connection.aclose()
