"""Content encodings: upstreams are asked for none, and some compress all the same.

What cannot be decoded is an `EncodingError`, before a byte of it reaches a client. How
far a piece may expand is bounded, so that a few bytes cannot fill the memory.
"""

import zlib
from collections.abc import Iterable
from typing import Final

# One read of a connection is 64 KiB at most; text of that size in a hundredth of its
# room is already unlikely. Deflate could make 64 MiB of it.
DECODED_BYTES_MAX: Final = 8 * 1024 * 1024

# It is not made at once, either: what follows is meant for what one read brings, and
# would keep everybody else waiting for a hundred times as much.
PIECE_BYTES_MAX: Final = 64 * 1024

_NO_ENCODING: Final = frozenset({b"", b"identity"})
_GZIP: Final = frozenset({b"gzip", b"x-gzip"})

# zlib's names for the three wrappings of one compression.
_GZIP_BITS: Final = 16 + zlib.MAX_WBITS
_ZLIB_BITS: Final = zlib.MAX_WBITS
_RAW_BITS: Final = -zlib.MAX_WBITS
# "deflate" should be in zlib's wrapping; some send it bare. Two bytes tell which.
_ZLIB_HEADER_BYTES: Final = 2


class EncodingError(ValueError):
    """The body is not what its `content-encoding` says, or in no encoding we know."""


class Decoder:
    """Undoes one content encoding, piece by piece.

    `has_more` says that bytes which were given decode to more than was returned: ask
    for that, with `decode(b"")`, before more is given.
    """

    __slots__ = ("_decoded", "_inflate", "_start", "has_more")

    def __init__(self, *, is_gzip: bool) -> None:
        self.has_more = False
        self._start = b""  # until there is enough to know the wrapping
        self._inflate = zlib.decompressobj(_GZIP_BITS) if is_gzip else None
        self._decoded = 0  # of the bytes that were given last

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes decode to, maybe nothing yet, or its first piece.

        Raises:
            EncodingError: they are broken, expand to more than `DECODED_BYTES_MAX`, or
                follow the end of what was encoded.
        """
        if self.has_more:
            assert self._inflate is not None
            return self._piece(self._inflate, self._inflate.unconsumed_tail + data)
        if not data:
            return b""
        if self._inflate is None:
            self._start += data
            if len(self._start) < _ZLIB_HEADER_BYTES:
                return b""
            data, self._start = self._start, b""
            bits = _ZLIB_BITS if _is_zlib(data) else _RAW_BITS
            self._inflate = zlib.decompressobj(bits)
        if self._inflate.eof:
            raise EncodingError("more after the end")
        self._decoded = 0
        return self._piece(self._inflate, data)

    def _piece(self, inflate: "zlib._Decompress", data: bytes) -> bytes:
        try:
            decoded = inflate.decompress(data, PIECE_BYTES_MAX)
        except zlib.error as error:
            raise EncodingError("broken data") from error
        self._decoded += len(decoded)
        if self._decoded > DECODED_BYTES_MAX:
            raise EncodingError("expands too much")
        if inflate.unused_data:
            raise EncodingError("more after the end")
        # Where a piece is full, there may be more in what zlib holds, too.
        self.has_more = len(decoded) == PIECE_BYTES_MAX and not inflate.eof
        return decoded

    def finish(self) -> None:
        """Take note that the body ended here.

        Raises:
            EncodingError: it ended too early. A body without a byte is just empty.
        """
        if self._start or (self._inflate is not None and not self._inflate.eof):
            raise EncodingError("cut short")


def decoder_for(headers: Iterable[tuple[bytes, bytes]]) -> Decoder | None:
    """Return a decoder for the body under these headers, None where it needs none.

    The names of the headers are in lower case.

    Raises:
        EncodingError: the encoding is not gzip or deflate, or there are several.
    """
    named = [
        encoding.strip(b" \t").lower()
        for name, value in headers
        if name == b"content-encoding"
        for encoding in value.split(b",")
    ]
    encodings = [encoding for encoding in named if encoding not in _NO_ENCODING]
    if not encodings:
        return None
    if len(encodings) > 1:
        raise EncodingError("more than one encoding")
    if encodings[0] in _GZIP:
        return Decoder(is_gzip=True)
    if encodings[0] == b"deflate":
        return Decoder(is_gzip=False)
    raise EncodingError("unknown encoding")


def _is_zlib(start: bytes) -> bool:
    """Whether the first two bytes are zlib's header: method 8, and a checksum."""
    is_deflate = start[0] & 0x0F == zlib.DEFLATED
    return is_deflate and int.from_bytes(start[:2]) % 31 == 0
