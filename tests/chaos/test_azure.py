import json
from typing import Any

import pytest

from trio_gateway.chaos.provider.http1 import HttpRequest
from trio_gateway.chaos.provider.server import House, SimulatedProvider
from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    Dialect,
    Pace,
    Voice,
    good_script,
    stream_events,
)
from trio_gateway.chaos.vocabulary.distortion import distort
from trio_gateway.chaos.vocabulary.error_forms import USUAL_AT_AZURE
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Pause, Script, Send

AZURE = Voice(pace=Pace(tokens=4), dialect=Dialect.AZURE)
STREAM, PLAIN = Asked("m", is_stream=True), Asked("m")
CATEGORIES = {"hate", "self_harm", "sexual", "violence"}


def frames(script: Script) -> list[Any]:
    events = script.body.split(b"\n\n")[:-2]
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def faulty(text: str, asked: Asked = STREAM) -> Script:
    behaviour = distort(parse_fault(text).effects, asked, AZURE)
    assert isinstance(behaviour, Script)
    return behaviour


def test_a_stream_begins_with_a_verdict_about_the_prompt() -> None:
    first, role, *_ = frames(good_script(STREAM, AZURE))
    assert first["choices"] == []
    verdict = first["prompt_filter_results"][0]["content_filter_results"]
    assert verdict.keys() == CATEGORIES
    assert role["choices"][0]["delta"]["role"] == "assistant"


def test_every_token_has_a_verdict_and_what_is_no_token_an_empty_one() -> None:
    _, role, *tokens, finish = frames(good_script(STREAM, AZURE))
    for frame in tokens:
        assert frame["choices"][0]["content_filter_results"].keys() == CATEGORIES
    for frame in (role, finish):
        assert frame["choices"][0]["content_filter_results"] == {}


def test_a_plain_answer_has_both_verdicts() -> None:
    answer = json.loads(good_script(PLAIN, AZURE).body)
    assert answer["prompt_filter_results"][0]["prompt_index"] == 0
    assert answer["choices"][0]["content_filter_results"].keys() == CATEGORIES


def test_tokens_come_in_blocks_that_take_as_long_as_their_tokens() -> None:
    pace = Pace(tokens=10, first_token_s=1.0, gap_s=0.1, block_tokens=4)
    script = good_script(STREAM, Voice(pace=pace))
    pauses = [step.seconds for step in script.steps if isinstance(step, Pause)]
    assert pauses == pytest.approx([1.0, 0.4, 0.4])


def test_effects_find_the_first_token_behind_the_verdict() -> None:
    events = stream_events(STREAM, AZURE)
    assert faulty("role_only").steps == tuple(map(Send, events.roles))
    slow = faulty("slow_first_token=9s").steps
    assert slow[2] == Pause(9.0)
    assert slow[3] == Send(events.tokens[0])


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
def test_a_bare_status_speaks_as_azure_does(status: int) -> None:
    answer = faulty(f"status={status}")
    error = json.loads(answer.body)["error"]
    assert answer.status == status
    assert error["code"]
    assert not error.get("type")
    assert "apim-request-id" in dict(answer.headers)
    assert status in USUAL_AT_AZURE


def test_a_filtered_answer_says_so() -> None:
    *_, finish = frames(faulty("filtered=2"))
    assert finish["choices"][0]["finish_reason"] == "content_filter"
    assert len(frames(faulty("filtered=2"))) == 2 + 2 + 1


KEY = (b"api-key", b"k")
DEPLOYMENT = "/openai/deployments/gpt/chat/completions"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"{DEPLOYMENT}?api-version=2024-10-21", (KEY,), 200),
        ("/openai/v1/chat/completions", (KEY,), 200),
        ("/openai/v1/chat/completions", ((b"authorization", b"Bearer k"),), 200),
        (f"{DEPLOYMENT}?api-version=2024-10-21", (), 401),
        (DEPLOYMENT, (KEY,), 404),
        ("/v1/chat/completions", (KEY,), 404),
    ],
)
async def test_azure_knows_its_paths_and_wants_a_key(
    path: str, headers: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    provider = SimulatedProvider(
        lambda *_: good_script(PLAIN, AZURE),
        house=House(dialect=Dialect.AZURE, needs_key=True),
    )
    request = HttpRequest(
        "POST", path, headers, b"{}", knows_chunks=True, keeps_alive=True
    )
    seen, behaviour, _ = provider.begin(request, is_near=True)
    assert isinstance(behaviour, Script)
    assert behaviour.status == status
    assert seen.model == ("gpt" if "deployments" in path else "simulated")
