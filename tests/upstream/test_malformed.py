"""Answers that are none: each gives its failure, never an exception and never a lie."""

import random

import pytest
import trio
import trio.testing

from tests.upstream.peers import Peer, a_call, in_memory
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.upstream.pool import PooledUpstream
from trio_gateway.upstream.reader import HttpReader

BAD, RESET, CUT = (
    FailureClass.BAD_ANSWER,
    FailureClass.RESET,
    FailureClass.INTERRUPTED,
)
LINE = b"HTTP/1.1 200 OK\r\n"
LENGTH = LINE + b"content-length: 5\r\n\r\n"
CHUNKED = LINE + b"transfer-encoding: chunked\r\n\r\n"
OK = LENGTH + b"hello"
END = b"0\r\n\r\n"

NO_ANSWER = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BAD),
    "an alert of TLS": (b"\x15\x03\x01\x00\x02\x02\x46", BAD),
    "a frame of HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", BAD),
    "RTSP": (b"RTSP/1.0 200 OK\r\n\r\n", BAD),
    "a request": (b"GET / HTTP/1.1\r\n\r\n", BAD),
    "only HTML": (b"<html>oops</html>", BAD),
    "a line end before": (b"\r\n" + OK, BAD),
    "HTTP/0.9": (OK.replace(b"1.1", b"0.9"), BAD),
    "HTTP/1.2": (OK.replace(b"1.1", b"1.2"), BAD),
    "HTTP/2.0": (OK.replace(b"1.1", b"2.0"), BAD),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", BAD),
    "a status of 2 digits": (OK.replace(b"200", b"20"), BAD),
    "a status of 4 digits": (OK.replace(b"200", b"2000"), BAD),
    "a status with a letter": (OK.replace(b"200", b"2x0"), BAD),
    "a status of 0": (OK.replace(b"200", b"000"), BAD),
    "a status of 99": (OK.replace(b"200", b"099"), BAD),
    "a switch": (b"HTTP/1.1 101 Go\r\nupgrade: x\r\n\r\n", BAD),
    "a switch agreed on": (
        b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + OK,
        BAD,
    ),
    "a switch to nothing": (b"HTTP/1.1 101 Go\r\n\r\n" + OK, BAD),
    "bare line feeds": (OK.replace(b"\r\n", b"\n"), BAD),
    "a space before a colon": (LINE + b"content-length : 5\r\n\r\nhello", BAD),
    "no colon": (LINE + b"content-length 5\r\n\r\nhello", BAD),
    "no name": (LINE + b": x\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a folded field": (LINE + b"x: a\r\n b\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a first field folded": (LINE + b" x: a\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a NUL in a value": (LINE + b"x: a\0b\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a NUL in a name": (LINE + b"x\0: b\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a bare CR in a value": (LINE + b"x: a\rb\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "two lengths": (
        LINE + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        BAD,
    ),
    "a length twice": (
        LINE + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        BAD,
    ),
    "two lengths in one": (LINE + b"content-length: 5, 5\r\n\r\nhello", BAD),
    "a length of letters": (LINE + b"content-length: many\r\n\r\n", BAD),
    "a negative length": (LINE + b"content-length: -5\r\n\r\nhello", BAD),
    "a signed length": (LINE + b"content-length: +5\r\n\r\nhello", BAD),
    "an empty length": (LINE + b"content-length:\r\n\r\nhello", BAD),
    "a length beyond all": (LINE + b"content-length: 9" + b"9" * 30 + b"\r\n\r\n", BAD),
    "a length and chunks": (
        LINE + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + END,
        BAD,
    ),
    "chunks and a length": (
        LINE + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n" + END,
        BAD,
    ),
    "an unknown coding": (LINE + b"transfer-encoding: gzip\r\n\r\nhello", BAD),
    "an unknown coding, chunked": (
        LINE + b"transfer-encoding: gzip, chunked\r\n\r\n" + END,
        BAD,
    ),
    "chunked, then unknown": (
        LINE + b"transfer-encoding: chunked, gzip\r\n\r\n" + END,
        BAD,
    ),
    "chunked twice": (
        LINE + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n" + END,
        BAD,
    ),
    "almost chunked": (LINE + b"transfer-encoding: xchunked\r\n\r\n" + END, BAD),
    "a long field": (LINE + b"x: " + b"a" * 70_000 + b"\r\n\r\n", BAD),
    "a field without end": (LINE + b"x: " + b"a" * 300_000, BAD),
    "many fields": (LINE + b"x: 1\r\n" * 30_000 + b"\r\n", BAD),
    "a long reason": (b"HTTP/1.1 200 " + b"a" * 300_000, BAD),
    "interim answers without end": (b"HTTP/1.1 102 Wait\r\n\r\n" * 10_000, BAD),
    "an interim answer only": (b"HTTP/1.1 100 Continue\r\n\r\n", RESET),
    "a head cut in its first line": (b"HTTP/1.1 2", RESET),
    "a head cut in a field": (LINE + b"content-", RESET),
    "a head cut before its end": (LINE + b"content-length: 5\r\n", RESET),
    "nothing": (b"", RESET),
}

BROKEN_BODIES = {
    "short": (LENGTH + b"hell", b"hell"),
    "no body": (LENGTH, b""),
    "no chunk": (CHUNKED, b""),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", b"hello"),
    "half a last chunk": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"hello"),
    "half a chunk": (CHUNKED + b"5\r\nhel", b"hel"),
    "a size of letters": (CHUNKED + b"5\r\nhello\r\nzz\r\n" + END, b"hello"),
    "a size with a space": (CHUNKED + b"5 \r\nhello\r\n" + END, b""),
    "a size in C": (CHUNKED + b"0x5\r\nhello\r\n" + END, b""),
    "a negative size": (CHUNKED + b"-5\r\nhello\r\n" + END, b""),
    "an empty size": (CHUNKED + b"\r\nhello\r\n" + END, b""),
    "a size beyond all": (CHUNKED + b"f" * 20 + b"\r\nhello\r\n", b""),
    "a size too small": (CHUNKED + b"4\r\nhello\r\n" + END, b"hell"),
    "bare line feeds": (CHUNKED + b"5\nhello\n0\n\n", b""),
    "no line end after a chunk": (CHUNKED + b"5\r\nhello" + END, b"hello"),
    "an extension without end": (CHUNKED + b"5;" + b"a" * 300_000, b""),
    "a field without end after the body": (
        CHUNKED + b"5\r\nhello\r\n0\r\nx: " + b"a" * 300_000,
        b"hello",
    ),
    "fields without end after the body": (
        CHUNKED + b"5\r\nhello\r\n0\r\n" + b"x: 1\r\n" * 30_000,
        b"hello",
    ),
    "a length after the body": (
        CHUNKED + b"5\r\nhello\r\n0\r\ncontent-length: 5\r\n\r\n",
        b"hello",
    ),
}

# The answer is good, but its connection is out of step, or at its end.
LAST_ANSWERS = {
    "a byte too many": OK + b"!",
    "a second answer": OK + OK,
    "half a second answer": OK + b"HTTP/1.1 2",
    "an interim answer after": OK + b"HTTP/1.1 100 Continue\r\n\r\n",
    "a byte after the last chunk": CHUNKED + b"5\r\nhello\r\n" + END + b"!",
    "a second answer after chunks": CHUNKED + b"5\r\nhello\r\n" + END + OK,
    "closing": LINE + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
    "closing, and more": LINE + b"connection: close\r\ncontent-length: 5\r\n\r\nhello!",
    "HTTP/1.0": OK.replace(b"1.1", b"1.0"),
    "HTTP/1.0 kept alive": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello"
    ),
}

GOOD_ANSWERS = {
    "a length": OK,
    "chunks": CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n" + END,
    "chunks in other words": (
        LINE + b"Transfer-Encoding:\t Chunked \r\n\r\n05;a=b\r\nhello\r\n" + END
    ),
    "fields after the body": (
        CHUNKED + b"5\r\nhello\r\n0\r\nx: 1\r\nstatus: 500\r\n\r\n"
    ),
    "no reason": b"HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello",
    "an offer to switch": (
        LINE + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 5\r\n\r\nhello"
    ),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\ncontent-length: 9\r\n\r\n" + OK
    ),
    "a long head": LINE + b"x: " + b"a" * 60_000 + b"\r\n" + OK[len(LINE) :],
}


async def ask_twice(answer: bytes, *, piece: int) -> tuple[list[object], int]:
    """What comes of two calls, and over how many connections."""

    async def serve(peer: Peer) -> None:
        while await peer.request() is not None:
            for at in range(0, len(answer), piece):
                await peer.send(answer[at : at + piece])
            if ends:
                return

    ends = answer not in (*GOOD_ANSWERS.values(), *LAST_ANSWERS.values())
    outcomes: list[object] = []
    async with (
        in_memory(serve) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        for _ in range(2):
            with trio.fail_after(60):
                outcomes.append(await ask(upstream, place.base_url))
            await trio.sleep(1)
        kept = sum(len(pool._idle) for pool in upstream._pools.values())
        assert place.connections_open == kept
        return outcomes, place.connections


async def ask(
    upstream: PooledUpstream, base_url: str
) -> FailureClass | tuple[int, bytes, FailureClass | None]:
    stream = await upstream.open(a_call(base_url))
    if isinstance(stream, Failure):
        return stream.kind
    body, end = b"", None
    while data := await stream.receive():
        if isinstance(data, Failure):
            assert await stream.receive() == data
            end = data.kind
            break
        body += data
    await stream.aclose()
    return stream.status, body, end


PIECES = pytest.mark.parametrize("piece", [1, 1_000_000], ids=["bytewise", "at once"])


def pieces_of(answer: bytes, piece: int) -> int:
    return max(piece, len(answer) // 3_000)  # a long answer in single bytes takes long


@PIECES
@pytest.mark.parametrize("name", NO_ANSWER)
async def test_what_is_no_answer_is_a_failure(
    autojump_clock: trio.testing.MockClock, name: str, piece: int
) -> None:
    answer, expected = NO_ANSWER[name]
    outcomes, connections = await ask_twice(answer, piece=pieces_of(answer, piece))
    assert outcomes == [expected, expected]
    assert connections == 2


@PIECES
@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_broken_body_is_interrupted_after_what_was_good_of_it(
    autojump_clock: trio.testing.MockClock, name: str, piece: int
) -> None:
    answer, body = BROKEN_BODIES[name]
    outcomes, connections = await ask_twice(answer, piece=pieces_of(answer, piece))
    assert outcomes == [(200, body, CUT)] * 2
    assert connections == 2


@PIECES
@pytest.mark.parametrize("name", LAST_ANSWERS)
async def test_what_follows_an_answer_is_never_taken_for_the_next(
    autojump_clock: trio.testing.MockClock, name: str, piece: int
) -> None:
    answer = LAST_ANSWERS[name]
    outcomes, connections = await ask_twice(answer, piece=piece)
    assert outcomes == [(200, b"hello", None)] * 2
    assert connections == 2


@PIECES
@pytest.mark.parametrize("name", GOOD_ANSWERS)
async def test_an_unusual_answer_is_an_answer(
    autojump_clock: trio.testing.MockClock, name: str, piece: int
) -> None:
    answer = GOOD_ANSWERS[name]
    outcomes, connections = await ask_twice(answer, piece=pieces_of(answer, piece))
    assert outcomes == [(200, b"hello", None)] * 2
    assert connections == 1


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none_whatever_its_length_says(
    autojump_clock: trio.testing.MockClock, status: int
) -> None:
    async def serve(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\n" % status)

    async with (
        in_memory(serve) as place,
        PooledUpstream(connect=place.connect) as upstream,
    ):
        for _ in range(2):
            assert await ask(upstream, place.base_url) == (status, b"", None)
        assert place.connections == 1


def read(reader: HttpReader, pieces: list[bytes]) -> tuple[object, ...]:
    """All there is to say of an answer that came in these pieces."""
    body = b""
    for piece in pieces:
        if piece and not reader.is_whole and reader.failure is None:
            reader.feed(piece)
            body += reader.take()
    reader.feed_end()
    if not reader.has_head:
        return (reader.failure,)
    return reader.status, reader.headers, body, reader.is_whole, reader.failure


ALL = {
    name: entry[0] if isinstance(entry, tuple) else entry
    for table in (NO_ANSWER, BROKEN_BODIES, LAST_ANSWERS, GOOD_ANSWERS)
    for name, entry in table.items()
}


@pytest.mark.parametrize("name", [name for name in ALL if len(ALL[name]) < 1_000])
def test_it_does_not_matter_where_an_answer_is_split(name: str) -> None:
    answer = ALL[name]
    expected = read(HttpReader(), [answer])
    for at in range(1, len(answer)):
        assert read(HttpReader(), [answer[:at], answer[at:]]) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_garbled_answer_is_whole_or_a_failure_and_raises_nothing(seed: int) -> None:
    rng = random.Random(seed)
    originals = [answer for answer in ALL.values() if 0 < len(answer) < 1_000]
    for _ in range(300):
        garbled = bytearray(rng.choice(originals))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(garbled))
            what = rng.choice(
                (b"", b"\r\n", b"\0", b" ", b"0", bytes([rng.randrange(256)]))
            )
            garbled[at : at + rng.randrange(3)] = what
            if not garbled:
                garbled += b"H"
        reader = HttpReader()
        read(reader, [bytes(garbled)])
        assert reader.is_whole or reader.failure is not None, bytes(garbled)


@pytest.mark.parametrize(
    ("beginning", "more", "expected"),
    [
        (LINE, b"x: 1\r\n", BAD),
        (LINE + b"x: ", b"a", BAD),
        (b"", b"HTTP/1.1 102 Wait\r\n\r\n", BAD),
        (CHUNKED + b"5;", b"a", CUT),
        (CHUNKED + b"0\r\nx: ", b"a", CUT),
        (CHUNKED + b"0\r\n", b"x: 1\r\n", CUT),
    ],
)
def test_what_never_ends_is_given_up_before_it_fills_memory(
    beginning: bytes, more: bytes, expected: FailureClass
) -> None:
    reader = HttpReader()
    if beginning:
        reader.feed(beginning)
    fed = 0
    while reader.failure is None:
        assert fed < 100_000
        reader.feed(more)
        fed += len(more)
    assert reader.failure.kind is expected


def test_nothing_can_follow_a_body_that_ended_with_its_connection() -> None:
    reader = HttpReader()
    reader.feed(LINE + b"\r\nhello")
    assert not reader.is_whole
    reader.feed_end()
    assert (reader.take(), reader.is_whole, reader.is_in_step) == (
        b"hello",
        True,
        False,
    )
