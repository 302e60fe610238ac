import gzip
import zlib
from collections.abc import Callable

import pytest

from trio_gateway.wire.encoding import (
    DECODED_BYTES_MAX,
    PIECE_BYTES_MAX,
    Decoder,
    EncodingError,
    decoder_for,
)

TEXT = b'data: {"choices": []}\n\n' * 50


def bare(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compress.compress(data) + compress.flush()


ENCODED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip": (b"X-GZIP", gzip.compress(TEXT)),
    "deflate": (b"deflate", zlib.compress(TEXT)),
    "bare deflate": (b"deflate", bare(TEXT)),
}


def a_decoder(encoding: bytes) -> Decoder:
    decoder = decoder_for([(b"content-encoding", encoding)])
    assert decoder
    return decoder


def all_pieces(decoder: Decoder, data: bytes) -> list[bytes]:
    pieces = [decoder.decode(data)]
    while decoder.has_more:
        pieces.append(decoder.decode(b""))
    return pieces


@pytest.mark.parametrize(("encoding", "data"), ENCODED.values(), ids=ENCODED)
def test_each_encoding_is_undone_wherever_it_is_split(
    encoding: bytes, data: bytes
) -> None:
    for size in (1, 2, 7, len(data)):
        decoder = a_decoder(encoding)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert b"".join(map(decoder.decode, pieces)) == TEXT
        decoder.finish()


def test_an_event_that_was_flushed_comes_out_at_once() -> None:
    compress = zlib.compressobj(wbits=31)
    decoder = a_decoder(b"gzip")
    for _ in range(3):
        data = compress.compress(b"data: a\n\n") + compress.flush(zlib.Z_SYNC_FLUSH)
        assert decoder.decode(data) == b"data: a\n\n"


@pytest.mark.parametrize(("encoding", "data"), ENCODED.values(), ids=ENCODED)
def test_a_body_cut_anywhere_is_an_error(encoding: bytes, data: bytes) -> None:
    for cut in range(1, len(data)):
        decoder = a_decoder(encoding)
        decoder.decode(data[:cut])
        with pytest.raises(EncodingError, match="cut short"):
            decoder.finish()


def test_an_empty_body_is_just_empty() -> None:
    for encoding in (b"gzip", b"deflate"):
        decoder = a_decoder(encoding)
        assert decoder.decode(b"") == b""


def test_broken_data_is_an_error() -> None:
    data = gzip.compress(TEXT)
    damaged = data[:-8] + b"\0" * 8  # the checksum
    for broken in (b"not gzip at all", damaged):
        with pytest.raises(EncodingError, match="broken"):
            a_decoder(b"gzip").decode(broken)


def test_more_after_the_end_is_an_error() -> None:
    decoder = a_decoder(b"gzip")
    with pytest.raises(EncodingError, match="after the end"):
        decoder.decode(gzip.compress(TEXT) + b"x")
    decoder = a_decoder(b"gzip")
    decoder.decode(gzip.compress(TEXT))
    with pytest.raises(EncodingError, match="after the end"):
        decoder.decode(b"x")


def test_a_bomb_does_not_go_off() -> None:
    fits = gzip.compress(bytes(DECODED_BYTES_MAX))
    assert sum(map(len, all_pieces(a_decoder(b"gzip"), fits))) == DECODED_BYTES_MAX
    bomb = gzip.compress(bytes(DECODED_BYTES_MAX + 1))
    with pytest.raises(EncodingError, match="expands"):
        all_pieces(a_decoder(b"gzip"), bomb)


@pytest.mark.parametrize("size", [0, 1, -1])
@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress, bare])
def test_few_bytes_that_become_many_come_piece_by_piece(
    encode: Callable[[bytes], bytes], size: int
) -> None:
    text = (TEXT * 999)[: 3 * PIECE_BYTES_MAX + size]
    decoder = a_decoder(b"gzip" if encode is gzip.compress else b"deflate")
    pieces = all_pieces(decoder, encode(text))
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) == PIECE_BYTES_MAX
    decoder.finish()


def test_what_follows_the_end_is_an_error_also_in_the_last_piece() -> None:
    data = gzip.compress(bytes(2 * PIECE_BYTES_MAX)) + b"x"
    with pytest.raises(EncodingError, match="after the end"):
        all_pieces(a_decoder(b"gzip"), data)


@pytest.mark.parametrize("value", [b"identity", b"", b" Identity , identity"])
def test_identity_needs_no_decoder(value: bytes) -> None:
    assert decoder_for([(b"content-encoding", value)]) is None


def test_no_header_means_no_encoding() -> None:
    assert decoder_for([(b"content-type", b"gzip")]) is None


@pytest.mark.parametrize("value", [b"br", b"zstd", b"gzip, gzip", b"gzip,br", b"\xff"])
def test_other_encodings_are_refused(value: bytes) -> None:
    with pytest.raises(EncodingError):
        decoder_for([(b"content-encoding", value)])


def test_encodings_in_two_fields_are_two() -> None:
    fields = [(b"content-encoding", b"gzip"), (b"content-encoding", b"deflate")]
    with pytest.raises(EncodingError):
        decoder_for(fields)
