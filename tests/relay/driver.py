"""Run one exchange against a scripted upstream, and say all that came of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from trio_gateway.chaos.upstream import ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour, Ending, Pause, Script, Send
from trio_gateway.failover.commands import Refuse
from trio_gateway.failover.failures import Failure
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route
from trio_gateway.relay.admission import Admission
from trio_gateway.relay.exchange import Exchange
from trio_gateway.relay.record import ExchangeRecord
from trio_gateway.relay.relay import Relay
from trio_gateway.relay.upstream_request import Winner
from trio_gateway.wire.chat import ChatRequest

WALL = 1_800_000_000.0
EVENT_STREAM = (("content-type", "text/event-stream"),)


def a_request(*, stream: bool = True, **fields: object) -> ChatRequest:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    return ChatRequest.parse(json.dumps({**body, "stream": stream, **fields}).encode())


def an_event(
    content: str | None = None, *, finish: str | None = None, index: int = 0
) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "choices": [choice]}).encode() + b"\n\n"


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
GOOD_EVENTS = (ROLE, an_event("Hel"), an_event("lo"), an_event(finish="stop"), DONE)
GOOD_JSON = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "finish_reason": "stop",
            }
        ],
    }
).encode()


def a_stream(
    *events: bytes, gap_s: float = 0.0, ending: Ending = Ending.CLEAN, status: int = 200
) -> Script:
    steps: list[Send | Pause] = []
    for event in events or GOOD_EVENTS:
        if gap_s:
            steps.append(Pause(gap_s))
        steps.append(Send(event))
    return Script(
        status=status, headers=EVENT_STREAM, steps=tuple(steps), ending=ending
    )


def a_body(
    body: bytes = GOOD_JSON,
    *,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),),
    ending: Ending = Ending.CLEAN,
) -> Script:
    return Script(
        status=status, headers=tuple(headers), steps=(Send(body),), ending=ending
    )


SICK = a_body(b'{"error": {"message": "boom"}}', status=503)


@dataclass
class FakeClient:
    """Keeps what it is sent; takes `slow_s` for each piece of at most 64 KiB."""

    slow_s: float = 0.0
    pieces: list[bytes] = field(default_factory=list)
    is_finished: bool = False

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)

    def __post_init__(self) -> None:
        self.scope = trio.CancelScope()

    def abandon(self) -> None:
        self.scope.cancel()

    async def send(self, data: bytes) -> None:
        await trio.sleep(self.slow_s * max(1, -(-len(data) // 65_536)))
        self.pieces.append(data)

    async def finish(self, data: bytes = b"") -> None:
        if data:
            await self.send(data)
        await trio.lowlevel.checkpoint()
        self.is_finished = True


@dataclass
class Run:
    """One exchange and its surroundings."""

    route: Route
    upstream: ScriptedUpstream
    client: FakeClient = field(default_factory=FakeClient)
    records: list[ExchangeRecord] = field(default_factory=list)
    refuse: Refuse | None = None
    failure: Failure | None = None
    name: str = "id-1"

    def __post_init__(self) -> None:
        self.relay = Relay(
            upstream=self.upstream,
            fleet=Fleet(),
            recorder=self.records.append,
            wall_clock=lambda: WALL,
        )

    @property
    def record(self) -> ExchangeRecord:
        (record,) = self.records
        return record

    async def go(self, request: ChatRequest | None = None) -> "Run":
        admission = Admission(self.name, "req-1", WALL, trio.current_time())
        exchange = Exchange(self.relay, self.route, request or a_request(), admission)
        status = None
        try:
            settled = await exchange.settle()
            if isinstance(settled, Winner):
                status = 200
                with trio.CancelScope() as self.client.scope:
                    self.failure = await exchange.deliver(settled, self.client)
            else:
                status, self.refuse = 500, settled
        finally:
            exchange.conclude(status=status)
            await exchange.aclose()
        return self


def a_run(
    route: Route, *, client: FakeClient | None = None, **behaviours: Sequence[Behaviour]
) -> Run:
    """An exchange over accounts whose behaviours are given by name."""
    return Run(
        route, ScriptedUpstream.by_account(behaviours), client=client or FakeClient()
    )


def events_in(received: bytes) -> list[object]:
    """Parse what a client got, strictly: nothing but whole, readable events."""
    assert received == b"" or received.endswith(b"\n\n"), received[-80:]
    events: list[object] = []
    for block in received.split(b"\n\n")[:-1]:
        data = block.removeprefix(b"data: ")
        if block.startswith(b":"):
            continue
        events.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return events
