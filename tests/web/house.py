"""A whole gateway over scripted upstreams, and a client that speaks ASGI to it.

Quart's own test client stops at ten chunks; this one calls the app as a server does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf

import trio
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, HTTPScope
from quart_trio import QuartTrio

from tests.factories import KEY, a_policy
from trio_gateway.access.keys import Keyring
from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Policy
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.relay.relay import Relay
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway

WALL = 1_800_000_000.0
FIRST_ID = "00000000-0000-4000-8000-000000000001"

Fields = Sequence[tuple[str, str]]

BEARER = ("authorization", f"Bearer {KEY}")
JSON = ("content-type", "application/json")


@dataclass
class Visitor:
    """One request to an app, and what came of it.

    Args:
        body: the pieces it comes in; the last one may be all there ever is.
        is_body_whole: whether the body ends after its pieces.
        leaves_after_s: when the client departs, from the start of the request.
        reads_for_s: when the client stops reading, from the start of the request.
    """

    app: QuartTrio
    method: str
    path: str
    fields: Fields = ()
    body: Sequence[bytes] = (b"",)
    query: bytes = b""
    is_body_whole: bool = True
    leaves_after_s: float = inf
    reads_for_s: float = inf

    status: int | None = None
    answered: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    is_finished: bool = False
    ended_after_s: float | None = None

    async def visit(self) -> "Visitor":
        self._started_at = trio.current_time()
        self._unsent = list(self.body)
        self._is_over = trio.Event()
        scope: HTTPScope = {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "headers": [(name.encode(), text.encode()) for name, text in self.fields],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8080),
            "state": {},  # type: ignore[typeddict-item]  # a plain dict will do
            "extensions": {},
        }
        await self.app(scope, self._receive, self._send)
        self.ended_after_s = trio.current_time() - self._started_at
        return self

    @property
    def received(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> object:
        return json.loads(self.received)

    def field(self, name: str) -> str | None:
        values = [value for key, value in self.answered if key == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    async def _receive(self) -> ASGIReceiveEvent:
        await trio.lowlevel.checkpoint()
        if self._unsent:
            piece = self._unsent.pop(0)
            is_more = bool(self._unsent) or not self.is_body_whole
            return {"type": "http.request", "body": piece, "more_body": is_more}
        with trio.move_on_at(self._started_at + self.leaves_after_s):
            await self._is_over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: ASGISendEvent) -> None:
        await trio.lowlevel.checkpoint()
        if trio.current_time() >= self._started_at + self.reads_for_s:
            await trio.sleep_forever()
        if message["type"] == "http.response.start":
            assert self.status is None
            self.status = message["status"]
            self.answered = [
                (name.decode().lower(), value.decode())
                for name, value in message["headers"]
            ]
        elif message["type"] == "http.response.body":
            assert self.status is not None
            assert not self.is_finished
            if message["body"]:
                self.chunks.append(bytes(message["body"]))
            if not message["more_body"]:
                self.is_finished = True
                self._is_over.set()
                # As real servers do: the departure is told before this call returns.
                await trio.testing.wait_all_tasks_blocked()


@dataclass
class House:
    """A gateway, its upstream's log, and its records."""

    gateway: Gateway
    upstream: ScriptedUpstream
    records: list[ExchangeRecord]
    app: QuartTrio

    @property
    def record(self) -> ExchangeRecord:
        (record,) = self.records
        return record

    async def chat(
        self,
        content: object = "hi",
        *,
        fields: Fields = (BEARER, JSON),
        model: str = "chat",
        stream: bool | None = None,
        leaves_after_s: float = inf,
        reads_for_s: float = inf,
    ) -> Visitor:
        body: dict[str, object] = {"model": model}
        body["messages"] = [{"role": "user", "content": content}]
        if stream is not None:
            body["stream"] = stream
        return await self.post(
            json.dumps(body).encode(),
            fields=fields,
            leaves_after_s=leaves_after_s,
            reads_for_s=reads_for_s,
        )

    async def post(
        self,
        *body: bytes,
        fields: Fields = (BEARER, JSON),
        is_body_whole: bool = True,
        leaves_after_s: float = inf,
        reads_for_s: float = inf,
    ) -> Visitor:
        return await Visitor(
            self.app,
            "POST",
            "/v1/chat/completions",
            fields,
            body,
            is_body_whole=is_body_whole,
            leaves_after_s=leaves_after_s,
            reads_for_s=reads_for_s,
        ).visit()

    async def get(
        self,
        path: str,
        *,
        query: bytes = b"",
        fields: Fields = (BEARER,),
        method: str = "GET",
    ) -> Visitor:
        return await Visitor(self.app, method, path, fields, query=query).visit()


def a_house(policy: Policy | None = None, **behaviours: Sequence[Behaviour]) -> House:
    """A gateway over accounts whose behaviours are given by name."""
    policy = policy or a_policy()
    upstream = ScriptedUpstream.by_account(behaviours)
    records: list[ExchangeRecord] = []
    metrics = Metrics(slugs=policy.routes)
    ids = count(1)

    def record(exchange: ExchangeRecord) -> None:
        metrics.observe(exchange)
        records.append(exchange)

    gateway = Gateway(
        policy=policy,
        keyring=Keyring(policy.access_keys),
        relay=Relay(
            upstream=upstream, fleet=Fleet(), recorder=record, wall_clock=lambda: WALL
        ),
        metrics=metrics,
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012d}",
    )
    return House(gateway, upstream, records, create_app(gateway))
