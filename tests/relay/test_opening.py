"""Everything that must still fail over before the commit point, does."""

import gzip
import json
from dataclasses import replace

import pytest
import trio

from tests.factories import a_route, with_timeouts
from tests.relay.driver import (
    DONE,
    GOOD_EVENTS,
    GOOD_JSON,
    ROLE,
    SICK,
    a_body,
    a_request,
    a_run,
    a_stream,
    an_event,
    events_in,
)
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
    Send,
)
from trio_gateway.failover.failures import Failure, FailureClass, UpstreamError
from trio_gateway.policy.route import Account, Patience, ProviderKind, Secret
from trio_gateway.relay.opening import (
    OPENING_BYTES_MAX,
    Body,
    body_of,
    without_secrets,
)
from trio_gateway.relay.record import Outcome
from trio_gateway.wire.encoding import PIECE_BYTES_MAX

ERROR_EVENT = b'data: {"error": {"message": "boom", "code": 500}}\n\n'
COMMENT = b": keep-alive\n\n"

BAD_STREAMS: dict[str, tuple[Behaviour, FailureClass]] = {
    "an error status": (SICK, FailureClass.SERVER_ERROR),
    "an error event inside a 200": (a_stream(ERROR_EVENT), FailureClass.SERVER_ERROR),
    "a role, then an error event": (
        a_stream(ROLE, ERROR_EVENT),
        FailureClass.SERVER_ERROR,
    ),
    "a token and an error in one piece": (
        a_stream(an_event("x") + ERROR_EVENT),
        FailureClass.SERVER_ERROR,
    ),
    "a JSON error inside a 200": (
        a_body(b'{"error": {"message": "no", "code": "rate_limit_exceeded"}}'),
        FailureClass.RATE_LIMIT,
    ),
    "an empty body": (a_body(b""), FailureClass.BAD_ANSWER),
    "nothing but comments": (a_stream(COMMENT, COMMENT), FailureClass.BAD_ANSWER),
    "a role, then the end": (a_stream(ROLE), FailureClass.BAD_ANSWER),
    "a role, then [DONE]": (a_stream(ROLE, DONE), FailureClass.BAD_ANSWER),
    "a role, then silence": (
        a_stream(ROLE, ending=Ending.HANG),
        FailureClass.TIMEOUT,
    ),
    "a role, then a cut": (a_stream(ROLE, ending=Ending.CUT), FailureClass.BAD_ANSWER),
    "a role, then a reset": (
        a_stream(ROLE, ending=Ending.RESET),
        FailureClass.BAD_ANSWER,
    ),
    "HTML that says it is events": (
        a_stream(b"<html>Bad Gateway</html>"),
        FailureClass.BAD_ANSWER,
    ),
    "events that are not JSON": (a_stream(b"data: {oops\n\n"), FailureClass.BAD_ANSWER),
    "an opening without end": (
        a_stream(*[COMMENT * 1000] * (OPENING_BYTES_MAX // len(COMMENT * 1000) + 2)),
        FailureClass.BAD_ANSWER,
    ),
    "a broken gzip": (
        a_body(b"\x1f\x8b\x08 broken", headers=[("content-encoding", "gzip")]),
        FailureClass.BAD_ANSWER,
    ),
    "an encoding nobody asked for": (
        a_body(b"...", headers=[("content-encoding", "br")]),
        FailureClass.BAD_ANSWER,
    ),
    "a redirect": (
        a_body(b"", status=302, headers=[("location", "/")]),
        FailureClass.BAD_ANSWER,
    ),
    "silence": (Refusal.SILENCE, FailureClass.TIMEOUT),
    "a refused connection": (Refusal.CONNECT_REFUSED, FailureClass.CONNECT),
    "a connection never made": (Refusal.CONNECT_HANG, FailureClass.CONNECT),
    "closed without an answer": (Refusal.CLOSE, FailureClass.RESET),
    "reset without an answer": (Refusal.RESET, FailureClass.RESET),
    "an error whose body never ends": (
        Script(status=500, steps=(Send(b"{"),), ending=Ending.HANG),
        FailureClass.SERVER_ERROR,
    ),
    "a refused credential": (
        a_body(b'{"error": {"message": "bad key sk-a"}}', status=401),
        FailureClass.AUTH,
    ),
}


@pytest.mark.parametrize("name", BAD_STREAMS)
async def test_before_the_commit_point_a_stream_fails_over(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    behaviour, kind = BAD_STREAMS[name]

    run = await a_run(a_route("ab"), a=[behaviour], b=[a_stream()]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)
    assert run.client.is_finished
    first, second = run.record.attempts
    assert (first.target, first.failure) == ("a/m", kind)
    assert (second.target, second.failure) == ("b/m", None)
    assert run.record.outcome is Outcome.COMPLETED
    assert run.upstream.left_open == []
    assert all(call.closes <= 1 for call in run.upstream.calls)


BAD_ANSWERS: dict[str, tuple[Behaviour, FailureClass]] = {
    "cut": (
        a_body(GOOD_JSON[:-9], ending=Ending.CUT),
        FailureClass.BAD_ANSWER,
    ),
    "shorter than it says, but closed cleanly": (
        a_body(GOOD_JSON[:-9], ending=Ending.EOF),
        FailureClass.BAD_ANSWER,
    ),
    "empty": (a_body(b""), FailureClass.BAD_ANSWER),
    "not JSON": (a_body(b"upstream connect error"), FailureClass.BAD_ANSWER),
    "HTML": (a_body(b"<!doctype html>"), FailureClass.BAD_ANSWER),
    "without choices": (a_body(b'{"choices": []}'), FailureClass.BAD_ANSWER),
    "an error inside a 200": (
        a_body(b'{"error": "model is loading"}'),
        FailureClass.SERVER_ERROR,
    ),
    "events": (a_stream(), FailureClass.BAD_ANSWER),
    "half, then silence": (
        a_body(GOOD_JSON[:20], ending=Ending.HANG),
        FailureClass.TIMEOUT,
    ),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_a_plain_answer_that_is_none_fails_over(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    behaviour, kind = BAD_ANSWERS[name]

    run = a_run(a_route("ab"), a=[behaviour], b=[a_body()])
    await run.go(a_request(stream=False))

    assert run.client.received == GOOD_JSON
    assert run.client.is_finished
    assert [attempt.failure for attempt in run.record.attempts] == [kind, None]
    assert run.upstream.left_open == []


async def test_half_an_answer_then_silence_costs_the_idle_limit_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    half = a_body(GOOD_JSON[:20], ending=Ending.HANG)
    run = a_run(a_route("ab"), a=[half], b=[a_body()])
    began = trio.current_time()

    await run.go(a_request(stream=False))

    assert trio.current_time() - began == pytest.approx(30.0)


async def test_every_cut_of_a_plain_answer_fails_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for k in range(len(GOOD_JSON)):
        cut = a_body(GOOD_JSON[:k], ending=Ending.EOF)
        run = a_run(a_route("ab"), a=[cut], b=[a_body()])
        await run.go(a_request(stream=False))
        assert run.record.target == "b/m", GOOD_JSON[:k]


async def test_one_json_answer_for_a_stream_becomes_events(
    autojump_clock: trio.testing.MockClock,
) -> None:
    run = await a_run(a_route("ab"), a=[a_body()]).go()

    *chunks, done = events_in(run.client.received)
    assert done == "[DONE]"
    assert "Hello" in json.dumps(chunks)
    assert run.client.is_finished
    assert run.record.target == "a/m"


async def test_a_good_gzip_is_decoded(autojump_clock: trio.testing.MockClock) -> None:
    squeezed = a_body(gzip.compress(GOOD_JSON), headers=[("content-encoding", "gzip")])
    run = a_run(a_route("a"), a=[squeezed])

    await run.go(a_request(stream=False))

    assert run.client.received == GOOD_JSON


class OneRead:
    """A body that one read brings whole."""

    status = 200
    headers = ((b"content-encoding", b"gzip"),)

    def __init__(self, data: bytes) -> None:
        self._left = [data, b""]

    def take_rest(self) -> bytes | None:
        return None

    async def receive(self) -> bytes | Failure:
        return self._left.pop(0)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("extra", [0, 1])
async def test_few_bytes_that_become_many_leave_turns_to_others(extra: int) -> None:
    text = b"\n" * (3 * PIECE_BYTES_MAX + extra)
    body = body_of(OneRead(gzip.compress(text)))
    assert isinstance(body, Body)
    got = await body.receive()
    assert isinstance(got, bytes)
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            piece = await body.receive()
        assert isinstance(piece, bytes)
        assert len(piece) == PIECE_BYTES_MAX
        got += piece
    while piece := await body.receive():
        assert isinstance(piece, bytes)
        got += piece
    assert got == text


async def test_events_labelled_as_text_are_a_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = a_stream()
    labelled = Script(headers=(("content-type", "text/plain"),), steps=script.steps)

    run = await a_run(a_route("a"), a=[labelled]).go()

    assert run.client.received == b"".join(GOOD_EVENTS)


async def test_a_silent_target_costs_its_hard_limit_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    patience = Patience(soft_s=0.3, hard_s=0.3, is_hard_written=True)
    route = a_route("ab", timeouts=with_timeouts(first_token=patience))
    began = trio.current_time()

    run = await a_run(route, a=[Refusal.SILENCE], b=[a_stream()]).go()

    assert run.record.target == "b/m"
    assert trio.current_time() - began == pytest.approx(0.3)


async def test_an_error_whose_body_outlasts_the_limit_is_still_that_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    patience = Patience(soft_s=0.3, hard_s=0.3, is_hard_written=True)
    route = a_route("ab", timeouts=with_timeouts(first_token=patience))
    wrong = Script(status=400, steps=(Send(b"{"),), ending=Ending.HANG)

    run = await a_run(route, a=[wrong], b=[a_stream()]).go()

    assert run.record.attempts[0].failure is FailureClass.CLIENT_ERROR
    assert len(run.upstream.calls) == 1


async def test_a_slow_drip_of_comments_is_not_a_first_token(
    autojump_clock: trio.testing.MockClock,
) -> None:
    drip = a_stream(*[COMMENT] * 100, gap_s=0.5, ending=Ending.HANG)
    began = trio.current_time()

    run = await a_run(a_route("ab"), a=[drip], b=[a_stream()]).go()

    assert run.record.attempts[0].failure is FailureClass.TIMEOUT
    assert trio.current_time() - began == pytest.approx(20.0)


async def test_the_opening_is_held_and_then_passes_as_it_came(
    autojump_clock: trio.testing.MockClock,
) -> None:
    late = Script(
        headers=(("content-type", "text/event-stream"),),
        steps=(
            Send(COMMENT),
            Send(ROLE),
            Pause(3.0),
            *(Send(event) for event in GOOD_EVENTS[1:]),
        ),
    )

    run = await a_run(a_route("ab"), a=[late]).go()

    assert run.client.received == COMMENT + b"".join(GOOD_EVENTS)
    assert run.record.first_token_s == pytest.approx(3.0)


def test_an_upstreams_words_do_not_repeat_our_credentials() -> None:
    account = Account(
        name="a",
        kind=ProviderKind.OPENAI,
        base_url="http://a.test/v1",
        api_key=Secret("sk-key"),
        failure_domain="a",
        headers=(("x-token", "token-of-ours"), ("x-team", "us")),
    )
    said = UpstreamError(
        "sk-key and token-of-ours are of no use to us",
        code="sk-key",
        type="about sk-key",
        param=None,
    )
    failure = Failure(FailureClass.CLIENT_ERROR, "request refused", 400, said=said)

    told = without_secrets(failure, account).said

    assert told == UpstreamError(
        "[removed] and [removed] are of no use to us",
        code="[removed]",
        type="about [removed]",
        param=None,
    )


@pytest.mark.parametrize("key", ["x", "g", "none", "test"])
def test_a_short_key_is_taken_out_as_a_word_of_its_own_alone(key: str) -> None:
    """Servers that want no key are often given such a one."""
    account = Account(
        name="a",
        kind=ProviderKind.OPENAI,
        base_url="http://a.test/v1",
        api_key=Secret(key),
        failure_domain="a",
    )
    words = "The maximum context length of the latest nonesuch is passed."
    said = UpstreamError(f"{words} Key: {key}.", "context_length", "exceeded", None)
    failure = Failure(FailureClass.CONTEXT_LENGTH, "too long", 400, said=said)

    told = without_secrets(failure, account).said

    assert told == replace(said, message=f"{words} Key: [removed].")
