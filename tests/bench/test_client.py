"""What counts as a good answer: to take bad ones for good is worse than to be slow."""

import pytest

from trio_gateway.bench.client import CHUNKED, size_of, what_is_wrong
from trio_gateway.bench.loads import LOADS, Load
from trio_gateway.bench.mock import error_answer, stream_pieces, whole_answer

REQUESTS = LOADS["requests"]
FAILOVER = LOADS["failover"]
STREAM = Load("stream", "s3-g0", chunks=3)
STREAMED = b"".join(stream_pieces(3))


def test_what_the_mock_says_is_good() -> None:
    assert what_is_wrong(whole_answer(), REQUESTS) is None
    assert what_is_wrong(STREAMED, STREAM) is None


def test_no_prefix_of_an_answer_is_good() -> None:
    for whole, load in ((whole_answer(), REQUESTS), (STREAMED, STREAM)):
        content_begins = whole.index(b"\r\n\r\n") + 4
        # Behind the last word of it there is only JSON, whose length is checked.
        content_ends = whole.rindex(b"]") if load.chunks else whole.index(b"closes.")
        for end in range(content_begins, content_ends):
            assert what_is_wrong(whole[:end], load) is not None


@pytest.mark.parametrize(
    ("answer", "load", "wrong"),
    [
        (error_answer(503), REQUESTS, "status 503"),
        (
            b'HTTP/1.1 503 \r\n\r\n{"error": {"code": "unavailable"}}',
            REQUESTS,
            "status 503 unavailable",
        ),
        (whole_answer().replace(b"breaker", b"braker"), REQUESTS, "other words"),
        (b"".join(stream_pieces(2)), STREAM, "other chunks"),
        (b"".join(stream_pieces(4)), STREAM, "other chunks"),
        (STREAMED.replace(b"[DONE]", b"[GONE]"), STREAM, "no [DONE]"),
        (STREAMED.replace(b"\r\n0\r\n\r\n", b""), STREAM, "broken chunks"),
        (STREAMED + b"0\r\n\r\n", STREAM, "broken chunks"),
    ],
)
def test_a_bad_answer_is_named(answer: bytes, load: Load, wrong: str) -> None:
    assert what_is_wrong(answer, load) == wrong


def test_chunks_may_be_framed_in_another_way_than_they_came() -> None:
    head, _, body = STREAMED.partition(b"\r\n\r\n")
    lines = body.split(b"\r\n")
    content = b"".join(lines[1::2])
    pieces = [content[at : at + 7] for at in range(0, len(content), 7)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)

    assert what_is_wrong(head + b"\r\n\r\n" + framed + b"0\r\n\r\n", STREAM) is None


def test_a_failover_that_did_not_happen_is_seen() -> None:
    def answer(attempts: int) -> bytes:
        field = b"\r\nx-gateway-attempts: %d\r\n\r\n" % attempts
        return whole_answer().replace(b"\r\n\r\n", field, 1)

    assert what_is_wrong(answer(2), FAILOVER) is None
    assert what_is_wrong(answer(1), FAILOVER) == "other attempts"
    assert what_is_wrong(whole_answer(), FAILOVER) is None  # others do not tell


def test_the_size_of_an_answer_is_known_once_its_head_is_there() -> None:
    whole = whole_answer()
    head_bytes = whole.index(b"\r\n\r\n") + 4
    sizes = [size_of(whole[:end]) for end in range(len(whole) + 1)]

    assert sizes[:head_bytes] == [None] * head_bytes
    assert set(sizes[head_bytes:]) == {len(whole)}
    assert size_of(STREAMED) == CHUNKED
