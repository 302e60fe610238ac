"""What passes does not depend on how the stream was cut, nor on what is recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.passage import Passage
from trio_gateway.wire.sse import EVENT_BYTES_MAX


def a_token(word: str = "hi", *, end: str = "null", more: str = "") -> bytes:
    choice = '{"index":0,"delta":{"content":"%s"},"finish_reason":%s}'
    return ('data: {"choices":[' + choice % (word, end) + "]" + more + "}\n\n").encode()


def a_passage() -> Passage:
    def read_error(error: object) -> Failure:
        return Failure(FailureClass.OVERLOADED, repr(error))

    return Passage(choices=1, read_error=read_error)


BLOCKS = [
    a_token(),
    a_token("there"),
    a_token("日本"),
    a_token('a\\"b'),
    a_token('a"b'),
    a_token("a\\"),
    a_token(""),
    a_token("a\n\ndata: b"),
    a_token("hi", end='"stop"'),
    a_token(more=',"error":{"message":"no"}'),
    a_token().replace(b"\n", b"\r\n"),
    a_token()[:-1],
    a_token()[:-2],
    a_token().replace(b"data: ", b"data:"),
    a_token().replace(b"hi", b"\xff"),
    b"event: error\n" + a_token(),
    b"id: 1\n" + a_token(),
    b": ping\n\n",
    b"\n",
    b"data: [DONE]\n\n",
]


@given(st.lists(st.sampled_from(BLOCKS), max_size=8))
def test_blocks_mean_what_their_bytes_mean_one_by_one(blocks: list[bytes]) -> None:
    by_block, by_byte = a_passage(), a_passage()
    passed = b"".join(by_block.feed(block) for block in (a_token(), *blocks))
    every_byte = b"".join((a_token(), *blocks))
    slowly = b"".join(by_byte.feed(bytes([byte])) for byte in every_byte)

    assert passed == slowly
    assert by_block.tokens == by_byte.tokens
    assert by_block.broken == by_byte.broken
    assert by_block.is_over == by_byte.is_over
    assert by_block.is_whole == by_byte.is_whole


def test_an_event_that_ends_one_which_is_held_is_not_taken_for_a_whole_one() -> None:
    passage = a_passage()
    passage.feed(a_token())
    assert passage.feed(b"data: ") == b""
    assert passage.feed(a_token()) == b""
    assert passage.broken == Failure(FailureClass.BAD_ANSWER, "malformed event")
    assert passage.tokens == 1


def test_after_an_event_that_is_too_long_nothing_passes_as_if_it_had_not_been() -> None:
    passage = a_passage()
    too_long = a_token("x" * (EVENT_BYTES_MAX + 1))
    assert passage.feed(a_token()) == a_token()
    assert passage.feed(a_token() + too_long) == a_token()
    assert passage.feed(a_token()) == b""
    assert passage.broken == Failure(FailureClass.BAD_ANSWER, "event too long")


@pytest.mark.parametrize("last", [b"data: [DONE]\n\n", a_token(more=',"error":1')])
def test_nothing_passes_after_the_end_or_a_break(last: bytes) -> None:
    passage = a_passage()
    passage.feed(a_token())
    passage.feed(last)
    assert passage.feed(a_token()) == b""
    assert passage.tokens == 1
