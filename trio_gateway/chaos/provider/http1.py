"""The little HTTP/1.1 that a simulated provider speaks: requests in, framing out.

Requests are parsed strictly and within bounds. Answers are framed by hand, because the
point is to break the framing exactly where a script says, which no HTTP library does.
"""

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final

import httptools

from trio_gateway.chaos.vocabulary.script import Ending, Script

# More than any client of a chat completions API sends before its body.
HEAD_BYTES_MAX: Final = 64 * 1024

# A little more than the gateway's own largest body, so that it is never us who says no.
BODY_BYTES_MAX: Final = 32 * 1024 * 1024

# Nobody pipelines to us; more than a few requests at once is somebody's mistake.
PIPELINED_MAX: Final = 8


class RequestRefusedError(Exception):
    """What came is no request that can be served; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(HTTPStatus(status).phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it came, with its body whole."""

    method: str
    path: str  # with its query
    headers: tuple[tuple[bytes, bytes], ...]  # names in lower case
    body: bytes
    knows_chunks: bool  # HTTP/1.1, not 1.0
    keeps_alive: bool

    @property
    def has_key(self) -> bool:
        """Say whether a credential came along; which one is nobody's business."""
        return any(name in (b"authorization", b"api-key") for name, _ in self.headers)


class RequestParser:
    """Turns a connection's bytes into requests."""

    def __init__(
        self,
        *,
        head_bytes_max: int = HEAD_BYTES_MAX,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes_max = head_bytes_max
        self._body_bytes_max = body_bytes_max
        self._refused: int | None = None
        self._whole: list[HttpRequest] = []
        self._head_bytes = 0
        self.on_message_begin()

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Take what has come; return the requests it makes whole.

        Raises:
            RequestRefusedError: it is malformed or over a bound; nothing may follow.
        """
        self._whole = []
        if self._is_in_head:
            # A header that never ends makes no callback, so count what goes in.
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise RequestRefusedError(self._refused or 400) from None
        if self._is_in_head and self._head_bytes > self._head_bytes_max:
            raise RequestRefusedError(431)
        if len(self._whole) > PIPELINED_MAX:
            raise RequestRefusedError(400)
        return self._whole

    # httptools calls what follows.

    def on_message_begin(self) -> None:
        """Start a request."""
        self._is_in_head = True
        self._path = bytearray()
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note that what follows is body."""
        self._is_in_head = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body += body
        if len(self._body) > self._body_bytes_max:
            self._refused = 413
            raise RequestRefusedError(413)

    def on_message_complete(self) -> None:
        """Finish a request."""
        self._is_in_head = True
        self._head_bytes = 0
        self._whole.append(
            HttpRequest(
                method=self._parser.get_method().decode("ascii"),
                path=bytes(self._path).decode("latin-1"),
                headers=tuple(self._headers),
                body=bytes(self._body),
                knows_chunks=self._parser.get_http_version() == "1.1",
                keeps_alive=self._parser.should_keep_alive(),
            )
        )


class Framing(Enum):
    """How a receiver can tell where a body ends."""

    LENGTH = "length"  # the script says it in its own header
    CHUNKED = "chunked"
    CLOSE = "close"  # it ends with the connection


def framing_of(script: Script, request: HttpRequest) -> Framing:
    """Choose the framing that a script's ending and its own headers ask for."""
    if script.ending is Ending.EOF:
        return Framing.CLOSE
    if script.declared_length is not None:
        return Framing.LENGTH
    return Framing.CHUNKED if request.knows_chunks else Framing.CLOSE


def head_bytes(script: Script, framing: Framing, *, keeps_alive: bool) -> bytes:
    """Write the head of an answer."""
    lines = [f"HTTP/1.1 {script.status} {_phrase(script.status)}"]
    lines += [f"{name}: {value}" for name, value in script.headers]
    if framing is Framing.CHUNKED:
        lines.append("transfer-encoding: chunked")
    if not keeps_alive:
        lines.append("connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def interim_bytes(status: int) -> bytes:
    """Write a head that promises another one."""
    link = "link: </style.css>; rel=preload\r\n" if status == 103 else ""
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{link}\r\n".encode("latin-1")


def frame_bytes(data: bytes, framing: Framing, *, is_whole: bool) -> bytes:
    """Frame a piece of a body; one that is not whole promises a byte that never comes.

    So a cut falls into the middle of a chunk, as it does where a connection breaks.
    """
    if framing is not Framing.CHUNKED:
        return data
    if is_whole:
        return b"%x\r\n%b\r\n" % (len(data), data)
    return b"%x\r\n%b" % (len(data) + 1, data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
