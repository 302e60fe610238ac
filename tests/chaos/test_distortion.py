import gzip
import json
import zlib

import pytest

from trio_gateway.chaos.vocabulary.answers import Asked, Pace, Voice, good_script
from trio_gateway.chaos.vocabulary.distortion import distort
from trio_gateway.chaos.vocabulary.error_forms import ERRORS
from trio_gateway.chaos.vocabulary.faults import parse_fault
from trio_gateway.chaos.vocabulary.script import Ending, Pause, Refusal, Script, Send

VOICE = Voice(pace=Pace(tokens=4, head_s=1.0, first_token_s=2.0, gap_s=0.5))
STREAM, PLAIN = Asked("m", is_stream=True), Asked("m")


def script(text: str, asked: Asked = STREAM) -> Script:
    behaviour = distort(parse_fault(text).effects, asked, VOICE)
    assert isinstance(behaviour, Script)
    return behaviour


def good(asked: Asked = STREAM) -> Script:
    return good_script(asked, VOICE)


def events(of: Script) -> list[bytes]:
    return [step.data for step in of.steps if isinstance(step, Send)]


@pytest.mark.parametrize("name", list(ERRORS))
def test_every_error_has_its_status_and_a_body_of_the_announced_kind(name: str) -> None:
    answer = script(f"error={name}")

    assert answer.status == ERRORS[name].status
    assert answer.declared_length == len(answer.body)
    if ("content-type", "application/json") in answer.headers:
        said = json.loads(answer.body)
        assert "error" in said or said["message"]
    else:
        assert answer.body.startswith(b"<html>")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_value"),
        (401, "invalid_api_key"),
        (404, "model_not_found"),
        (429, "rate_limit_exceeded"),
        (498, "capacity_exceeded"),
        (503, "server_is_overloaded"),
        (418, "invalid_value"),
        (599, None),
    ],
)
def test_a_bare_status_says_what_it_usually_says(status: int, code: str | None) -> None:
    answer = script(f"status={status}")
    assert answer.status == status
    assert json.loads(answer.body)["error"]["code"] == code


def test_an_error_may_wear_another_status() -> None:
    answer = script("status=403,error=quota")
    assert answer.status == 403
    assert json.loads(answer.body)["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("retry_after=2s", {"retry-after": "2"}),
        ("retry_after=1500ms", {"retry-after": "1.5"}),
        ("retry_after=2s,hint=ms", {"retry-after-ms": "2000"}),
        (
            "retry_after=1m,hint=date",
            {
                "date": "Thu, 09 Oct 2025 08:53:21 GMT",
                "retry-after": "Thu, 09 Oct 2025 08:54:21 GMT",
            },
        ),
        ("retry_after=1m,hint=reset", {"x-ratelimit-reset-requests": "60s"}),
        ("retry_after=-5", {"retry-after": "-5"}),
        ("retry_after=1e9", {"retry-after": "1e9"}),
    ],
)
def test_a_hint_takes_the_form_asked_for(text: str, fields: dict[str, str]) -> None:
    headers = dict(script(f"status=429,{text}").headers)
    assert fields.items() <= headers.items()


def test_a_hint_may_stand_in_the_body_alone() -> None:
    in_text = script("status=429,retry_after=2s,hint=text")
    google = script("error=google_quota,retry_after=34s,hint=google")

    assert "retry-after" not in dict(in_text.headers) | dict(google.headers)
    assert json.loads(in_text.body)["error"]["message"].endswith("try again in 2s.")
    assert json.loads(google.body)["error"]["details"][0]["retryDelay"] == "34s"


def test_an_error_does_not_wait_for_tokens_but_for_its_delay() -> None:
    assert script("status=503", PLAIN).head_after_s == 1.0
    assert script("status=503,delay=3s", PLAIN).head_after_s == 4.0
    assert script("delay=3s,status=503", PLAIN).head_after_s == 4.0


def test_a_delay_moves_the_head_and_nothing_else() -> None:
    assert script("delay=3s").head_after_s == 4.0
    assert script("delay=3s").steps == good().steps


def test_a_slow_first_token_comes_after_the_role() -> None:
    role, *rest = script("slow_first_token=9s").steps
    assert role == good().steps[0]
    assert rest[0] == Pause(9.0)
    assert tuple(rest[1:]) == good().steps[1:]
    assert script("slow_first_token=9s", PLAIN).head_after_s == 1.0 + 2.0 + 1.5 + 9.0


@pytest.mark.parametrize("asked", [STREAM, PLAIN])
@pytest.mark.parametrize("fault", ["cut", "reset", "eof", "hang"])
@pytest.mark.parametrize("at", [0, 1, 7, 300, 10**6])
def test_a_break_keeps_exactly_the_first_bytes(
    asked: Asked, fault: str, at: int
) -> None:
    broken = script(f"{fault}={at}", asked)
    assert broken.body == good(asked).body[:at]
    assert broken.ending is Ending(fault)


def test_a_cut_still_announces_the_whole_length_and_an_eof_none() -> None:
    assert script("cut=3", PLAIN).declared_length == len(good(PLAIN).body)
    assert script("eof=3", PLAIN).declared_length is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("reset", Refusal.RESET),
        ("close", Refusal.CLOSE),
        ("silence", Refusal.SILENCE),
        ("refuse", Refusal.CONNECT_REFUSED),
        ("connect_hang", Refusal.CONNECT_HANG),
        ("silence,delay=3s", Refusal.SILENCE),
    ],
)
def test_a_refusal_leaves_no_answer(text: str, refusal: Refusal) -> None:
    assert distort(parse_fault(text).effects, STREAM, VOICE) is refusal


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_error_inside_a_stream_takes_an_events_place(at: int) -> None:
    answer = script(f"error_in_200={at}")
    assert answer.status == 200
    assert events(answer)[:at] == events(good())[:at]
    assert len(events(answer)) == at + 1
    assert json.loads(events(answer)[at][6:])["error"]["type"] == "server_error"


def test_an_error_inside_a_plain_200_is_its_body() -> None:
    answer = script("error_in_200", PLAIN)
    assert answer.status == 200
    assert json.loads(answer.body)["error"]["message"]


def test_role_only_says_who_speaks_for_every_choice_and_hangs() -> None:
    asked = Asked("m", is_stream=True, choices=2)
    assert events(script("role_only", asked)) == events(good(asked))[:2]
    assert script("role_only", asked).ending is Ending.HANG
    assert script("role_only=clean", asked).ending is Ending.CLEAN


def test_heartbeats_last_ten_minutes_and_are_never_an_answer() -> None:
    stream, plain = script("heartbeats=15s"), script("heartbeats=15s", PLAIN)
    assert set(events(stream)) == {b": keep-alive\n\n"}
    assert set(events(plain)) == {b"\n"}
    for answer in (stream, plain):
        pauses = [step.seconds for step in answer.steps if isinstance(step, Pause)]
        assert sum(pauses) == 600.0
        assert answer.ending is Ending.EOF


def test_heartbeats_that_are_very_fast_stay_countable() -> None:
    assert len(script("heartbeats=0.0001ms").steps) <= 20_000


@pytest.mark.parametrize(
    ("text", "tail"), [("no_finish", b"\n\n"), ("no_finish=done", b"data: [DONE]\n\n")]
)
def test_no_finish_ends_well_without_a_finish_reason(text: str, tail: bytes) -> None:
    answer = script(text)
    assert b'"finish_reason":"' not in answer.body
    assert answer.body.endswith(tail)
    assert (b"[DONE]" in answer.body) == (text == "no_finish=done")
    assert answer.ending is Ending.CLEAN
    assert events(answer)[:5] == events(good())[:5]


def test_a_wrong_label_changes_the_label_alone() -> None:
    answer = script("wrong_content_type=text/html")
    assert dict(answer.headers)["content-type"] == "text/html"
    assert answer.body == good().body


def test_html_is_a_page_with_status_200() -> None:
    answer = script("html")
    assert answer.status == 200
    assert b"<html>" in answer.body


def test_malformed_json_is_framed_well_and_parsed_by_nobody() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(script("malformed_json", PLAIN).body)
    for event in events(script("malformed_json")):
        assert event.endswith(b"\n\n")
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            json.loads(event.removeprefix(b"data: "))


def test_malformed_events_are_not_the_stream() -> None:
    assert b"data: {" not in script("malformed_sse").body
    assert script("malformed_sse", PLAIN) == good(PLAIN)


def test_an_empty_stream_has_a_head_and_a_clean_end() -> None:
    answer = script("empty_stream")
    assert (answer.status, answer.body, answer.ending) == (200, b"", Ending.CLEAN)


@pytest.mark.parametrize("asked", [STREAM, PLAIN])
def test_a_broken_gzip_begins_well_and_never_ends(asked: Asked) -> None:
    answer = script("broken_gzip", asked)
    assert dict(answer.headers)["content-encoding"] == "gzip"
    with pytest.raises(EOFError):
        gzip.decompress(answer.body)
    begun = zlib.decompressobj(wbits=31).decompress(answer.body)
    assert good(asked).body.startswith(begun)


def test_json_answers_a_stream_and_a_stream_answers_json() -> None:
    plain = script("json_for_stream")
    assert json.loads(plain.body)["object"] == "chat.completion"
    stream = script("stream_for_json", PLAIN)
    assert stream.body == good(STREAM).body
    assert dict(stream.headers)["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("json_for_stream", PLAIN),
        ("stream_for_json", STREAM),
        ("role_only", PLAIN),
        ("no_finish", PLAIN),
    ],
)
def test_an_effect_that_cannot_be_leaves_the_answer_alone(
    text: str, asked: Asked
) -> None:
    assert script(text, asked) == good(asked)


def test_effects_add_up_from_left_to_right() -> None:
    answer = script("slow_first_token=9s,cut=300,delay=1s")
    assert answer.head_after_s == 2.0
    assert Pause(9.0) in answer.steps
    assert len(answer.body) == 300


def pauses(of: Script) -> list[float]:
    return [step.seconds for step in of.steps if isinstance(step, Pause)]


def test_a_slow_head_takes_its_time_before_it_is_whole() -> None:
    answer = script("slow_head=3s")
    assert (answer.head_after_s, answer.head_drips_s) == (4.0, 3.0)


def test_another_gap_is_between_all_tokens_and_nowhere_else() -> None:
    assert pauses(script("gap=9s")) == [2.0, 9.0, 9.0, 9.0]
    assert events(script("gap=9s")) == events(good())
    assert script("gap=9s", PLAIN).head_after_s == 1.0 + 2.0 + 3 * 9.0


@pytest.mark.parametrize(("text", "place"), [("stall=9s", 2), ("stall=9s@3", 3)])
def test_a_stall_comes_after_some_tokens(text: str, place: int) -> None:
    answer = script(text)
    assert events(answer) == events(good())
    at = answer.steps.index(Pause(9.0))
    tokens = [step for step in answer.steps[:at] if isinstance(step, Send)]
    assert len(tokens) == 1 + place


def test_a_stall_after_all_tokens_is_at_the_end() -> None:
    assert script("stall=9s@1000").steps[-1] == Pause(9.0)


def test_slow_makes_everything_as_many_times_slower() -> None:
    answer = script("slow=3")
    assert answer.head_after_s == 3.0
    assert pauses(answer) == [6.0, 1.5, 1.5, 1.5]
    assert script("slow=3", PLAIN).head_after_s == 3 * good(PLAIN).head_after_s


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_slices_are_as_large_as_asked_for_and_keep_their_time(size: int) -> None:
    answer = script(f"slices={size}")
    assert answer.body == good().body
    assert max(map(len, events(answer))) == min(size, max(map(len, events(good()))))
    assert pauses(answer) == pauses(good())


def test_an_unterminated_body_has_no_length() -> None:
    answer = script("unterminated", PLAIN)
    assert (answer.body, answer.declared_length) == (good(PLAIN).body, None)
    assert answer.ending is Ending.UNTERMINATED


def test_events_may_come_twice_or_too_late() -> None:
    role, *tokens, finish, done = events(good())
    twice = [token for token in tokens for _ in range(2)]
    assert events(script("duplicate_events")) == [role, *twice, finish, done]
    assert events(script("done_twice")) == [role, *tokens, finish, done, done]
    late = [role, *tokens, finish, done, tokens[-1]]
    assert events(script("events_after_done")) == late
    assert events(script("no_done")) == [role, *tokens, finish]


@pytest.mark.parametrize("asked", [STREAM, PLAIN])
def test_a_huge_token_is_as_large_as_asked_for(asked: Asked) -> None:
    assert len(script("huge_token=12345", asked).body) == len(good(asked).body) + 12345
    assert script("huge_token=9", PLAIN).declared_length == len(good(PLAIN).body) + 9


def test_a_filter_ends_an_answer_early_with_its_own_reason() -> None:
    role, *tokens, _, done = events(good())
    answer = events(script("filtered=2"))
    assert answer[:3] == [role, *tokens[:2]]
    assert b'"finish_reason":"content_filter"' in answer[3]
    assert answer[4] == done
    plain = json.loads(script("filtered=2", PLAIN).body)
    assert plain["choices"][0]["finish_reason"] == "content_filter"
    assert plain["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("asked", [STREAM, PLAIN])
def test_a_wrong_length_is_said_and_the_body_is_the_same(asked: Asked) -> None:
    for by in (+9, -9):
        answer = script(f"wrong_length={by:+}", asked)
        assert answer.declared_length == len(answer.body) + by
        assert answer.body == good(asked).body
    assert script("wrong_length=-100000", asked).declared_length == 0


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("groq_rate_limit", {"retry-after", "x-ratelimit-reset-tokens"}),
        ("anthropic_rate_limit", {"retry-after", "anthropic-ratelimit-requests-reset"}),
        ("azure_rate_limit", {"retry-after", "retry-after-ms"}),
        ("bedrock_throttled", {"x-amzn-errortype"}),
        ("openrouter_rate_limit", {"x-ratelimit-remaining"}),
    ],
)
def test_a_throttle_has_its_providers_own_fields(name: str, fields: set[str]) -> None:
    assert fields <= dict(script(f"error={name}").headers).keys()


def test_a_hint_replaces_the_fields_that_an_error_has_by_itself() -> None:
    headers = script("error=azure_rate_limit,retry_after=99s").headers
    assert [value for name, value in headers if name.startswith("retry")] == ["99"]


def test_two_hints_may_disagree() -> None:
    headers = script("status=429,retry_after=2s,hint=twice").headers
    found = [value for name, value in headers if name == "retry-after"]
    assert found == ["2", "4"]
