"""Streams through the whole gateway: ordinary ones, cut ones, and a stalled one."""

import json
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial

import httpx
import pytest
import trio
from h2.errors import ErrorCodes

from tests.chaos.client import Reader
from tests.factories import KEY, a_policy, a_route, with_timeouts
from tests.relay.driver import DONE, EVENT_STREAM, an_event
from tests.serving.doors import dial
from tests.serving.http2.client import Client as Http2Client
from tests.sockets.gateway import (
    AT_ONCE_S,
    STUCK_S,
    OpenGateway,
    always,
    chat_body,
    chat_request,
    chat_request_in_http_2,
    curl_can,
    eventually,
    open_gateway,
    weather,
)
from trio_gateway.chaos.provider.seen import RequestEnding
from trio_gateway.chaos.vocabulary.answers import Asked, Pace, Voice, stream_events
from trio_gateway.chaos.vocabulary.script import Script, Send
from trio_gateway.relay.record import Outcome
from trio_gateway.serving.server import ServerKind

PACE = Pace(tokens=20, gap_s=0.01)
EVENTS = stream_events(Asked(model="m", is_stream=True), Voice(pace=PACE))
WHOLE = b"".join((*EVENTS.roles, *EVENTS.tokens, *EVENTS.tail))

Stream = Callable[[OpenGateway], Awaitable[bytes]]


async def by_httpx(
    gateway: OpenGateway, *, model: str = "chat", is_http_2: bool = False
) -> bytes:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with (
        httpx.AsyncClient(
            trust_env=False, http1=not is_http_2, http2=is_http_2
        ) as client,
        client.stream(
            "POST",
            f"{gateway.url}/chat/completions",
            headers=headers,
            content=chat_body(stream=True, model=model),
        ) as answer,
    ):
        return b"".join([chunk async for chunk in answer.aiter_raw()])


async def by_curl(gateway: OpenGateway, *options: str) -> bytes:
    command = [
        "curl",
        *options,
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


async def by_curl_in_http_2(gateway: OpenGateway) -> bytes:
    return await by_curl(gateway, "--http2-prior-knowledge")


STREAMS: dict[str, tuple[ServerKind, Stream]] = {
    "httpx": ("fast", by_httpx),
    "httpx, HTTP/2": ("hypercorn", partial(by_httpx, is_http_2=True)),
}
if curl_can():
    STREAMS["curl"] = ("fast", by_curl)
if curl_can("HTTP2"):
    STREAMS["curl, HTTP/2"] = ("hypercorn", by_curl_in_http_2)


@pytest.mark.parametrize("name", STREAMS)
async def test_ordinary_clients_get_every_byte_of_the_stream(
    name: str, nursery: trio.Nursery
) -> None:
    server, stream = STREAMS[name]
    gateway = await open_gateway(
        nursery, a_policy(), a=weather("reset"), b=weather(pace=PACE), server=server
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


@pytest.mark.parametrize("fault", ["cut=2000", "reset=2000", "eof=2000", "no_finish"])
async def test_a_stream_cut_upstream_is_reset_in_http_2(
    fault: str, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(
        nursery,
        a_policy(),
        a=weather(fault, pace=PACE),
        b=weather(),
        server="hypercorn",
    )
    async with await dial(gateway.port) as stream:
        client = Http2Client(stream)
        await stream.send_all(chat_request_in_http_2(stream=True))
        got = await client.first()

    assert (got.status, got.is_whole) == (200, False)
    assert got.reset == ErrorCodes.INTERNAL_ERROR
    assert got.fields["x-request-id"] == "r"
    passed, _, error = got.body.removesuffix(b"\n\n").rpartition(b"\n\n")
    assert WHOLE.startswith(passed + b"\n\n")
    said = json.loads(error.removeprefix(b"data: "))["error"]
    assert said["code"] == "stream_interrupted"
    assert (await gateway.recorded())[0].outcome is Outcome.INTERRUPTED


async def test_one_of_many_streams_on_a_connection_is_left_and_its_provider_freed(
    nursery: trio.Nursery,
) -> None:
    gateway = await open_gateway(
        nursery, a_policy(), a=weather(pace=PACE), b=weather(), server="hypercorn"
    )
    async with await dial(gateway.port) as stream:
        client = await Http2Client(stream).begin()
        fields = [
            ("authorization", f"Bearer {KEY}"),
            ("content-type", "application/json"),
        ]
        numbers = [
            await client.ask(
                "/v1/chat/completions",
                *fields,
                ("x-request-id", f"r{number}"),
                method="POST",
                body=chat_body(stream=True),
            )
            for number in range(10)
        ]
        for number in numbers:
            await client.part_of(number)
        left_at = trio.current_time()
        await client.leave(numbers[3])
        for number in numbers[:3] + numbers[4:]:
            got = await client.answer(number)
            assert got.is_whole
            assert got.body.endswith(DONE)
        records = {one.request_id: one for one in await gateway.recorded(10)}

    assert records.pop("r3").outcome is Outcome.CANCELLED
    assert gateway.over_at["r3"] - left_at < AT_ONCE_S
    assert {one.outcome for one in records.values()} == {Outcome.COMPLETED}
    endings = [one.ending for one in gateway.seen]
    assert endings.count(RequestEnding.CLIENT_LEFT) == 1
    assert endings.count(RequestEnding.ANSWERED) == 9


# Far more than sockets hold, so that a client that does not read stalls its sender.
BULKY = an_event("x" * 16_000)
FLOOD = Script(headers=EVENT_STREAM, steps=(Send(BULKY),) * 20_000)

# Of a stalled stream, the gateway itself holds a read, a piece and an event or two.
HELD_BYTES_MAX = 1024 * 1024


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_a_client_that_stops_reading_is_left_and_disturbs_nobody(
    version: str, nursery: trio.Nursery
) -> None:
    is_new = version == "HTTP/2"
    flood = chat_request_in_http_2 if is_new else chat_request
    hasty = with_timeouts(client_stall_s=0.5)
    policy = a_policy(
        a_route("a", slug="flood", timeouts=hasty), a_route("b", slug="other")
    )
    gateway = await open_gateway(
        nursery,
        policy,
        a=always(FLOOD),
        b=weather(pace=Pace(tokens=40, gap_s=0.01)),
        server="hypercorn" if is_new else "fast",
    )
    stream = await dial(gateway.port, receive_buffer=4096)
    tracemalloc.start()
    try:
        await stream.send_all(flood(stream=True, model="flood"))
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
        if is_new:
            got = await Http2Client(stream).first()
            assert got.reset == ErrorCodes.INTERNAL_ERROR
        else:
            assert (await Reader(stream).read()).ending in {"cut", "reset"}
    await stream.aclose()
