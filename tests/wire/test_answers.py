import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.wire.answers import (
    AnswerReader,
    EmbeddedError,
    Meaning,
    NotAnAnswer,
    WholeAnswer,
    as_events,
    judge_answer,
)
from trio_gateway.wire.sse import EventParser


def answer(*choices: object, **members: object) -> bytes:
    said = {"id": "1", "object": "chat.completion", "choices": choices, **members}
    return json.dumps(said).encode()


def choice(message: object, finish_reason: str | None = "stop") -> dict[str, object]:
    return {"index": 0, "message": message, "finish_reason": finish_reason}


TEXT = choice({"role": "assistant", "content": "hi"})
SUBSTANCES: list[dict[str, object]] = [
    {"content": "x"},
    {"content": [{"type": "text", "text": "x"}]},
    {"content": None, "refusal": "no"},
    {"tool_calls": [{"index": 0, "id": "c"}]},
    {"function_call": {"name": "f"}},
    {"reasoning": "hm"},
    {"reasoning_content": "hm"},
    {"reasoning_details": [{}]},
    {"audio": {"id": "a"}},
]


@pytest.mark.parametrize("message", SUBSTANCES)
def test_any_substance_makes_an_answer(message: dict[str, object]) -> None:
    assert judge_answer(answer(choice(message, None))) == WholeAnswer(choices=1)


def test_a_finish_reason_alone_is_an_answer() -> None:
    filtered = choice({"role": "assistant", "content": ""}, "content_filter")
    assert judge_answer(answer(filtered)) == WholeAnswer(choices=1)


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", '"\\ud800"', "[" * 300 + "]" * 300, "1" * 4000]
)
def test_what_some_servers_write_beside_it_makes_no_answer_bad(value: str) -> None:
    body = answer(TEXT, logprobs=0).replace(b'"logprobs": 0', b'"logprobs": ')
    assert judge_answer(body[:-1] + value.encode() + b"}") == WholeAnswer(choices=1)


@pytest.mark.parametrize("cut", range(1, len(answer(TEXT))))
def test_an_answer_that_was_cut_is_no_json(cut: int) -> None:
    assert judge_answer(answer(TEXT)[:cut]) == NotAnAnswer("not JSON")


def test_space_before_an_answer_does_no_harm() -> None:
    assert judge_answer(b"\n\n \n" + answer(TEXT, TEXT)) == WholeAnswer(choices=2)
    assert judge_answer(b"\xef\xbb\xbf" + answer(TEXT)) == WholeAnswer(choices=1)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"\n <html>", "HTML"),
        (b"upstream connect error", "not JSON"),
        (b'{"choices": [', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a":' + b"[" * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b'data: {"choices": []}\n\n', "a stream"),
        (b": ping\n\n", "a stream"),
        (b"[]", "not an object"),
        (b'"hi"', "not an object"),
        (b"{}", "no choices"),
        (b'{"choices": null}', "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": {"0": {}}}', "no choices"),
        (b'{"choices": ["hi"]}', "malformed choices"),
        (answer(choice("hi")), "malformed choices"),
        (
            answer(choice({"role": "assistant"}, None)),
            "no content and no finish_reason",
        ),
        (answer(TEXT, choice(None, None)), "no content and no finish_reason"),
    ],
)
def test_what_is_no_answer_is_named(body: bytes, cause: str) -> None:
    assert judge_answer(body) == NotAnAnswer(cause)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"message": "m"}}', {"message": "m"}),
        (b'{"error": "busy"}', "busy"),
        (answer(TEXT, error={"code": 502}), {"code": 502}),
        (answer({**TEXT, "error": {"code": 502}}), {"code": 502}),
        (answer(choice({"content": "x"}, "error")), "finish_reason: error"),
        (
            b'{"object": "error", "message": "m"}',
            {"object": "error", "message": "m"},
        ),
    ],
)
def test_an_error_inside_a_200_is_found(body: bytes, error: object) -> None:
    assert judge_answer(body) == EmbeddedError(error)


def test_an_empty_error_is_none() -> None:
    nothings: list[object] = [None, {}, "", False]
    for nothing in nothings:
        assert judge_answer(answer(TEXT, error=nothing)) == WholeAnswer(choices=1)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "choices", "message", "delta", "index", "object"]
                ),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_that_an_upstream_says_raises(said: bytes) -> None:
    judge_answer(said)
    reader = AnswerReader(choices=1)
    reader.read(said)
    reader.read(said, b"error")


def chunk(delta: object, finish_reason: str | None = None, index: int = 0) -> bytes:
    said = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"choices": [said]}).encode()


@pytest.mark.parametrize("delta", SUBSTANCES)
def test_any_substance_is_a_token(delta: dict[str, object]) -> None:
    assert AnswerReader(choices=1).read(chunk(delta)) is Meaning.TOKEN


def test_a_finish_reason_is_a_token() -> None:
    assert AnswerReader(choices=1).read(chunk({}, "stop")) is Meaning.TOKEN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{}",
        b'{"type": "ping"}',
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [], "usage": {"total_tokens": 5}}',
        b'{"choices": [], "prompt_filter_results": [{}]}',
        b'{"choices": [{"index": 0, "content_filter_results": {}}]}',
        b'{"choices": [{"delta": null}], "error": null}',
        chunk({"role": "assistant"}),
        chunk({"role": "assistant", "content": ""}),
        chunk({"role": "assistant", "content": None, "tool_calls": []}),
    ],
)
def test_a_frame_without_substance_is_not_a_token(data: bytes) -> None:
    reader = AnswerReader(choices=1)
    assert reader.read(data) is Meaning.NOTHING
    assert not reader.is_whole


@pytest.mark.parametrize(
    "data",
    [
        b"hi",
        b'{"choices": [',
        b"[]",
        b'"hi"',
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"choices": {}}',
        b'{"choices": "hi"}',
        b'{"choices": ["hi"]}',
        b'{"choices": [{"delta": "hi"}]}',
        b'{"choices": [{"delta": {}, "index": "0"}]}',
    ],
)
def test_what_is_no_chunk_is_malformed(data: bytes) -> None:
    assert AnswerReader(choices=1).read(data) is Meaning.MALFORMED


def test_endless_choices_are_malformed() -> None:
    reader = AnswerReader(choices=1)
    meanings = [reader.read(chunk({"content": "x"}, index=i)) for i in range(200)]
    assert meanings[127] is Meaning.TOKEN
    assert meanings[128] is Meaning.MALFORMED


@pytest.mark.parametrize(
    ("data", "name", "error"),
    [
        (b'{"error": {"message": "m"}}', b"", {"message": "m"}),
        (b'{"error": "busy", "choices": []}', b"", "busy"),
        (b'{"choices": [{"error": {"code": 502}}]}', b"", {"code": 502}),
        (chunk({}, "error"), b"", "finish_reason: error"),
        (b'{"object": "error", "code": 1}', b"", {"object": "error", "code": 1}),
        (b'{"type": "error", "error": {"type": "t"}}', b"error", {"type": "t"}),
        (b'{"message": "m"}', b"error", {"message": "m"}),
        (b"busy", b"error", "busy"),
        (b"\xff", b"error", "\ufffd"),
    ],
)
def test_an_error_in_a_stream_is_found(data: bytes, name: bytes, error: object) -> None:
    reader = AnswerReader(choices=1)
    assert reader.read(data, name) is Meaning.ERROR
    assert reader.error == error


def test_done_is_done() -> None:
    assert AnswerReader(choices=1).read(b"[DONE]") is Meaning.DONE
    assert AnswerReader(choices=1).read(b" [DONE] ") is Meaning.DONE


def test_a_stream_is_whole_with_its_finish_reason() -> None:
    reader = AnswerReader(choices=1)
    for data, is_whole in [
        (chunk({"role": "assistant"}), False),
        (chunk({"content": "hi"}), False),
        (chunk({}, "stop"), True),
        (b'{"choices": [], "usage": {}}', True),
        (chunk({}), True),
        (b"[DONE]", True),
    ]:
        reader.read(data)
        assert reader.is_whole == is_whole


def test_done_without_a_finish_reason_is_not_whole() -> None:
    reader = AnswerReader(choices=1)
    reader.read(b"[DONE]")
    assert not reader.is_whole
    reader.read(chunk({"content": "hi"}))
    assert not reader.is_whole


def test_every_choice_must_finish() -> None:
    reader = AnswerReader(choices=2)
    reader.read(chunk({"content": "a"}, index=0))
    reader.read(chunk({}, "stop", index=0))
    assert not reader.is_whole  # the other may only be late
    reader.read(chunk({"content": "b"}, index=1))
    reader.read(b"[DONE]")
    assert not reader.is_whole  # it was seen, and never finished
    reader.read(chunk({}, "length", index=1))
    assert reader.is_whole


def test_fewer_choices_than_asked_for_are_whole_once_done() -> None:
    reader = AnswerReader(choices=2)
    reader.read(chunk({}, "stop"))
    assert not reader.is_whole
    reader.read(b"[DONE]")
    assert reader.is_whole


def test_a_choice_that_nobody_asked_for_must_finish_too() -> None:
    reader = AnswerReader(choices=1)
    reader.read(chunk({"content": "b"}, index=1))
    reader.read(chunk({}, "stop", index=0))
    assert not reader.is_whole


def test_a_whole_answer_becomes_a_whole_stream() -> None:
    calls = [{"id": "c1", "function": {"name": "f"}}, {"id": "c2"}]
    said = answer(
        {
            **choice({"role": "a", "content": "h\u00e9\u2028\n"}),
            "logprobs": None,
        },
        {"message": {"tool_calls": calls}, "finish_reason": "tool_calls"},
        model="m",
        created=12,
        usage={"total_tokens": 5},
        x=123456789012345678901234567890,
    )

    events = EventParser().feed(as_events(said))

    reader = AnswerReader(choices=2)
    meanings = [reader.read(event.data or b"") for event in events]
    assert meanings == [Meaning.TOKEN, Meaning.DONE]
    assert reader.is_whole
    assert json.loads(events[0].data or b"") == {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 12,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {"role": "a", "content": "h\u00e9\u2028\n"},
                "finish_reason": "stop",
                "logprobs": None,
            },
            {
                "index": 1,
                "delta": {
                    "tool_calls": [
                        {"index": 0, "id": "c1", "function": {"name": "f"}},
                        {"index": 1, "id": "c2"},
                    ]
                },
                "finish_reason": "tool_calls",
            },
        ],
        "usage": {"total_tokens": 5},
        "x": 123456789012345678901234567890,
    }


def test_no_finish_reason_is_invented() -> None:
    (event, _) = EventParser().feed(as_events(answer(choice({"content": "x"}, None))))
    reader = AnswerReader(choices=1)
    reader.read(event.data or b"")
    assert not reader.is_whole


def test_only_a_whole_answer_becomes_a_stream() -> None:
    with pytest.raises(ValueError, match="not a whole answer"):
        as_events(b'{"error": "busy"}')
