"""The body of a request: which of the bytes that came are part of it.

A reader is fed whatever comes and gives back the body's part and the rest, which is the
next request's. It does no I/O, and holds no more than one line of chunking, or what it
has put off: one read may bring ten thousand chunks of a byte, and others shall have
their turn between. Chunk extensions and trailers mean nothing to any app here: they are
bounded and dropped.
"""

import re
from typing import Final

from trio_gateway.serving.fast.head import Head
from trio_gateway.serving.refusals import RefusedError

# A chunk's size with its extensions, which nobody uses, or one trailer.
LINE_BYTES_MAX: Final = 1024
TRAILERS_MAX: Final = 32
# As many lines as take a few milliseconds.
LINES_AT_ONCE_MAX: Final = 1000

# Sixteen digits are more than any counter holds; what follows `;` is not looked at.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class CountedBody:
    """A body of known length; an absent one has the length 0."""

    __slots__ = ("is_complete", "left")

    has_more = False

    def __init__(self, length: int) -> None:
        self.left = length
        self.is_complete = length == 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Split what came into the body's part and the rest."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return data, b""
        part, rest = data[: self.left], data[self.left :]
        self.left = 0
        self.is_complete = True
        return part, rest


class ChunkedBody:
    """A body in chunks, of which only the last one tells the length."""

    __slots__ = (
        "_chunk_left",
        "_held",
        "_is_in_trailers",
        "_trailers",
        "has_more",
        "is_complete",
    )

    def __init__(self) -> None:
        self.is_complete = False
        self.has_more = False  # put off: take it with `b""`
        # Of the chunk and the line break that ends it; 0 where a line is awaited.
        self._chunk_left = 0
        self._held = b""  # an incomplete line, or what was put off
        self._is_in_trailers = False
        self._trailers = 0

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Split what came into the body's part, without its chunking, and the rest.

        Raises:
            RefusedError: If the chunking is broken.
        """
        data = self._held + data
        self._held = b""
        self.has_more = False
        parts: list[bytes] = []
        at = lines = 0
        while not self.is_complete:
            if self._chunk_left:
                at = self._take_chunk(data, at, parts)
                if self._chunk_left:
                    break
                continue
            end = data.find(b"\r\n", at)
            if (len(data) if end < 0 else end) - at > LINE_BYTES_MAX:
                raise RefusedError(400)
            if end < 0:
                if data.find(b"\n", at) >= 0:
                    raise RefusedError(400)  # a line break that will never be whole
                self._held = data[at:]
                return b"".join(parts), b""
            if lines == LINES_AT_ONCE_MAX:
                self.has_more = True
                self._held = data[at:]
                return b"".join(parts), b""
            self._take_line(data[at:end])
            at = end + 2
            lines += 1
        return b"".join(parts), data[at:]

    def _take_chunk(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take what there is of a chunk and its line break; return where it ends."""
        of_chunk = max(self._chunk_left - 2, 0)
        part = data[at : at + of_chunk]
        parts.append(part)
        self._chunk_left -= len(part)
        at += len(part)
        if self._chunk_left <= 2:
            ending = data[at : at + self._chunk_left]
            if not b"\r\n"[2 - self._chunk_left :].startswith(ending):
                raise RefusedError(400)
            self._chunk_left -= len(ending)
            at += len(ending)
        return at

    def _take_line(self, line: bytes) -> None:
        if self._is_in_trailers:
            self._take_trailer(line)
            return
        size = _SIZE.fullmatch(line)
        if size is None:
            raise RefusedError(400)
        length = int(size[1], 16)
        if length:
            self._chunk_left = length + 2
        else:
            self._is_in_trailers = True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.is_complete = True
            return
        self._trailers += 1
        if self._trailers > TRAILERS_MAX or not _TRAILER.fullmatch(line):
            raise RefusedError(400)


Body = CountedBody | ChunkedBody


def body_of(head: Head) -> Body:
    """Make the reader of a request's body."""
    return ChunkedBody() if head.length is None else CountedBody(head.length)
