"""A hundred reloads under load: nobody fails, nothing is cut, no request is mixed.

The whole gateway over connections in memory, and real files. Each revision has another
address, another model name, another key and another override: what the providers saw of
one request, all its attempts together, must be of one revision.
"""

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import trio
import trio.testing
from trio.testing import MockClock

from tests.chaos.client import Got, Reader
from tests.factories import KEY
from tests.relay.driver import GOOD_EVENTS, SICK, a_stream
from tests.sockets.gateway import STUCK_S, chat_request
from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.provider.server import SimulatedProvider
from trio_gateway.chaos.vocabulary.script import Behaviour
from trio_gateway.cli.reload import Reloader
from trio_gateway.cli.watch import WatchedFiles
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.load import load_policy
from trio_gateway.policy.route import Policy
from trio_gateway.relay.record import ExchangeRecord, Outcome
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import Server
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway, PolicyNews, PolicyRefusal

RELOADS = 100
CLIENTS = 20
# A stream lasts through several reloads.
GAP_S = 1.5

POLICY = """\
version: 1
providers:
  sick: {{base_url: "http://sick.test/r{n}", api_key: "${{file:key}}"}}
  well: {{base_url: "http://well.test/r{n}", api_key: "${{file:key}}"}}
access_keys: [{{name: tester, key: "${{KEY}}"}}]
defaults: {{circuit_breaker: {{consecutive: 100000, min_samples: 100000}}}}
models:
  chat:
    targets:
      - {{provider: sick, model: m{n}, overrides: {{user: u{n}}}}}
      - {{provider: well, model: m{n}, overrides: {{user: u{n}}}}}
  extra{n}: {{targets: [{{provider: well, model: x{n}}}]}}
"""
WRONG = "version: 1\nmodels: [\n"


@dataclass
class Town:
    """The gateway, its reloader, its providers, and all that can be seen of them."""

    network: MemoryNetwork
    gateway: Gateway
    server: Server
    providers: dict[str, SimulatedProvider]
    records: list[ExchangeRecord]
    reloads: list[PolicyNews] = field(default_factory=list)
    refusals: list[PolicyRefusal] = field(default_factory=list)
    got: dict[str, Got] = field(default_factory=dict)

    async def ask(self, name: str) -> None:
        connection = await self.network.connect("gateway.test", 80)
        request = chat_request(stream=True, content=name, request_id=name)
        await connection.send_all(request)
        self.got[name] = await Reader(connection).read()
        await connection.aclose()

    def attempts(self) -> dict[str, list[tuple[str, str, str]]]:
        """By the request: of each attempt the revision of its path, model, override."""
        found: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for provider in self.providers.values():
            for seen in provider.seen:
                assert seen.body is not None
                body = json.loads(seen.body)
                name = body["messages"][0]["content"]
                revision = seen.path.split("/")[1].removeprefix("r")
                found[name].append((revision, body["model"][1:], body["user"][1:]))
        return found


async def found_town(nursery: trio.Nursery, folder: Path) -> Town:
    network = MemoryNetwork(latency_s=0.01)
    providers = {}
    behaviours: dict[str, Behaviour] = {"sick": SICK, "well": a_stream(gap_s=GAP_S)}
    for name, behaviour in behaviours.items():

        def behave(_: object, __: int, does: Behaviour = behaviour) -> Behaviour:
            return does

        providers[name] = provider = SimulatedProvider(behave)
        await nursery.start(provider.serve, [network.listen(f"{name}.test", 80)])

    path = folder / "policy.yaml"
    files = WatchedFiles(path, {})
    files.scan()
    seen = files.look()
    load = partial(load_policy, path, environ={"KEY": KEY})
    policy = load()
    records: list[ExchangeRecord] = []
    ids = count(1)
    upstream = PooledUpstream(connect=network.connect)
    relay = Relay(
        upstream=upstream,
        fleet=Fleet(),
        recorder=records.append,
        wall_clock=lambda: 0.0,
    )
    gateway = Gateway(
        policy=policy,
        keyring=Keyring(policy.access_keys),
        relay=relay,
        metrics=Metrics(slugs=policy.routes),
        new_id=lambda: str(uuid.UUID(int=next(ids))),
    )
    server = Server(create_app(gateway), Limits(sends_date=False))
    town = Town(network, gateway, server, providers, records)
    reloader = Reloader(
        files=files,
        seen=seen,
        load=load,
        gateway=gateway,
        retain=upstream.retain,
        on_loaded=lambda _, news: town.reloads.append(news),
        on_refused=town.refusals.append,
        on_unchanged=lambda: None,
    )
    nursery.start_soon(reloader.run)
    listener = network.listen("gateway.test", 80)
    await nursery.start(trio.serve_listeners, server.serve_stream, [listener])
    return town


async def test_a_hundred_reloads_under_load_are_noticed_by_nobody(
    nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock
) -> None:
    # The files are read by threads, which take real time: a clock that jumps at once
    # would keep the interpreter's lock from them.
    autojump_clock.autojump_threshold = 0.001
    path, secret = tmp_path / "policy.yaml", tmp_path / "key"
    path.write_text(POLICY.format(n=0))
    secret.write_text("sk-0")
    town = await found_town(nursery, tmp_path)
    is_over = False

    async def client(number: int) -> None:
        for visit in count():
            if is_over:
                return
            await town.ask(f"c{number}-{visit}")
            await trio.sleep(0.1 * number)

    async with trio.open_nursery() as clients:
        for number in range(CLIENTS):
            clients.start_soon(client, number)
        for revision in range(1, RELOADS + 1):
            if revision % 10 == 0:  # in between, somebody saves a mistake
                refused = len(town.refusals)
                path.write_text(WRONG)
                await until(lambda n=refused: len(town.refusals) > n)
            secret.write_text(f"sk-{revision}")
            new = tmp_path / "new"
            new.write_text(POLICY.format(n=revision))
            new.rename(path)
            slug = f"extra{revision}"
            await until(lambda slug=slug: slug in town.gateway.policy.routes)
        is_over = True

    assert len(town.reloads) == RELOADS
    assert len(town.refusals) == RELOADS // 10
    assert len(town.got) > 10 * CLIENTS
    whole = b"".join(GOOD_EVENTS)
    for name, got in town.got.items():
        assert (got.status, got.ending, got.body) == (200, "whole", whole), name
    assert {record.outcome for record in town.records} == {Outcome.COMPLETED}
    endings = {seen.ending for p in town.providers.values() for seen in p.seen}
    assert endings == {RequestEnding.ANSWERED}
    for name, attempts in town.attempts().items():
        revisions = {revision for attempt in attempts for revision in attempt}
        assert len(revisions) == 1, (name, attempts)
    lasted_through = [
        record.duration_s for record in town.records if record.duration_s > 5 * GAP_S
    ]
    assert lasted_through, "streams were open while the policy changed"
    await assert_nothing_is_left(town)


async def until(is_so: Callable[..., bool]) -> None:
    """Wait for what a thread does, which takes no virtual time."""
    ends_at = time.monotonic() + STUCK_S
    while not is_so():
        assert time.monotonic() < ends_at
        await trio.sleep(0.1)


async def assert_nothing_is_left(town: Town) -> None:
    """Neither connections to the places of old policies, nor their health."""
    await trio.sleep(1.0)
    fleet, policy = town.gateway.relay.fleet, town.gateway.policy
    fleet.adopt(policy, trio.current_time())
    targets = {t.id for route in policy.routes.values() for t in route.targets}
    assert set(fleet._healths) <= targets
    assert set(fleet._routes) <= set(policy.routes)
    assert all(h.limiter.in_flight == 0 for h in fleet._healths.values())
    upstream = town.gateway.relay.upstream
    assert isinstance(upstream, PooledUpstream)
    await upstream.retain(())
    await trio.sleep(1.0)
    assert town.server.connections == 0
    for provider in town.providers.values():
        assert provider.connections == 0


def test_the_policies_of_the_test_differ_in_all_that_is_watched(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk")

    def policy(revision: int) -> Policy:
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY.format(n=revision))
        return load_policy(path, environ={"KEY": KEY})

    one, other = policy(1), policy(2)
    for a, b in zip(
        one.routes["chat"].targets, other.routes["chat"].targets, strict=True
    ):
        assert a.account.base_url != b.account.base_url
        assert a.model != b.model
        assert a.overrides != b.overrides
