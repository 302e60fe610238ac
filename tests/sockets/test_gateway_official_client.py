"""The official OpenAI client against the gateway: what it gets, and what it raises."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import openai
import pytest
import trio

from tests.factories import KEY, a_policy, a_route, an_access_key, with_timeouts
from tests.sockets.gateway import open_gateway, weather
from trio_gateway.chaos.provider.server import Behave
from trio_gateway.chaos.vocabulary.answers import Asked, Pace, Voice, completion
from trio_gateway.policy.route import Patience, Policy
from trio_gateway.relay.port import Connect
from trio_gateway.relay.record import Outcome

PACE = Pace(tokens=5)
GOOD = weather(pace=PACE)
ALONE = a_policy(a_route("a"))
TEXT = json.loads(completion(Asked(model="m"), Voice(pace=PACE)))["choices"][0][
    "message"
]["content"]

# Far above what an answer takes, and what `retry-after` asks for.
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Official:
    """The official client, used in one of its four ways."""

    is_async: bool
    is_stream: bool

    async def ask(
        self,
        url: str,
        *,
        key: str = KEY,
        retries: int = openai.DEFAULT_MAX_RETRIES,
        **fields: object,
    ) -> str:
        """Return the text of an answer; raise what the client raises."""
        options = {"api_key": key, "base_url": url, "timeout": PATIENCE_S}
        wish = {
            "model": "chat",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": self.is_stream,
            **fields,
        }
        if self.is_async:
            coroutine = self._ask_asyncio(options, wish, retries)
            return await trio.to_thread.run_sync(asyncio.run, coroutine)
        return await trio.to_thread.run_sync(self._ask, options, wish, retries)

    def _ask(
        self, options: Mapping[str, object], wish: Mapping[str, object], retries: int
    ) -> str:
        with openai.OpenAI(max_retries=retries, **options) as client:  # type: ignore[arg-type] # typed by name
            answer = client.chat.completions.create(**wish)  # type: ignore[call-overload] # as above
            if not self.is_stream:
                return str(answer.choices[0].message.content)
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)

    async def _ask_asyncio(
        self, options: Mapping[str, object], wish: Mapping[str, object], retries: int
    ) -> str:
        async with openai.AsyncOpenAI(max_retries=retries, **options) as client:  # type: ignore[arg-type] # typed by name
            answer = await client.chat.completions.create(**wish)  # type: ignore[call-overload] # as above
            if not self.is_stream:
                return str(answer.choices[0].message.content)
            parts = [part.choices[0].delta.content async for part in answer]
            return "".join(part or "" for part in parts)


SYNC = Official(is_async=False, is_stream=False)
WAYS = {
    "sync": SYNC,
    "sync stream": Official(is_async=False, is_stream=True),
    "async": Official(is_async=True, is_stream=False),
    "async stream": Official(is_async=True, is_stream=True),
}
every_way = pytest.mark.parametrize("client", WAYS.values(), ids=WAYS.keys())


@every_way
async def test_it_gets_the_answer_of_the_target_behind_a_failing_one(
    client: Official, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(nursery, a_policy(), a=weather("status=503"), b=GOOD)

    assert await client.ask(gateway.url) == TEXT

    (record,) = await gateway.recorded()
    assert record.outcome is Outcome.COMPLETED
    assert [attempt.status for attempt in record.attempts] == [503, 200]


@every_way
async def test_it_keeps_its_connection_for_the_next_request(
    client: Official, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(nursery, ALONE, a=GOOD)

    for _ in range(3):
        await client.ask(gateway.url)

    assert gateway.providers["a"].connections == 1
    assert [one.status for one in gateway.seen] == [200] * 3


@dataclass(frozen=True)
class Row:
    """One row of the table of answers, and how to get it."""

    raises: type[openai.APIStatusError]
    status: int
    code: str
    provider: Behave = GOOD
    policy: Policy = ALONE
    key: str = KEY
    fields: Mapping[str, object] = field(default_factory=dict)
    retries: int = openai.DEFAULT_MAX_RETRIES
    upstream_requests: int = 0
    connect: Connect | None = None


async def _a_bug_of_ours(_host: str, _port: int) -> trio.abc.Stream:
    raise LookupError


HASTY = with_timeouts(
    first_token=Patience(0.1, 0.2, is_hard_written=True),
    answer=Patience(0.1, 0.2, is_hard_written=True),
    precommit_s=0.5,
)
FULL = replace(ALONE, gateway=replace(ALONE.gateway, max_in_flight=0))
OTHERS_ONLY = an_access_key(models=frozenset({"others"}))

ROWS = {
    "a wrong key": Row(
        openai.AuthenticationError, 401, "unauthorized", key="tg-nobody's"
    ),
    "a model that the key may not use": Row(
        openai.PermissionDeniedError,
        403,
        "forbidden",
        policy=a_policy(keys=[OTHERS_ONLY]),
    ),
    "no messages": Row(
        openai.BadRequestError, 400, "bad_request", fields={"messages": []}
    ),
    "wrong types": Row(
        openai.UnprocessableEntityError, 422, "bad_request", fields={"messages": "hi"}
    ),
    "an unknown model": Row(
        openai.NotFoundError, 404, "not_found", fields={"model": "chit"}
    ),
    "a body too large": Row(
        openai.APIStatusError,
        413,
        "payload_too_large",
        policy=a_policy(max_body_bytes=20),
    ),
    "an upstream's bad request": Row(
        openai.BadRequestError,
        400,
        "context_length_exceeded",
        provider=weather("error=context_length"),
        upstream_requests=1,
    ),
    "an upstream's unprocessable entity": Row(
        openai.UnprocessableEntityError,
        422,
        "invalid_request",
        provider=weather("error=unprocessable"),
        upstream_requests=1,
    ),
    "throttled": Row(
        openai.RateLimitError,
        429,
        "rate_limited",
        provider=weather("status=429,retry_after=90s"),
        upstream_requests=1,
    ),
    "a deadline": Row(
        openai.InternalServerError,
        504,
        "deadline_exceeded",
        provider=weather("silence"),
        policy=a_policy(a_route("a", timeouts=HASTY, attempts_max=1)),
        upstream_requests=1,
    ),
    "nothing sent": Row(
        openai.InternalServerError, 503, "unavailable", policy=FULL, retries=0
    ),
    "failed otherwise": Row(
        openai.InternalServerError,
        502,
        "upstream_failed",
        provider=weather("status=500"),
        policy=a_policy(a_route("a", attempts_max=1)),
        upstream_requests=1,
    ),
    "a bug of ours": Row(
        openai.InternalServerError, 500, "internal_error", connect=_a_bug_of_ours
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("way", ["sync", "async stream"])
async def test_each_error_has_its_own_exception_and_is_not_asked_for_again(
    way: str, row: Row, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(
        nursery, row.policy, connect=row.connect, a=row.provider
    )

    with pytest.raises(openai.APIStatusError) as raised:
        await WAYS[way].ask(gateway.url, key=row.key, retries=row.retries, **row.fields)

    (record,) = await gateway.recorded()
    error = raised.value
    assert type(error) is row.raises
    assert (error.status_code, str(error.code)) == (row.status, row.code)
    assert error.request_id == record.request_id
    assert gateway.chats.total() == 1
    assert len(gateway.seen) == row.upstream_requests


@pytest.mark.parametrize(
    ("method", "path", "headers", "raises", "status"),
    [
        ("post", "/nowhere", {}, openai.NotFoundError, 404),
        ("get", "/chat/completions", {}, openai.APIStatusError, 405),
        (
            "post",
            "/chat/completions",
            {"Content-Type": "text/plain"},
            openai.APIStatusError,
            415,
        ),
    ],
)
async def test_a_strange_request_has_an_exception_as_well(
    method: str,
    path: str,
    headers: Mapping[str, str],
    raises: type[Exception],
    status: int,
    nursery: trio.Nursery,
) -> None:
    gateway = await open_gateway(nursery, ALONE, a=GOOD)

    def ask() -> None:
        with openai.OpenAI(api_key=KEY, base_url=gateway.url) as client:
            send = getattr(client, method)
            send(path, cast_to=object, options={"headers": headers})

    with pytest.raises(openai.APIStatusError) as raised:
        await trio.to_thread.run_sync(ask)

    assert type(raised.value) is raises
    assert raised.value.status_code == status


async def test_targets_that_failed_are_not_tried_thrice_over(
    nursery: trio.Nursery,
) -> None:
    gateway = await open_gateway(
        nursery, a_policy(), a=weather("status=500"), b=weather("reset")
    )

    with pytest.raises(openai.InternalServerError) as raised:
        await SYNC.ask(gateway.url)

    assert raised.value.response.headers["x-should-retry"] == "false"
    assert len(gateway.seen) == 2
    assert gateway.chats.total() == 1


async def test_a_throttled_one_comes_back_when_it_is_told_to(
    nursery: trio.Nursery,
) -> None:
    gateway = await open_gateway(
        nursery,
        a_policy(a_route("a", attempts_max=1)),
        a=weather("status=429,retry_after=1s,times=1"),
    )
    began_at = trio.current_time()

    await SYNC.ask(gateway.url)

    assert [record.status for record in await gateway.recorded(2)] == [429, 200]
    assert [one.status for one in gateway.seen] == [429, 200]
    assert trio.current_time() - began_at >= 1.0


@pytest.mark.parametrize("way", ["sync stream", "async stream"])
@pytest.mark.parametrize("fault", ["cut=900", "reset=900", "eof=900", "error_in_200=3"])
async def test_an_interrupted_stream_raises_and_is_not_asked_for_again(
    fault: str, way: str, nursery: trio.Nursery
) -> None:
    gateway = await open_gateway(nursery, a_policy(), a=weather(fault), b=GOOD)

    with pytest.raises(openai.APIError) as raised:
        await WAYS[way].ask(gateway.url)

    assert type(raised.value) is openai.APIError
    assert raised.value.code == "stream_interrupted"
    (record,) = await gateway.recorded()
    assert record.outcome is Outcome.INTERRUPTED
    assert len(gateway.seen) == gateway.chats.total() == 1
