import json
from dataclasses import replace
from typing import Any

import pytest

from trio_gateway.chaos.vocabulary.answers import (
    CHOICES_MAX,
    TOKENS_MAX,
    Asked,
    ChatRequest,
    Pace,
    Voice,
    completion,
    good_script,
    stream_events,
)
from trio_gateway.chaos.vocabulary.script import Pause, Send

VOICE = Voice("a", seed=7, number=3, pace=Pace(tokens=5))


def asked(path: str = "/v1/chat/completions", **fields: object) -> Asked:
    return Asked.of(ChatRequest(path, json.dumps(fields).encode()))


def parsed(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    chunk = json.loads(event[6:])
    assert isinstance(chunk, dict)
    return chunk


def test_a_plain_answer_has_the_shape_of_a_chat_completion() -> None:
    answer = json.loads(completion(asked(model="gpt-4o-mini", n=2), VOICE))

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4o-mini"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
    assert answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["message"] != answer["choices"][1]["message"]
    assert answer["usage"]["completion_tokens"] == 10
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 10


def test_a_stream_says_the_same_words_as_a_plain_answer() -> None:
    plain = json.loads(completion(asked(model="m"), VOICE))
    events = stream_events(asked(model="m", stream=True), VOICE)
    chunks = [parsed(event) for event in (*events.roles, *events.tokens)]

    words = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert words == plain["choices"][0]["message"]["content"]
    assert {chunk["id"] for chunk in chunks} == {plain["id"]}


def test_a_stream_has_role_tokens_finish_and_done_in_that_order() -> None:
    script = good_script(asked(model="m", stream=True), VOICE)
    *chunks, done = [step.data for step in script.steps if isinstance(step, Send)]
    choices = [parsed(chunk)["choices"][0] for chunk in chunks]

    assert done == b"data: [DONE]\n\n"
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [choice["finish_reason"] for choice in choices] == [None] * 6 + ["stop"]
    assert choices[-1]["delta"] == {}


def test_usage_comes_last_and_only_when_asked_for() -> None:
    options = {"include_usage": True}
    with_usage = stream_events(
        asked(model="m", stream=True, stream_options=options), VOICE
    )
    without = stream_events(asked(model="m", stream=True), VOICE)

    usage = parsed(with_usage.usage[0])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert parsed(with_usage.tokens[0])["usage"] is None
    assert without.usage == ()
    assert "usage" not in parsed(without.tokens[0])


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_is_honoured_and_said(field: str) -> None:
    limited = Asked.of(ChatRequest("/", json.dumps({field: 2}).encode()))
    answer = json.loads(completion(limited, VOICE))
    assert answer["usage"]["completion_tokens"] == 2
    assert answer["choices"][0]["finish_reason"] == "length"


def test_answers_follow_from_provider_seed_and_number_alone() -> None:
    question = asked(model="m", stream=True)
    once = good_script(question, VOICE)

    assert good_script(question, replace(VOICE)) == once
    for other in (
        replace(VOICE, provider="b"),
        replace(VOICE, seed=8),
        replace(VOICE, number=4),
    ):
        assert good_script(question, other).body != once.body


def test_tokens_keep_their_pace_and_a_plain_answer_takes_as_long() -> None:
    pace = Pace(tokens=3, head_s=1.0, first_token_s=2.0, gap_s=0.5)
    voice = replace(VOICE, pace=pace)
    stream = good_script(asked(stream=True), voice)
    plain = good_script(asked(), voice)

    pauses = [step.seconds for step in stream.steps if isinstance(step, Pause)]
    assert pauses == [2.0, 0.5, 0.5]
    assert stream.head_after_s == 1.0
    assert plain.head_after_s == 4.0
    assert plain.declared_length == len(plain.body)


def test_an_azure_path_names_the_model() -> None:
    path = "/openai/deployments/mini-prod/chat/completions?api-version=1"
    assert asked(path).model == "mini-prod"
    assert asked(path, model="m").model == "m"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"n": 129}', b'{"n": "2"}'],
)
def test_a_request_that_no_answer_fits_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|'n'"):
        Asked.of(ChatRequest("/v1/chat/completions", body))


def test_a_greedy_request_cannot_fill_the_memory() -> None:
    question = asked(n=CHOICES_MAX, max_tokens=10**9, stream=True)
    voice = replace(VOICE, pace=Pace(tokens=10**9))
    assert len(stream_events(question, voice).tokens) <= TOKENS_MAX
