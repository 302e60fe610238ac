"""Content encodings that upstreams use although asked for none."""

from collections.abc import Sequence


class EncodingError(ValueError):
    """The body is not what its `content-encoding` says, or in no encoding we know."""


class Decoder:
    """Undoes one content encoding, piece by piece."""

    def decode(self, data: bytes) -> bytes:
        """Return what these bytes decode to."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take note of the body's end; raise `EncodingError` if it was cut."""
        raise NotImplementedError


def decoder_for(headers: Sequence[tuple[bytes, bytes]]) -> Decoder | None:
    """Return a decoder for the body under these headers, None where it needs none."""
    raise NotImplementedError
