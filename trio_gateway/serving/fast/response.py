"""An app's response: from ASGI's messages to the bytes of HTTP/1.1.

It does no I/O. It decides how the body is framed and whether the connection ends with
it, and refuses what would tear the stream of responses: a line break in a field, or a
body that is not as long as was said. The head waits for the first part of the body, so
that both leave in one write.

| what the app says                  | how the body is framed            |
| ---------------------------------- | --------------------------------- |
| HEAD, 204, 304                     | there is none                     |
| a content-length                   | that many bytes                   |
| all of it in the first message     | a content-length of ours          |
| more to come, to HTTP/1.1          | chunked                           |
| more to come, to HTTP/1.0          | by the close                      |
"""

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from trio_gateway.serving.fast.head import Head, says_close

# Ours to say: they frame the message or the connection.
_OURS: Final = frozenset({b"connection", b"content-length", b"transfer-encoding"})

_LAST_CHUNK: Final = b"0\r\n\r\n"


class ResponseError(Exception):
    """The app asked for a response that HTTP cannot carry."""


class _Framing(Enum):
    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


_CHUNKED: Final = _Framing.CHUNKED  # found more quickly, in Python 3.11


class Response:
    """One response. `start`, then `part` until `is_finished`."""

    __slots__ = (
        "_fields",
        "_framing",
        "_has_body",
        "_is_1_0",
        "_left",
        "_status",
        "ends_by_close",
        "is_finished",
        "is_last",
        "is_started",
    )

    def __init__(self, request: Head) -> None:
        self._is_1_0 = request.version == "1.0"
        self._has_body = request.method != "HEAD"
        self._status = 0  # until `start`
        self._fields = b""
        self._left: int | None = None  # of the length that the app said
        self._framing = _Framing.NONE
        self.ends_by_close = False  # and a close in its middle looks like its end
        self.is_started = False  # its head is on its way
        self.is_finished = False  # all of it is
        self.is_last = not request.keeps_alive  # the connection ends with it

    def start(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Take status and fields; they leave with the first part of the body.

        Raises:
            ResponseError: If they cannot be sent, or came before.
        """
        if self._status:
            raise ResponseError("a response starts once")
        if not 200 <= status <= 999:
            raise ResponseError(f"{status} is not the status of a response")
        lines: list[bytes] = []
        for name, value in fields:
            lowered = name.lower()
            if lowered not in _OURS:
                lines.append(b"%b: %b\r\n" % (name, value))
            elif lowered == b"content-length":
                self._left = int(value)
            elif lowered == b"connection" and says_close(value):
                self.is_last = True
        text = b"".join(lines)
        if not text.count(b"\n") == text.count(b"\r") == len(lines) or b"\0" in text:
            raise ResponseError("a field of the response has a line break or a NUL")
        self._status = status
        self._fields = text
        self._has_body = self._has_body and status not in (204, 304)

    def part(self, data: bytes, *, has_more: bool, date: bytes) -> bytes:
        """Frame a part of the body, after the head if it is the first.

        Args:
            data: of the body.
            has_more: whether another part follows.
            date: a whole line of the head, or nothing.

        Raises:
            ResponseError: If there was no start, or the body's length is not as said.
        """
        if self._framing is _CHUNKED and has_more:  # one of a stream's many
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        head = b""
        if not self.is_started:
            if not self._status:
                raise ResponseError("a response starts with its status")
            head = self._head(data, has_more=has_more, date=date)
        framed = self._frame(data, has_more=has_more)
        self.is_started = True
        self.is_finished = not has_more
        return head + framed

    def _head(self, data: bytes, *, has_more: bool, date: bytes) -> bytes:
        if self._left is None and self._has_body:
            if not has_more:
                self._left = len(data)
            elif self._is_1_0:
                self._framing = _Framing.CLOSE
                self.ends_by_close = True
                self.is_last = True
            else:
                self._framing = _Framing.CHUNKED
        lines = [b"HTTP/1.1 %d \r\n" % self._status, self._fields]
        if self._framing is _Framing.CHUNKED:
            lines.append(b"transfer-encoding: chunked\r\n")
        elif self._left is not None and self._status != 204:
            lines.append(b"content-length: %d\r\n" % self._left)
            if self._has_body:
                self._framing = _Framing.LENGTH
        if self.is_last:
            lines.append(b"connection: close\r\n")
        lines += (date, b"\r\n")
        return b"".join(lines)

    def _frame(self, data: bytes, *, has_more: bool) -> bytes:
        match self._framing:
            case _Framing.NONE:
                return b""
            case _Framing.LENGTH:
                assert self._left is not None
                self._left -= len(data)
                if self._left < 0 or (self._left and not has_more):
                    raise ResponseError("the body is not as long as was said")
                return data
            case _Framing.CHUNKED:
                chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
                return chunk if has_more else chunk + _LAST_CHUNK
            case _Framing.CLOSE:
                return data
