"""Streams through the whole gateway: ordinary ones, cut ones, and a stalled one."""

import json
import shutil
import tracemalloc
from collections.abc import Awaitable, Callable

import httpx
import pytest
import trio

from tests.chaos.client import Reader
from tests.factories import KEY, a_policy, a_route, with_timeouts
from tests.relay.driver import DONE, EVENT_STREAM, an_event
from tests.serving.doors import dial
from tests.sockets.gateway import (
    STUCK_S,
    OpenGateway,
    always,
    chat_body,
    chat_request,
    eventually,
    open_gateway,
    weather,
)
from trio_gateway.chaos.answers import Asked, Pace, Voice, stream_events
from trio_gateway.chaos.script import Script, Send
from trio_gateway.chaos.seen import RequestEnding
from trio_gateway.relay.record import Outcome

PACE = Pace(tokens=20, gap_s=0.01)
EVENTS = stream_events(Asked(model="m", is_stream=True), Voice(pace=PACE))
WHOLE = b"".join((*EVENTS.roles, *EVENTS.tokens, *EVENTS.tail))

Stream = Callable[[OpenGateway], Awaitable[bytes]]


async def by_httpx(gateway: OpenGateway, *, model: str = "chat") -> bytes:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream(
            "POST",
            f"{gateway.url}/chat/completions",
            headers=headers,
            content=chat_body(stream=True, model=model),
        ) as answer,
    ):
        return b"".join([chunk async for chunk in answer.aiter_raw()])


async def by_curl(gateway: OpenGateway) -> bytes:
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--no-buffer",
        "--noproxy",
        "*",
    ]
    command += ["--header", f"authorization: Bearer {KEY}"]
    command += ["--header", "content-type: application/json"]
    command += ["--data-binary", chat_body(stream=True).decode()]
    command.append(f"{gateway.url}/chat/completions")
    done = await trio.run_process(command, capture_stdout=True)
    return bytes(done.stdout)


STREAMS: dict[str, Stream] = {"httpx": by_httpx}
if shutil.which("curl"):
    STREAMS["curl"] = by_curl


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
async def test_ordinary_clients_get_every_byte_of_the_stream(
    stream: Stream, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(
        nursery, a_policy(), a=weather("reset"), b=weather(pace=PACE)
    )

    assert await stream(gateway) == WHOLE

    (record,) = await gateway.recorded()
    assert record.outcome is Outcome.COMPLETED
    assert record.bytes_out == len(WHOLE)


@pytest.mark.parametrize("fault", ["cut=2000", "reset=2000", "eof=2000", "no_finish"])
async def test_a_stream_cut_upstream_ends_visibly_broken(
    fault: str, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(
        nursery, a_policy(), a=weather(fault, pace=PACE), b=weather()
    )
    stream = await dial(gateway.port)
    await stream.send_all(chat_request(stream=True))

    with trio.fail_after(STUCK_S):
        got = await Reader(stream).read()
    await stream.aclose()

    assert got.headers["transfer-encoding"] == "chunked"
    assert got.ending in {"cut", "reset"}  # closed, and there was no last chunk
    passed, _, error = got.body.removesuffix(b"\n\n").rpartition(b"\n\n")
    assert WHOLE.startswith(passed + b"\n\n")
    assert passed.count(b"\n\n") > 3
    said = json.loads(error.removeprefix(b"data: "))["error"]
    assert said["code"] == "stream_interrupted"
    assert (await gateway.recorded())[0].outcome is Outcome.INTERRUPTED


# Far more than sockets hold, so that a client that does not read stalls its sender.
BULKY = an_event("x" * 16_000)
FLOOD = Script(headers=EVENT_STREAM, steps=(Send(BULKY),) * 20_000)

# Of a stalled stream, the gateway itself holds a read, a piece and an event or two.
HELD_BYTES_MAX = 1024 * 1024


async def test_a_client_that_stops_reading_is_left_and_disturbs_nobody(
    nursery: trio.Nursery,
) -> None:
    hasty = with_timeouts(client_stall_s=0.5)
    policy = a_policy(
        a_route("a", slug="flood", timeouts=hasty), a_route("b", slug="other")
    )
    gateway = await open_gateway(
        nursery, policy, a=always(FLOOD), b=weather(pace=Pace(tokens=40, gap_s=0.01))
    )
    stream = await dial(gateway.port, receive_buffer=4096)
    tracemalloc.start()
    try:
        await stream.send_all(chat_request(stream=True, model="flood"))
        whole = await by_httpx(gateway, model="other")
        _, held_bytes_max = tracemalloc.get_traced_memory()
        records = {record.model: record for record in await gateway.recorded(2)}
    finally:
        tracemalloc.stop()

    assert whole.endswith(DONE)
    assert records["other"].outcome is Outcome.COMPLETED
    assert records["flood"].outcome is Outcome.CANCELLED
    assert records["flood"].detail == "the client stopped reading"
    assert records["flood"].duration_s >= hasty.client_stall_s
    (seen,) = gateway.providers["a"].seen
    assert await eventually(lambda: seen.ending is RequestEnding.CLIENT_LEFT)
    assert held_bytes_max < HELD_BYTES_MAX
    assert seen.bytes_sent < len(FLOOD.body) / 4
    with trio.fail_after(STUCK_S):
        assert (await Reader(stream).read()).ending in {"cut", "reset"}
    await stream.aclose()
