"""The frames of strangers: a client's, more or less; now and then nothing like it."""

from random import Random

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.serving.http2.client import GET, PREFACE, Fields

PATHS = ["/hi", "/slow", "/echo", "/wait", "/stream", "/flood", "/early", "/cut", "*"]
ODD_FIELDS: Fields = [
    ("content-length", "5"),
    ("content-length", "x"),
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
    ("te", "trailers"),
    ("expect", "100-continue"),
    (":path", "/"),
    (":status", "100"),
    (":method", "CONNECT"),
    ("x", "y" * 900),
    ("", ""),
    ("X", "\r\n"),
]
SIZES = [0, 1, 2**14, 2**16, 2**31 - 1]


def bytes_of_a_stranger(rng: Random) -> bytes:
    """A connection's beginning, whole or not, with some of its bytes changed."""
    encoder = Encoder()
    words = PREFACE if rng.random() < 0.95 else PREFACE[: rng.randrange(len(PREFACE))]
    if rng.random() < 0.9:
        words += SettingsFrame(0).serialize()
    for _ in range(rng.choice([1, 3, 10, 30])):
        words += _frame(rng, encoder).serialize()
    if rng.random() < 0.2:
        words = words[: rng.randrange(1, len(words))]
    if rng.random() < 0.2:
        at = rng.randrange(len(words))
        words = words[:at] + rng.randbytes(rng.choice([0, 1, 5])) + words[at + 1 :]
    return words


def _frame(rng: Random, encoder: Encoder) -> Frame:
    number = rng.choice([1, 1, 3, 3, 5, 5, 7, 2, 99, 2**31 - 1])
    frame: Frame
    match rng.randrange(16):
        case 0 | 1 | 2 | 3 | 4 | 5:
            frame = HeadersFrame(number, _block(rng, encoder))
            frame.flags.add("END_HEADERS")
            if rng.random() < 0.1:
                frame.flags.discard("END_HEADERS")
            if rng.random() < 0.1:
                frame.flags.add("PRIORITY")
                frame.depends_on = rng.choice([0, number])
        case 6 | 7:
            frame = DataFrame(number, b"x" * rng.choice([0, 5, 5, 1000, 16384, 16385]))
            if rng.random() < 0.2:
                frame.flags.add("PADDED")
                frame.pad_length = rng.choice([0, 255])
        case 8:
            frame = RstStreamFrame(number, rng.choice([0, 8, 99]))
        case 9:
            frame = WindowUpdateFrame(rng.choice([0, number]), rng.choice(SIZES[1:]))
        case 10:
            code = rng.choice([1, 2, 3, 4, 5, 6, 8, 77])
            frame = SettingsFrame(0, {code: rng.choice(SIZES)})
            if rng.random() < 0.2:
                frame.settings = {}
                frame.flags.add("ACK")
        case 11:
            frame = PingFrame(0, rng.randbytes(8))
        case 12:
            frame = PriorityFrame(number)
            frame.depends_on = rng.choice([0, 1, number])
        case 13:
            frame = GoAwayFrame(0, 0, rng.choice([0, 0, 1]))
        case 14:
            frame = ContinuationFrame(number, _block(rng, encoder))
        case _:
            frame = rng.choice(
                [
                    ExtensionFrame(type=rng.randrange(16, 256), stream_id=number),
                    PushPromiseFrame(number, 2, b"\x82"),
                ]
            )
    if isinstance(frame, DataFrame | HeadersFrame) and rng.random() < 0.6:
        frame.flags.add("END_STREAM")
    return frame


def _block(rng: Random, encoder: Encoder) -> bytes:
    if rng.random() < 0.05:
        return rng.randbytes(rng.choice([0, 1, 20]))
    head = [*GET]
    head[0] = (":method", rng.choice(["GET", "POST", "HEAD"]))
    head[3] = (":path", rng.choice(PATHS))
    if rng.random() < 0.2:
        head.insert(rng.randrange(5), rng.choice(ODD_FIELDS))
    if rng.random() < 0.1:
        del head[rng.randrange(len(head))]
    return encoder.encode(head, huffman=rng.random() < 0.5)[:16384]
