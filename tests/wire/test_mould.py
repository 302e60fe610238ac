import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.wire.answers import AnswerReader, Meaning
from trio_gateway.wire.mould import Mould

PADDING = ',"usage":null,"obfuscation":"%s"'


def an_event(word: str = '"hi"', *, more: str = "", name: str = "content") -> bytes:
    """An event with a word as JSON has it, and more members at its end."""
    choice = '{"index":0,"delta":{"%s":%s},"logprobs":null,"finish_reason":null}'
    return ('{"id":"1","choices":[' + choice % (name, word) + "]" + more + "}").encode()


def a_block(event: bytes) -> bytes:
    return b"data: " + event + b"\n\n"


def mould_of(event: bytes, name: str = "content") -> Mould:
    mould = Mould.of(event, name)
    assert mould is not None
    return mould


@pytest.mark.parametrize(
    "word", ["a", " ", "a\nb", 'a"b', "\\", "日本", "\x7f", "\ud83d\ude00", "</script>"]
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_an_event_with_another_word_fits(word: str, *, is_ascii: bool) -> None:
    text = json.dumps(word, ensure_ascii=is_ascii)
    if not is_ascii and "\ud83d" in word:
        text = '"😀"'
    assert mould_of(an_event()).fits(an_event(text))
    assert mould_of(an_event()).fits_block(a_block(an_event(text)))


@pytest.mark.parametrize(
    "block",
    [
        an_event(),
        b"data: " + an_event(),
        b"data: " + an_event() + b"\n",
        b"data: " + an_event() + b"\r\n\r\n",
        b"data:" + an_event() + b"\n\n",
        b": data: " + an_event() + b"\n\n",
        b"data: " + an_event() + b"\n\n\n",
        b"data: " + an_event() + b"\n\ndata: " + an_event() + b"\n\n",
    ],
)
def test_only_one_event_in_one_line_is_such_a_block(block: bytes) -> None:
    assert not mould_of(an_event()).fits_block(block)


def test_spaces_after_colons_do_no_harm() -> None:
    event = json.dumps(json.loads(an_event())).encode()
    assert mould_of(event).fits(event.replace(b"hi", b"there"))


@pytest.mark.parametrize("padding", ["", "x", "a1B2", "\\u0041"])
def test_padding_may_differ(padding: str) -> None:
    mould = mould_of(an_event(more=PADDING % "abc"))
    assert mould.fits(an_event('"there"', more=PADDING % padding))


@pytest.mark.parametrize(
    "event",
    [
        an_event('""'),
        an_event("null"),
        an_event('["hi"]'),
        an_event('"hi'),
        an_event('hi"'),
        an_event('"a"b"'),
        an_event('"a","content":"b"'),
        an_event('"a"}}],"error":{"m":"b"'),
        an_event('"a\\"'),
        an_event('"\\x"'),
        an_event('"\\u12"'),
        an_event('"a\nb"'),
        an_event('"a\0b"'),
        an_event().replace(b"hi", b"\xff"),
        an_event().replace(b"hi", b"\xed\xa0\x80"),
        an_event(more=',"error":"e"'),
        an_event().replace(b'"index":0', b'"index":1'),
        an_event().replace(b"null}]", b'"stop"}]'),
        an_event()[:-1],
        an_event() + b"}",
        an_event() * 2,
        b"",
        b"[DONE]",
    ],
)
def test_an_event_that_differs_in_anything_else_does_not_fit(event: bytes) -> None:
    assert not mould_of(an_event()).fits(event)
    assert not mould_of(an_event()).fits_block(a_block(event))


@pytest.mark.parametrize(
    "event",
    [
        an_event('""', more=PADDING % "abc"),
        an_event('"a"b"', more=PADDING % "abc"),
        an_event(more=PADDING % 'a"b'),
        an_event(more=PADDING % "a\\"),
        an_event(more=PADDING % 'a","error":"e'),
        an_event(more=PADDING % "abc" + ',"error":"e"'),
        an_event(more=PADDING.replace("null", "{}") % "abc"),
        an_event('"a' + PADDING % "abc" + '"'),
        an_event(),
    ],
)
def test_nor_does_one_that_has_more_than_another_padding(event: bytes) -> None:
    assert not mould_of(an_event(more=PADDING % "abc")).fits(event)


def test_a_word_no_longer_than_the_mould_itself_fits_only_once() -> None:
    event = b'{"content":"aa"}'
    assert not mould_of(event).fits(b'{"content":"}')
    assert not mould_of(event).fits(b'{"content":""}')


@pytest.mark.parametrize(
    "event",
    [
        an_event('"a\\nb"'),  # which of the marks are marks, would have to be found out
        an_event(more=',"x":{"content":"a"}'),
        an_event().replace(b'"content":"', b'"content" : "'),
        b'{"text":"hi"}',
    ],
)
def test_no_mould_is_taken_where_the_place_of_the_word_is_not_certain(
    event: bytes,
) -> None:
    assert Mould.of(event, "content") is None


EVENTS = [
    an_event(),
    an_event(more=PADDING % "abc"),
    an_event(name="reasoning_content"),
    an_event(name="refusal", more=',"error":null'),
    an_event(name='role":"assistant","content'),
    an_event('"hi","tool_calls":[]'),
    an_event('{"content":"hi"}'),
    an_event(more=',"choices":[]'),
    b'{"choices":[{"delta":{"content":"hi","\\u0063ontent":""}}]}',
    b'{"choices":[{"delta":{"content":"hi"},"text":"content"}]}',
]
EDITS = [b'"', b"\\", b"", b"x", b"null", b'"error":1,', b"{", b"}", b"\n", b"\xff"]


@given(
    st.sampled_from(EVENTS),
    st.sampled_from(EVENTS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from(EDITS))),
)
def test_a_reader_that_has_a_mould_says_what_one_without_says(
    first: bytes, second: bytes, edits: list[tuple[float, int, bytes]]
) -> None:
    for where, length, edit in edits:
        at = round(where * len(second))
        second = second[:at] + edit + second[at + length :]
    warm, cold = AnswerReader(choices=1), AnswerReader(choices=1)

    warm.read(first)

    assert warm.read(second) is cold.read(second)
    assert warm.error == cold.error


def test_a_reader_ends_where_the_stream_does() -> None:
    reader = AnswerReader(choices=1)
    for _ in range(3):
        assert reader.read(an_event()) is Meaning.TOKEN
        assert not reader.is_whole
    assert reader.read(an_event().replace(b"null}]", b'"stop"}]')) is Meaning.TOKEN
    assert reader.is_whole


def test_a_named_error_is_one_whatever_it_is_cast_in() -> None:
    reader = AnswerReader(choices=1)
    reader.read(an_event())
    assert reader.read(an_event(), b"error") is Meaning.ERROR
