import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.wire.chat import ChatRequest, RequestError, RequestErrorKind

MINIMAL = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'


def refusal(raw: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ChatRequest.parse(raw)
    return caught.value


def body(**members: object) -> bytes:
    return json.dumps({**json.loads(MINIMAL), **members}).encode()


def test_a_minimal_request_has_defaults() -> None:
    request = ChatRequest.parse(MINIMAL)

    assert request.model == "m"
    assert not request.is_stream
    assert request.choices == 1
    assert request.max_tokens is None
    assert request.size == len(MINIMAL)


def test_what_is_said_is_read() -> None:
    request = ChatRequest.parse(body(stream=True, n=3, max_tokens=7))

    assert request.is_stream
    assert request.choices == 3
    assert request.max_tokens == 7


def test_null_is_as_good_as_absent() -> None:
    raw = body(stream=None, n=None, max_tokens=None, max_completion_tokens=None)
    request = ChatRequest.parse(raw)
    assert (request.is_stream, request.choices, request.max_tokens) == (False, 1, None)


def test_the_newer_name_of_max_tokens_counts() -> None:
    request = ChatRequest.parse(body(max_tokens=7, max_completion_tokens=9))
    assert request.max_tokens == 9


@pytest.mark.parametrize(
    "value",
    [
        "123456789012345678901234567890",
        "9" * 5000,
        "-" + "9" * 5000,
        "1e400",
        "0.10000000000000000555",
        "1.0",
        "-0",
        '"\\ud800"',
        '"\\u0041\\/"',
        '"\u00e9\u4e2d\U0001f600"',
        '{"b" :1,\r\n\t"a":[ ], "b":2}',
    ],
)
def test_unknown_fields_pass_byte_for_byte(value: str) -> None:
    rest = f'"messages":[{{}}], "x" : {value} }} \n'
    raw = f'\n{{ "model":"m",{rest}'.encode()

    request = ChatRequest.parse(raw)

    expected = f'\n{{ "model":"up",{rest}'.encode()
    assert request.encode(model="up", overrides={}) == expected


def test_every_model_is_replaced_and_the_last_one_counts() -> None:
    raw = b'{"model":"a","messages":[{}],"mod\\u0065l": "b"}'
    request = ChatRequest.parse(raw)

    assert request.model == "b"
    encoded = request.encode(model="c", overrides={})
    assert encoded == b'{"model":"c","messages":[{}],"mod\\u0065l": "c"}'


def test_a_model_inside_another_field_is_not_touched() -> None:
    raw = b'{"x":{"model":"a"},"model":"b","messages":[{"model":"c"}]}'
    encoded = ChatRequest.parse(raw).encode(model="up", overrides={})
    assert encoded == raw.replace(b'"b"', b'"up"')


@pytest.mark.parametrize(
    ("written", "model"),
    [
        ('"\u00e9\u4e2d"', "\u00e9\u4e2d"),
        ('"\\u00e9\u4e2d"', "\u00e9\u4e2d"),
        ('"a\\/b"', "a/b"),
    ],
)
def test_a_slug_is_read_as_text(written: str, model: str) -> None:
    raw = f'{{"messages":[{{}}],"model":{written}}}'.encode()
    request = ChatRequest.parse(raw)
    assert request.model == model
    assert request.encode(model="x", overrides={}) == b'{"messages":[{}],"model":"x"}'


def test_overrides_replace_what_is_there_and_add_what_is_not() -> None:
    raw = b'{"model":"a", "temperature": 1.0, "messages": [{}] }'
    encoded = ChatRequest.parse(raw).encode(
        model="b", overrides={"temperature": 0, "top_p": 0.5, "model": "no"}
    )
    assert encoded == (
        b'{"model":"b", "temperature": 0, "messages": [{}], "top_p": 0.5 }'
    )


def test_an_override_finds_a_name_that_is_not_ascii() -> None:
    raw = '{"model":"a","\u00e9":1,"\\u00e9":2,"messages":[{}]}'.encode()
    encoded = ChatRequest.parse(raw).encode(model="a", overrides={"\u00e9": 3})
    assert encoded == '{"model":"a","\u00e9":3,"\\u00e9":3,"messages":[{}]}'.encode()


def test_an_override_may_be_an_object() -> None:
    encoded = ChatRequest.parse(MINIMAL).encode(
        model="b", overrides={"provider": {"allow_fallbacks": False}}
    )
    assert json.loads(encoded)["provider"] == {"allow_fallbacks": False}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
READ_FIELDS = {
    "model",
    "messages",
    "stream",
    "n",
    "max_tokens",
    "max_completion_tokens",
}


@given(
    extra=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in READ_FIELDS),
        json_values,
        max_size=5,
    ),
    overrides=st.dictionaries(st.text(max_size=8), json_values, max_size=3),
    model=st.text(min_size=1),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_an_encoded_request_says_what_it_should(
    extra: dict[str, object],
    overrides: dict[str, object],
    model: str,
    indent: int | None,
    is_ascii: bool,
) -> None:
    said = {"messages": [{}], **extra, "model": "slug"}
    text = json.dumps(said, indent=indent, ensure_ascii=is_ascii)
    try:
        raw = text.encode()
    except UnicodeEncodeError:  # a lone surrogate has no bytes but its escape
        raw = json.dumps(said, indent=indent).encode()

    request = ChatRequest.parse(raw)
    encoded = request.encode(model=model, overrides=overrides)

    assert json.loads(encoded) == {**said, **overrides, "model": model}
    assert request.encode(model="slug", overrides={}) == raw


@given(st.binary(max_size=60))
def test_what_is_no_request_is_a_request_error(raw: bytes) -> None:
    assert refusal(raw).details


@given(st.integers(0, len(MINIMAL) - 1), st.integers(0, 255))
def test_a_damaged_request_is_read_or_refused(at: int, byte: int) -> None:
    damaged = MINIMAL[:at] + bytes([byte]) + MINIMAL[at + 1 :]
    try:
        ChatRequest.parse(damaged)
    except RequestError:
        return
    json.loads(damaged)  # what we can read is JSON


@pytest.mark.parametrize("cut", range(len(MINIMAL)))
def test_a_cut_request_is_unreadable(cut: int) -> None:
    assert refusal(MINIMAL[:cut]).kind is RequestErrorKind.UNREADABLE


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "Invalid JSON at byte 0"),
        (b" \n ", "Invalid JSON at byte 3"),
        (b"\xef\xbb\xbf" + MINIMAL, "Invalid JSON at byte 0"),
        (b'{"model": "\xff"}', "Invalid UTF-8 at byte 11"),
        (MINIMAL.decode().encode("utf-16"), "Invalid UTF-8 at byte 0"),
        (MINIMAL + b"x", f"Invalid JSON at byte {len(MINIMAL)}"),
        (MINIMAL + MINIMAL, f"Invalid JSON at byte {len(MINIMAL)}"),
        (b'{"a": 1,}', "Invalid JSON at byte 8"),
        (b"{,}", "Invalid JSON at byte 1"),
        (b"{1: 2}", "Invalid JSON at byte 1"),
        (b'{"a" 1}', "Invalid JSON at byte 5"),
        (b'{"a": 1 "b": 2}', "Invalid JSON at byte 8"),
        (b'{"a": "line\nend"}', "Invalid JSON at byte 11"),
        (b'{"a":\xc2\xa01}', "Invalid JSON at byte 5"),
        (b'{"a": NaN}', "Invalid JSON: NaN and Infinity are no numbers"),
        (b'{"a": [-Infinity]}', "Invalid JSON: NaN and Infinity are no numbers"),
        (b'{"a": ' + b"[" * 100_000, "Invalid JSON: nested too deep"),
        (b"[" * 100_000, "Invalid JSON: nested too deep"),
        (b"[1]", "Input should be a valid dictionary"),
        (b'"text"', "Input should be a valid dictionary"),
        (b"null", "Input should be a valid dictionary"),
    ],
)
def test_what_cannot_be_parsed_is_unreadable(raw: bytes, said: str) -> None:
    error = refusal(raw)
    assert error.kind is RequestErrorKind.UNREADABLE
    assert error.details == {"error": f"1 validation error for LLMRequest: {said}"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"model": 1}, "model: Input should be a valid string"),
        ({"messages": {}}, "messages: Input should be a valid list"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": [{}, "x"]}, "messages.1: Input should be a valid dictionary"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"stream": 1}, "stream: Input should be a valid boolean"),
        ({"n": 0}, "n: Input should be greater than or equal to 1"),
        ({"n": True}, "n: Input should be a valid integer"),
        ({"n": 1.5}, "n: Input should be a valid integer"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        (
            {"max_completion_tokens": []},
            "max_completion_tokens: Input should be a valid integer",
        ),
    ],
)
def test_a_wrong_type_is_named(members: dict[str, object], said: str) -> None:
    error = refusal(body(**members))
    assert error.kind is RequestErrorKind.UNREADABLE
    assert error.details == {"error": f"1 validation error for LLMRequest: {said}"}


def test_all_wrong_types_are_listed() -> None:
    assert refusal(body(model=1, messages="x")).details == {
        "error": "2 validation errors for LLMRequest: "
        "model: Input should be a valid string; "
        "messages: Input should be a valid list"
    }


def test_a_million_wrong_messages_make_a_short_error() -> None:
    said = refusal(body(messages=[1] * 100_000)).details["error"]
    assert said.startswith("more than 1000 validation errors for LLMRequest: messag")
    assert len(said) < 1000


@pytest.mark.parametrize(
    ("raw", "blank"),
    [
        (b"{}", ["model", "messages"]),
        (b'{"messages": [{}]}', ["model"]),
        (b'{"model": "", "messages": [{}]}', ["model"]),
        (b'{"model": " \\n", "messages": [{}]}', ["model"]),
        (b'{"model": null, "messages": null}', ["model", "messages"]),
        (b'{"model": "m"}', ["messages"]),
        (b'{"model": "m", "messages": []}', ["messages"]),
    ],
)
def test_what_is_missing_or_empty_is_blank(raw: bytes, blank: list[str]) -> None:
    error = refusal(raw)
    assert error.kind is RequestErrorKind.BLANK
    assert error.details == dict.fromkeys(blank, "cannot be blank")


def test_an_override_is_refused_a_search_among_all_too_many_members() -> None:
    members = b', "x": 0' * 400_000
    request = ChatRequest.parse(MINIMAL[:-1] + members + b"}")

    with pytest.raises(RequestError, match="More than 10000 members"):
        request.encode(model="m", overrides={"x": 1})


def test_all_too_many_members_are_refused() -> None:
    members = "".join(f', "{number}": 0' for number in range(300_000))

    error = refusal(MINIMAL[:-1] + members.encode() + b"}")

    assert error.kind is RequestErrorKind.UNREADABLE
    assert error.details["error"].endswith("LLMRequest: More than 10000 members")


@pytest.mark.parametrize("value", [b"[]", b"{}", b'""', b"0", b'{"a":0}'])
def test_millions_of_small_values_are_refused_unread(value: bytes) -> None:
    values = b",".join([value] * (14_000_000 // len(value)))

    error = refusal(MINIMAL[:-1] + b', "x": [' + values + b"]}")

    assert error.kind is RequestErrorKind.UNREADABLE
    assert error.details["error"].endswith("More than 2000000 names and values")


def test_a_long_prompt_is_read_whatever_signs_are_in_it() -> None:
    said = '{"list": [1, "two"]}' * 400_000
    request = ChatRequest.parse(body(messages=[{"role": "user", "content": said}]))
    assert request.model == "m"


def test_garbage_is_collected_again_after_a_long_request() -> None:
    long = body(messages=[{"content": "x" * 100_000}])
    ChatRequest.parse(long)
    refusal(long[:-1])
    assert gc.isenabled()


# What could be taken for the name of the slug's member, and is not, or the reverse.
NAMES = ['"model"', '"mod\\u0065l"', '"\\u006Dodel"', '"xmodel"', '"model\\u0073"']
VALUES = [*NAMES, '{"model":"x"}', '["model"]', '"\\"model"', '"\\\\u006d"', "0"]


@given(
    members=st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4
    ),
    space=st.sampled_from(["", " ", "\n\t"]),
)
def test_however_a_model_is_written_all_of_its_members_are_replaced(
    members: list[tuple[str, str]], space: str
) -> None:
    members = [*members, ('"messages"', "[{}]"), ('"model"', '"slug"')]

    def written(model: str | None) -> bytes:
        pairs = [
            f"{name}{space}:{space}{value if model is None else model}"
            if json.loads(name) == "model"
            else f"{name}{space}:{space}{value}"
            for name, value in members
        ]
        return f"{space}{{{space}{f'{space},{space}'.join(pairs)}{space}}}".encode()

    request = ChatRequest.parse(written(None))

    assert request.model == "slug"
    assert request.encode(model="up", overrides={}) == written('"up"')


def test_neither_errors_nor_reprs_show_the_prompt() -> None:
    prompt = '"messages": [{"content": "SECRET"}]'
    for raw in (
        f'{{"model": 1, {prompt}}}',
        f"{{{prompt}, x",
        f'{{{prompt[:-4]}\\q"}}]}}',
    ):
        error = refusal(raw.encode())
        assert "SECRET" not in f"{error!r} {error} {error.details}"
        assert error.__context__ is None or error.__suppress_context__
    assert "SECRET" not in repr(ChatRequest.parse(f'{{"model":"m",{prompt}}}'.encode()))
