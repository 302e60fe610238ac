"""`trio-gateway bench departures`: how soon a departure is noticed upstream.

A simulated provider, the gateway and its clients share one process and one clock, so
that what happens at one end can be timed at the other. Everything else is real: sockets
on loopback, our server, our client of upstreams.
"""

import json
import math
import socket
import struct
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

import click
import trio

from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.server import SimulatedProvider, open_sockets, port_of
from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.worlds.weather import Weather
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.load import read_policy
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import Policy
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.process import Shutdown, Site, serve
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway

_KEY: Final = "bench"
_POLICY: Final = b"""
version: 1
providers: {simulated: {base_url: "${URL}/v1"}}
access_keys: [{name: bench, key: "${KEY}"}]
models: {bench: {targets: [{provider: simulated, model: bench}]}}
"""

# Half of the answers never reach their first token, and no other one ends by itself
# while its client is there: a plain answer has no head yet, a stream flows.
_FAULTS: Final = tuple(map(parse_fault, ("silence,rate=25%", "role_only,rate=25%")))
_ENDLESS: Final = Pace(tokens=1000, gap_s=0.05)

# A new client comes so often, and stays at most so long: some fifty at a time, each
# with four sockets here, which fits under the usual limit of 1024 open files.
_ARRIVAL_S: Final = 0.01
_STAY_MAX_S: Final = 1.0

# A departure that has not been noticed by then, after the last client left, counts as
# never noticed.
_GRACE_S: Final = 5.0

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@click.command("departures")
@click.option(
    "--clients",
    default=200,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many come and leave.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Same seed, same comings and goings."
)
@click.option("--json", "is_json", is_flag=True, help="One line for programs.")
def bench_departures(clients: int, seed: int, *, is_json: bool) -> None:
    """Measure how soon a provider sees that a client has left.

    Clients ask for an answer and leave at random moments, by closing or by resetting
    their connection: before the head, before the first token, in mid-stream, streamed
    or not. What is measured is the time from a client's close to the moment at which
    the provider sees its own connection closed.

    Exit code 1: a departure was never noticed.

    \b
    Examples:
      trio-gateway bench departures
      trio-gateway bench departures --clients 1000 --seed 7 --json
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    found = trio.run(_measure, clients, seed)
    click.echo(found.as_json() if is_json else found.as_text())
    raise SystemExit(1 if found.unnoticed else 0)


@dataclass
class Departures:
    """What was measured: who left when, and when that was noticed, on Trio's clock."""

    clients: int
    seed: int
    left_at: dict[str, float] = field(default_factory=dict)
    noticed_at: dict[str, float] = field(default_factory=dict)
    unnoticed: int = 0  # requests still open at the provider, long after all had left

    def note(self, seen: SeenRequest) -> None:
        """Take what the provider saw of a request that has ended."""
        if seen.ending is RequestEnding.CLIENT_LEFT:
            assert seen.body is not None
            assert seen.ended_at is not None
            self.noticed_at[json.loads(seen.body)["user"]] = seen.ended_at

    @property
    def early(self) -> int:
        """How many left before their request had reached the provider."""
        return self.clients - len(self.noticed_at) - self.unnoticed

    @property
    def milliseconds(self) -> dict[str, float]:
        """The distribution of the delays, by the names of its quantiles."""
        delays_s = sorted(
            at - self.left_at[client] for client, at in self.noticed_at.items()
        )
        return {
            name: round(1000 * _quantile(delays_s, share), 2)
            for name, share in _QUANTILES.items()
            if delays_s
        }

    def as_json(self) -> str:
        """Everything, on one line."""
        return json.dumps(
            {
                "benchmark": "departures",
                "clients": self.clients,
                "seed": self.seed,
                "noticed": len(self.noticed_at),
                "unnoticed": self.unnoticed,
                "early": self.early,
                "milliseconds": self.milliseconds,
            }
        )

    def as_text(self) -> str:
        """Everything, for people."""
        found = self.milliseconds
        return "\n".join(
            [
                f"departures at random moments  {self.clients:5}   (seed {self.seed})",
                f"  noticed by the provider     {len(self.noticed_at):5}",
                f"  not noticed within {_GRACE_S:g} s      {self.unnoticed:5}",
                f"  before it had the request   {self.early:5}",
                "",
                "from a client's close to the provider's notice, in milliseconds:",
                "".join(f"{name:>10}" for name in found),
                "".join(f"{value:10.2f}" for value in found.values()),
            ]
        )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


async def _measure(clients: int, seed: int) -> Departures:
    found = Departures(clients, seed)
    provider = SimulatedProvider.in_weather(
        Weather(provider="bench", faults=_FAULTS, pace=_ENDLESS),
        seed=seed,
        on_request=found.note,
    )
    async with trio.open_nursery() as nursery:
        listeners = await open_sockets("127.0.0.1", 0)
        await nursery.start(provider.serve, listeners)
        async with PooledUpstream() as upstream:
            gateway = _gateway(_policy(port_of(listeners[0])), upstream)
            site = Site(create_app(gateway), ["127.0.0.1:0"])
            start = partial(serve, [site], shutdown=Shutdown())
            addresses = await nursery.start(start)
            await _come_and_go(found, int(addresses[0][0].rpartition(":")[2]))
            with trio.move_on_after(_GRACE_S):
                while provider.in_flight:  # noqa: ASYNC110 - nobody tells of its end
                    await trio.sleep(0.01)
            found.unnoticed = provider.in_flight
            nursery.cancel_scope.cancel()
    return found


def _policy(port: int) -> Policy:
    environ = {"URL": f"http://127.0.0.1:{port}", "KEY": _KEY}
    sources = [("bench.yaml", _POLICY)]
    return resolve(read_policy(sources, environ=environ, root="bench"), revision="")


def _gateway(policy: Policy, upstream: PooledUpstream) -> Gateway:
    relay = Relay(
        upstream=upstream,
        fleet=Fleet(),
        recorder=lambda _: None,
        wall_clock=time.time,
    )
    return Gateway(
        policy=policy,
        keyring=Keyring(policy.access_keys),
        relay=relay,
        metrics=Metrics(slugs=policy.routes),
        new_id=lambda: str(uuid.uuid4()),
    )


async def _come_and_go(found: Departures, port: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(found.clients):
            nursery.start_soon(_visit, found, port, str(number))
            await trio.sleep(_ARRIVAL_S)


async def _visit(found: Departures, port: int, client: str) -> None:
    """Ask, read for a while, and leave."""
    dice = Random(f"{found.seed}/{client}")
    stays_s = dice.uniform(0.0, _STAY_MAX_S)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    if dice.random() < 0.5:
        # To linger for no time at all makes the close a reset.
        no_linger = struct.pack("ii", 1, 0)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    async with stream:
        await stream.send_all(_request(client, is_stream=dice.random() < 0.5))
        with trio.move_on_after(stays_s):
            while await stream.receive_some():
                pass
        found.left_at[client] = trio.current_time()


def _request(client: str, *, is_stream: bool) -> bytes:
    body = json.dumps(
        {
            "model": "bench",
            "messages": [{"role": "user", "content": "How long?"}],
            "stream": is_stream,
            "user": client,
        }
    )
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n"
        f"authorization: Bearer {_KEY}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()
