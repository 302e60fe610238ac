"""Bodies of requests: where they end, however they come."""

import pytest

from trio_gateway.serving.fast.body import (
    LINE_BYTES_MAX,
    LINES_AT_ONCE_MAX,
    TRAILERS_MAX,
    Body,
    ChunkedBody,
    CountedBody,
)
from trio_gateway.serving.refusals import RefusedError

CHUNKS = b"3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


def read(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Feed pieces; give the body and what is beyond it."""
    got, beyond = b"", b""
    for piece in pieces:
        if body.is_complete:
            beyond += piece
            continue
        part, rest = body.take(piece)
        got += part
        beyond += rest
        assert body.is_complete or not rest
    return got, beyond


@pytest.mark.parametrize("cut", range(len(CHUNKS + NEXT) + 1))
def test_chunks_may_be_cut_anywhere(cut: int) -> None:
    words = CHUNKS + NEXT
    body = ChunkedBody()
    assert read(body, [words[:cut], words[cut:]]) == (b"abc0123456789", NEXT)
    assert body.is_complete


def test_chunks_may_come_byte_by_byte() -> None:
    pieces = [bytes([byte]) for byte in CHUNKS + NEXT]
    assert read(ChunkedBody(), pieces) == (b"abc0123456789", NEXT)


def test_a_chunk_is_passed_on_before_it_is_whole() -> None:
    body = ChunkedBody()
    assert body.take(b"ff\r\nabc") == (b"abc", b"")
    assert not body.is_complete


@pytest.mark.parametrize(
    "words",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1 ;x\r\n",
        b"1;\x00\r\n",
        b"1;a\nb\r\n",
        b"1\n",
        b"1\r\nab",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"1\r\na\r\r\n",
        b"11111111111111111\r\n",
        b"0\r\nno trailer\r\n",
        b"0\r\nx : y\r\n",
        b"0\r\n folded\r\n",
        b"0\r\nx: a\nb\r\n",
        b"0\r\nx: a\x00\r\n",
        b"0\r\n" + b"x: y\r\n" * (TRAILERS_MAX + 1),
        b"1;" + b"x" * LINE_BYTES_MAX,
    ],
)
def test_broken_chunking_is_refused_however_it_is_cut(words: bytes) -> None:
    words += b"\r\n" * 700  # so that a lone line break is not just incomplete
    for size in (1, 2, len(words)):
        pieces = [words[at : at + size] for at in range(0, len(words), size)]
        with pytest.raises(RefusedError):
            read(ChunkedBody(), pieces)


@pytest.mark.parametrize(
    "words", [b"5\n", b"5\nhello", b"\n", b"5;a\n", b"0\r\nx: y\n"]
)
def test_a_bare_line_break_is_refused_before_more_comes(words: bytes) -> None:
    with pytest.raises(RefusedError):
        ChunkedBody().take(words)


def test_a_chunked_body_holds_no_more_than_a_line() -> None:
    body = ChunkedBody()
    body.take(b"1;")
    for _ in range(LINE_BYTES_MAX - 2):
        body.take(b"x")
    with pytest.raises(RefusedError):
        body.take(b"x")


def test_of_very_many_chunks_only_so_many_are_taken_at_once() -> None:
    body = ChunkedBody()
    whole = b"1\r\nx\r\n" * 3500 + b"0\r\n\r\n" + b"GET"
    part, rest = body.take(whole[:5000])
    assert (len(part), rest, body.has_more) == (833, b"", False)
    parts, more = [part], whole[5000:]
    while not body.is_complete:
        part, rest = body.take(more)
        assert len(part) <= LINES_AT_ONCE_MAX
        assert body.has_more != body.is_complete
        parts.append(part)
        more = b""
    assert (b"".join(parts), rest) == (b"x" * 3500, b"GET")


@pytest.mark.parametrize("cut", range(9))
def test_a_counted_body_ends_at_its_count(cut: int) -> None:
    words = b"abcde" + b"GET"
    body = CountedBody(5)
    assert read(body, [words[:cut], words[cut:]]) == (b"abcde", b"GET")
    assert body.is_complete


def test_an_absent_body_is_complete() -> None:
    body = CountedBody(0)
    assert body.is_complete
    assert body.take(b"GET") == (b"", b"GET")
