import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.wire.sse import Event, EventParser, EventTooLong

CASES: list[tuple[str, bytes, list[tuple[bytes, bytes]]]] = [
    ("an ordinary event", b'data: {"a":1}\n\n', [(b'{"a":1}', b"")]),
    ("two of them", b"data: a\n\ndata: b\n\n", [(b"a", b""), (b"b", b"")]),
    ("no space after the colon", b"data:a\n\n", [(b"a", b"")]),
    ("one space is taken, no more", b"data:  a\n\n", [(b" a", b"")]),
    ("a tab is not a space", b"data:\ta\n\n", [(b"\ta", b"")]),
    ("CR ends lines", b"data: a\r\rdata: b\r\r", [(b"a", b""), (b"b", b"")]),
    ("CRLF ends lines", b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"a", b""), (b"b", b"")]),
    ("mixed line ends", b"data: a\r\ndata: b\n\rdata: c\r\n\n",
     [(b"a\nb", b""), (b"c", b"")]),
    ("CRLF is one line end", b"data: a\r\ndata: b\r\n\r\n", [(b"a\nb", b"")]),
    ("LF CR are two", b"data: a\n\rdata: b\n\n", [(b"a", b""), (b"b", b"")]),
    ("lines are joined by LF", b"data: a\ndata\ndata: b\n\n", [(b"a\n\nb", b"")]),
    ("an empty data line dispatches", b"data\n\n", [(b"", b"")]),
    ("so does one with a colon", b"data:\n\ndata: \n\n", [(b"", b""), (b"", b"")]),
    ("two empty data lines are one LF", b"data\ndata\n\n", [(b"\n", b"")]),
    ("comments dispatch nothing", b": hi\n\n:\n\n:" + b"x" * 3000 + b"\0\n\n", []),
    ("a comment beside data", b": hi\ndata: a\n:data: b\n\n", [(b"a", b"")]),
    ("a BOM is dropped once", b"\xef\xbb\xbfdata: a\n\n", [(b"a", b"")]),
    ("a second BOM is data", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
     [(b"b", b"")]),
    ("a BOM later is data", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"a", b"")]),
    ("a BOM before a blank line", b"\xef\xbb\xbf\ndata: a\n\n", [(b"a", b"")]),
    ("unknown fields do nothing", b"data: a\nid: 1\nretry: 5\nx\n\n", [(b"a", b"")]),
    ("mis-cased fields do nothing", b"Data: a\nDATA: b\n data: c\n\n", []),
    ("a name", b"event: error\ndata: a\n\n", [(b"a", b"error")]),
    ("a name holds for one event", b"event: x\n\ndata: a\n\n", [(b"a", b"")]),
    ("the last name counts", b"event: x\ndata: a\nevent\n\n", [(b"a", b"")]),
    ("NUL is data", b"data: a\0b\n\n", [(b"a\0b", b"")]),
    ("a colon in data", b"data: a:b\ndata::c\n\n", [(b"a:b\n:c", b"")]),
    (
        "other separators of lines are data",
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        [("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode(), b"")],
    ),
    ("invalid UTF-8 is not our business", b"data: \xff\xfe\n\n", [(b"\xff\xfe", b"")]),
    ("blank lines in between", b"\n\n\r\ndata: a\n\n\n\r\n\n", [(b"a", b"")]),
    ("an unended event is none", b"data: a\n\ndata: b\n", [(b"a", b"")]),
    ("nor is one without a line end", b"data: a\n\ndata: b", [(b"a", b"")]),
]  # fmt: skip


def test_a_run_of_blank_lines_is_one_event_without_data() -> None:
    parser = EventParser()
    for run in (b"\n" * 60_000, b"\r\n\r\n", b"\r", b"\n\n\r"):
        events = parser.feed(run)
        assert [(event.raw, event.data) for event in events] == [(run, None)]
    events = parser.feed(b"\n\ndata: a\n\n\n\n\ndata: b\n\n")
    assert [event.raw for event in events if event.data is None] == [b"\n\n", b"\n\n\n"]
    assert dispatched(events) == [(b"a", b""), (b"b", b"")]


def dispatched(events: list[Event]) -> list[tuple[bytes, bytes]]:
    return [(event.data, event.name) for event in events if event.data is not None]


def feed_all(pieces: list[bytes]) -> tuple[list[tuple[bytes, bytes]], bytes, int]:
    parser = EventParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return dispatched(events), b"".join(event.raw for event in events), parser.held


@pytest.mark.parametrize(
    ("stream", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_standard_holds_wherever_the_stream_is_split(
    stream: bytes, expected: list[tuple[bytes, bytes]]
) -> None:
    splits = [[stream], [bytes([byte]) for byte in stream]]
    splits += [[stream[:at], stream[at:]] for at in range(len(stream))]
    for pieces in splits:
        events, raw, held = feed_all(pieces)
        assert events == expected
        assert raw == stream[: len(stream) - held]


PIECES = [b"data", b"data: ", b"event: ", b":", b"a", b"\n", b"\r", b"\r\n", b"\n\n"]
PIECES += [b"\xef\xbb\xbf", b" ", b"\0", b"\xe2\x80\xa8", b"data: x\n\n"]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), st.data())
def test_any_split_of_any_stream_gives_the_same_events(
    stream: bytes, data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    pieces = [
        stream[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    whole, whole_raw, whole_held = feed_all([stream])
    split, split_raw, split_held = feed_all(pieces)
    assert split == whole
    assert split_raw == stream[: len(stream) - split_held]
    assert whole_raw == stream[: len(stream) - whole_held]


@pytest.mark.parametrize(
    ("start", "rest"),
    [(b"data: a\n\n", b""), (b"data: a\r\n\r", b"\n"), (b"data: a\r\r", b"")],
)
def test_an_event_goes_out_with_the_first_byte_that_can_end_it(
    start: bytes, rest: bytes
) -> None:
    parser = EventParser()

    assert dispatched(parser.feed(start)) == [(b"a", b"")]
    assert parser.held == 0
    assert dispatched(parser.feed(rest + b"data: b\n\n")) == [(b"b", b"")]


def test_what_is_held_is_counted() -> None:
    parser = EventParser()
    parser.feed(b"data: a\n\ndata: b")
    assert parser.held == len(b"data: b")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_past_the_bound_is_refused_however_it_comes(size: int) -> None:
    parser = EventParser(event_bytes_max=50)
    long = b"data: " + b"x" * 43 + b"\n\n"
    *pieces, last = [long[at : at + size] for at in range(0, len(long), size)]
    for piece in pieces:
        assert parser.feed(piece) == []
    with pytest.raises(EventTooLong):
        parser.feed(last)
    with pytest.raises(EventTooLong):
        parser.feed(b"data: a\n\n")


def test_an_event_of_exactly_the_bound_passes() -> None:
    parser = EventParser(event_bytes_max=50)
    assert len(parser.feed(b"data: " + b"x" * 42 + b"\n\n")) == 1


def test_events_before_one_that_is_too_long_are_not_lost() -> None:
    parser = EventParser(event_bytes_max=20)
    assert dispatched(parser.feed(b"data: a\n\ndata: " + b"x" * 50)) == [(b"a", b"")]
    with pytest.raises(EventTooLong):
        parser.feed(b"")


def seconds_byte_by_byte(line_bytes: int, line_end: bytes) -> float:
    parser = EventParser()
    line = b"data: " + b"x" * line_bytes + line_end
    began = time.process_time()
    for byte in line * 2:
        assert not parser.feed(bytes([byte]))
    (event,) = parser.feed(line_end)[:1]
    assert event.data == b"\n".join([b"x" * line_bytes] * 2)
    return time.process_time() - began


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_long_event_byte_by_byte_takes_linear_time(line_end: bytes) -> None:
    short = seconds_byte_by_byte(25_000, line_end)
    long = seconds_byte_by_byte(8 * 25_000, line_end)
    assert long < 24 * short  # 8 if linear, 64 if what is held is searched each time


def test_an_event_does_not_show_its_data() -> None:
    (event,) = EventParser().feed(b"data: secret\n\n")
    assert "secret" not in repr(event)
