"""A whole gateway on loopback: real sockets, a real HTTP client, simulated providers.

A policy's accounts keep the addresses that `tests.factories` gives them: the seam under
all connections takes `a.test` for the provider called `a`, wherever that listens.
"""

import json
import shutil
import socket
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import trio
import trio.testing

from tests.factories import KEY
from tests.serving.http2.client import request as http_2_request
from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.provider.seen import SeenRequest
from trio_gateway.chaos.provider.server import (
    Behave,
    SimulatedProvider,
    open_sockets,
    port_of,
)
from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Behaviour
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Policy
from trio_gateway.relay.port import Connect
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.process import Shutdown, Site, serve
from trio_gateway.serving.server import ServerKind
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.upstream.network import connect_tcp
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway

# Real seconds after which a test is stuck, not slow.
STUCK_S = 30.0

# The bound that a departure has over real sockets; the exact one, of 50 ms, is asserted
# in virtual time.
AT_ONCE_S = 1.0

WALL = 1_800_000_000.0


@dataclass
class OpenGateway:
    """A gateway that listens, and all that can be seen of it."""

    port: int
    upstream: PooledUpstream
    providers: Mapping[str, SimulatedProvider]
    records: list[ExchangeRecord] = field(default_factory=list)
    # By the client's request id: how often it reached the app, and when it was over.
    chats: Counter[str] = field(default_factory=Counter)
    over_at: dict[str, float] = field(default_factory=dict)
    over: dict[str, trio.Event] = field(default_factory=lambda: defaultdict(trio.Event))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def seen(self) -> list[SeenRequest]:
        """All requests that any provider saw."""
        return [one for each in self.providers.values() for one in each.seen]

    @property
    def in_flight(self) -> int:
        return sum(provider.in_flight for provider in self.providers.values())

    def record(self, record: ExchangeRecord) -> None:
        self.records.append(record)
        self.over_at[record.request_id] = trio.current_time()
        self.over[record.request_id].set()

    async def recorded(self, exchanges: int = 1) -> list[ExchangeRecord]:
        """Return the records of all exchanges once there are so many.

        A client has its answer a moment before the exchange is over.
        """
        await eventually(lambda: len(self.records) >= exchanges)
        return self.records


async def run_gateway(
    policy: Policy,
    behaves: Mapping[str, Behave],
    *,
    connect: Connect | None = None,
    other_names: Mapping[str, int] | None = None,
    server: ServerKind = "fast",
    task_status: trio.TaskStatus[OpenGateway],
) -> None:
    """Run providers, and a gateway in front of them, until cancelled."""
    ids = count(1)
    async with trio.open_nursery() as nursery:
        providers = {name: SimulatedProvider(do) for name, do in behaves.items()}
        ports = dict(other_names or {})
        for name, provider in providers.items():
            listeners = await open_sockets("127.0.0.1", 0)
            await nursery.start(provider.serve, listeners)
            ports[name] = port_of(listeners[0])
        async with PooledUpstream(
            connect=connect or connect_by_name(ports)
        ) as upstream:
            opened = OpenGateway(0, upstream, providers)
            metrics = Metrics(slugs=policy.routes)
            relay = Relay(
                upstream=upstream,
                fleet=Fleet(),
                recorder=opened.record,
                wall_clock=lambda: WALL,
            )
            gateway = Gateway(
                policy=policy,
                keyring=Keyring(policy.access_keys),
                relay=relay,
                metrics=metrics,
                new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012d}",
            )
            app = _counted(create_app(gateway), opened.chats)
            sites = [Site(app, ["127.0.0.1:0"], server=server)]
            starts = partial(serve, sites, shutdown=Shutdown())
            addresses = await nursery.start(starts)
            opened.port = int(addresses[0][0].rpartition(":")[2])
            task_status.started(opened)
            await trio.sleep_forever()


async def open_gateway(
    nursery: trio.Nursery,
    policy: Policy,
    *,
    connect: Connect | None = None,
    other_names: Mapping[str, int] | None = None,
    server: ServerKind = "fast",
    **behaves: Behave,
) -> OpenGateway:
    """Start one that lives as long as the nursery, over providers given by name.

    `other_names` are of ports where something else than a provider listens.
    """
    opened = await nursery.start(
        partial(
            run_gateway,
            policy,
            behaves,
            connect=connect,
            other_names=other_names,
            server=server,
        )
    )
    assert isinstance(opened, OpenGateway)
    await trio.testing.wait_all_tasks_blocked()  # it accepts: all its tasks are there
    return opened


def connect_by_name(ports: Mapping[str, int]) -> Connect:
    """`NAME.test` is the port called NAME on this machine."""

    async def connect(host: str, port: int) -> trio.abc.Stream:
        return await connect_tcp("127.0.0.1", ports[host.removesuffix(".test")])

    return connect


def weather(*faults: str, pace: Pace | None = None) -> Behave:
    """What a provider in this weather does, by the texts of its faults."""
    sky = Weather(
        provider="provider",
        faults=tuple(map(parse_fault, faults)),
        pace=pace or Pace(tokens=5),
    )
    return lambda request, number: sky.behaviour_for(request, seed=0, number=number)


def always(behaviour: Behaviour) -> Behave:
    return lambda _request, _number: behaviour


def chat_body(*, stream: bool, model: str = "chat", content: str = "hi") -> bytes:
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, "stream": stream}).encode()


def chat_request(
    *, stream: bool, model: str = "chat", content: str = "hi", request_id: str = "r"
) -> bytes:
    """A chat completion's request, byte for byte."""
    body = chat_body(stream=stream, model=model, content=content)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"
        f"authorization: Bearer {KEY}\r\nx-request-id: {request_id}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def chat_request_in_http_2(
    *, stream: bool, model: str = "chat", content: str = "hi", request_id: str = "r"
) -> bytes:
    """The same, as the first request of a connection of HTTP/2."""
    return http_2_request(
        "/v1/chat/completions",
        ("authorization", f"Bearer {KEY}"),
        ("x-request-id", request_id),
        ("content-type", "application/json"),
        method="POST",
        body=chat_body(stream=stream, model=model, content=content),
    )


@contextmanager
def a_black_hole() -> Iterator[int]:
    """Give a port to which no connection is ever made.

    Nobody accepts there, and Linux drops a SYN for which the queue has no room.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = stack.enter_context(socket.socket())
        queued.connect(listener.getsockname())
        port: int = listener.getsockname()[1]
        yield port


def open_files() -> int:
    """How many file descriptors this process has."""
    # The one that lists them is always among them.
    return len(list(Path("/proc/self/fd").iterdir()))


async def eventually(what: Any, *, within_s: float = STUCK_S) -> bool:
    """Wait until something is so, but not for ever."""
    with trio.move_on_after(within_s):
        while not what():  # noqa: ASYNC110 - sockets set no event
            await trio.sleep(0.005)
    return bool(what())


def _counted(app: Any, chats: Counter[str]) -> Any:
    """Count the chat completions that reach the app, before it knows of them."""

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            chats[dict(scope["headers"]).get(b"x-request-id", b"").decode()] += 1
        await app(scope, receive, send)

    return counting


def curl_can(feature: str = "") -> bool:
    """Whether there is a curl here, and one that was built with this."""
    if shutil.which("curl") is None:
        return False
    said = subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout
    return feature in said
