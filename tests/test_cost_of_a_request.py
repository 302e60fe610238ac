"""What a request costs from its first byte to its log line, and a chunk, in calls.

A count is the same on every machine, so a step that is added cannot hide in noise.
Between the seams everything is the product's own: its serving loop, its app, its
exchange and engine, its pool, its metrics and its log. Whoever needs more calls than
this has a reason to say, and raises the number with it; README lists what each step of
the way down was worth.
"""

import json
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median

import pytest
import trio

from tests.factories import KEY, a_policy
from tests.failover.test_cost import calls_in
from tests.relay.driver import DONE, GOOD_JSON, an_event
from trio_gateway.access.keys import Keyring
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.fleet import Fleet
from trio_gateway.relay.port import Call, UpstreamStream
from trio_gateway.relay.relay import Relay
from trio_gateway.serving.addresses import Address
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.connection import Connection
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue, Sweeper
from trio_gateway.serving.fast.wire import Owner
from trio_gateway.serving.limits import Limits
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.recent import RecentExchanges
from trio_gateway.telemetry.recorder import Recorder
from trio_gateway.upstream.links import Link, Tls
from trio_gateway.upstream.pool import Pool
from trio_gateway.web.app import create_app
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.ids import Ids

WARM_UP = 50
REQUESTS = 50
CALLS_MAX = 650  # 631 on 30 November 2026
CHUNK_CALLS_MAX = 48  # 45 on that day


def a_request(**more: object) -> bytes:
    messages = [{"role": "user", "content": "x" * 400}]
    body = json.dumps({"model": "chat", "messages": messages, **more}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n"
        b"authorization: Bearer %b\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
    )


REQUEST = a_request()
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(GOOD_JSON), GOOD_JSON)
)

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class ReadyWire:
    """A client whose requests are all here, and that takes every answer at once."""

    scheme: str = "http"
    client: Address = None
    server: Address = None

    def __init__(self, owner: Owner, requests: int, request: bytes) -> None:
        self._left = requests
        self._request = request
        self.answers: list[bytes] = []

    async def carry(self, conversation: Callable[[], Awaitable[None]]) -> None:
        await conversation()

    async def receive(self) -> bytes:
        self._left -= 1
        return self._request if self._left >= 0 else b""

    async def send(self, data: bytes) -> None:
        self.answers.append(data)

    def interrupt(self) -> None:
        """Nobody waits."""

    def set_torn(self, *, is_torn: bool) -> None: ...

    async def say_last(self, data: bytes, *, must_linger: bool) -> None:
        """The client has left."""

    async def close(self) -> None:
        """There is nothing to close."""


class ReadyLink:
    """A provider that answers in the instant in which it is asked."""

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        return b""

    async def receive(self) -> bytes:
        return ANSWER

    def receive_nowait(self) -> bytes | None:
        return None

    def is_readable(self) -> bool:
        return False

    def abort(self) -> None:
        """Nobody waits."""

    async def aclose(self) -> None:
        """There is nothing to close."""


class SpeakingLink(ReadyLink):
    """One that says so many words, an event and a read for each."""

    def __init__(self, words: int) -> None:
        events = [an_event(f"word {number}") for number in range(words)]
        parts = (*events, an_event(finish="stop"), DONE, b"")
        self._answer = [STREAM_HEAD, *map(in_a_chunk, parts)]
        self._reads = iter(self._answer)

    async def send(
        self, data: bytes | memoryview, *, heeds: bool = True
    ) -> bytes | memoryview:
        self._reads = iter(self._answer)
        return b""

    async def receive(self) -> bytes:
        return next(self._reads)


def in_a_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class ReadyUpstream:
    """The product's own pool, over links to such a provider."""

    def __init__(self, link: Callable[[], Link]) -> None:
        async def dial(host: str, port: int, tls: Tls | None) -> Link:
            return link()

        trust = ssl.create_default_context()
        self._pool = Pool("http://a.test:80/v1", dial, trust)

    async def open(self, call: Call) -> UpstreamStream | Failure:
        return await self._pool.open(
            self._pool.request(call),
            connect_by=call.connect_by,
            leash=call.leash,
            now=trio.current_time(),
        )


class Town:
    """A gateway between the two, as a process puts it together."""

    def __init__(
        self, link: Callable[[], Link] = ReadyLink, request: bytes = REQUEST
    ) -> None:
        self._request = request
        policy = a_policy()
        metrics = Metrics(slugs=policy.routes)
        self.lines: list[str] = []
        recorder = Recorder(
            metrics, self.lines.append, observers=(RecentExchanges().observe,)
        )
        relay = Relay(
            upstream=ReadyUpstream(link),
            fleet=Fleet(),
            recorder=recorder.record,
            wall_clock=time.time,
        )
        keyring = Keyring(policy.access_keys)
        app = create_app(Gateway(policy, keyring, relay, metrics, Ids()))
        self._shared = Shared(app, Limits(), FailureLog(), {})
        sweeper = Sweeper()
        self._idle = DeadlineQueue(sweeper, 60.0, Connection.end_idleness)
        self._heads = DeadlineQueue(sweeper, 60.0, Connection.give_up)
        self._bodies = DeadlineQueue(sweeper, 60.0, Exchange.give_up)

    async def serve(self, requests: int) -> list[bytes]:
        wires: list[ReadyWire] = []

        def wire_to(owner: Owner) -> ReadyWire:
            wires.append(ReadyWire(owner, requests, self._request))
            return wires[0]

        connection = Connection(
            Client(wire_to),
            self._shared,
            idle=self._idle,
            parting=self._idle,
            heads=self._heads,
            bodies=self._bodies,
        )
        await connection.run()
        return wires[0].answers


def calls_of(town: Town, requests: int) -> int:
    """How many calls it takes to serve so many, where nobody ever waits."""

    def serve() -> None:
        with pytest.raises(StopIteration):
            town.serve(requests).send(None)

    return calls_in(serve)


async def test_a_plain_request_takes_no_more_calls_than_were_counted() -> None:
    town = Town()
    answers = await town.serve(WARM_UP)
    assert len(answers) == len(town.lines) == WARM_UP
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert all(answer.endswith(GOOD_JSON) for answer in answers)

    of_a_connection = calls_of(town, 0)
    of_requests = median([calls_of(town, REQUESTS) for _ in range(3)])
    assert (of_requests - of_a_connection) / REQUESTS <= CALLS_MAX


async def test_a_chunk_takes_no_more_calls_than_were_counted() -> None:
    calls = []
    for words in (20, 120):
        town = Town(partial(SpeakingLink, words), a_request(stream=True))
        answers = await town.serve(2)
        assert answers[-1].endswith(b"0\r\n\r\n")
        assert b"".join(answers).count(b"word ") == 2 * words
        calls.append(median([calls_of(town, 1) for _ in range(3)]))
    assert (calls[1] - calls[0]) / 100 <= CHUNK_CALLS_MAX
