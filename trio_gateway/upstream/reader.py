"""Reads HTTP/1.1 answers out of the bytes of one connection, one answer at a time.

llhttp (by httptools) does the parsing, in its strict mode: both lengths at once, two
lengths, a chunk size that is none, folded or misspelt fields are all errors. What it
lets pass and a relay must not is refused here: a switch to another protocol, a transfer
coding but chunked, a version or a status that HTTP/1.1 does not know, a head or framing
without end.

Three things are kept apart, for they have three consequences. A *failure* is told to
whoever asked. An answer is *whole* when its framing says so. And a connection is *in
step* while nothing but answers to its own requests was on it: after anything else, be
it a single byte too many, it is not used again, since those bytes would be taken for
the next answer.

Nothing here waits. The parser calls back in the middle of a `feed`, and the callbacks
only note what came.
"""

from typing import Final

import httptools

from trio_gateway.failover.failures import Failure, FailureClass

# A head, with the interim ones before it. Common servers stop at 8 to 100 KiB.
HEAD_BYTES_MAX: Final = 64 * 1024

# What may come between two pieces of a body: sizes of chunks, their extensions, fields
# after the last one. Nobody needs more, and the parser would collect it all.
FRAMING_BYTES_MAX: Final = 64 * 1024

SWITCHING_PROTOCOLS: Final = 101

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})

_NOT_HTTP: Final = Failure(FailureClass.BAD_ANSWER, "not an HTTP answer")
_LONG_HEAD: Final = Failure(FailureClass.BAD_ANSWER, "head too long")
_SWITCHED: Final = Failure(FailureClass.BAD_ANSWER, "switched protocols")
_CODING: Final = Failure(FailureClass.BAD_ANSWER, "unknown transfer coding")
_HEAD_CUT: Final = Failure(FailureClass.RESET, "closed inside the head")
_BODY_CUT: Final = Failure(FailureClass.INTERRUPTED, "closed inside the body")
_BAD_BODY: Final = Failure(FailureClass.INTERRUPTED, "body is not valid HTTP")


class HttpReader:
    """The answers of one connection: `begin`, then `feed` until it is whole or failed.

    `status` and `headers` are set once it `has_head`; names are in lower case. `pieces`
    are what has come of the body and was not taken.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.is_in_step = True
        self.begin()

    def begin(self) -> None:
        """Expect the next answer; the last one was whole, and in step."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_bytes = False
        self.has_head = False
        self.is_whole = False
        self.failure: Failure | None = None
        self._version = ""
        self.pieces: list[bytes] = []
        self._head_bytes = 0
        self._framing_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what one read brought, which was not the end."""
        if not self.has_bytes:
            self.has_bytes = True
            if not data.startswith(b"H"):  # not even a line end may come before
                self.failure = _NOT_HTTP
                return
        had_head = self.has_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail_to_parse()
        if not had_head:
            self._judge_head(len(data))
        elif self.pieces or self.is_whole:
            self._framing_bytes = 0
        else:
            self._bound_framing(len(data))

    def feed_end(self) -> None:
        """Take note that no more will come."""
        if self.is_whole or self.failure is not None:
            return
        if not self.has_head:
            self.failure = _HEAD_CUT
        elif any(name in _FRAMING for name, _ in self.headers):
            self.failure = _BODY_CUT
        else:
            self.is_whole = True
            self.is_in_step = False

    def take(self) -> bytes:
        """Take what has come of the body, joined; `b""` if nothing has."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _fail_to_parse(self) -> None:
        if self.is_whole:
            self.is_in_step = False
        else:
            self.failure = _BAD_BODY if self.has_head else _NOT_HTTP

    def _judge_head(self, size: int) -> None:
        """Fail a head that is too long, or that could be parsed but is not for us."""
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX and not self._is_short_head():
            self._refuse(_LONG_HEAD)
        elif self.has_head and (objection := self._objection()):
            self._refuse(objection)

    def _refuse(self, failure: Failure) -> None:
        self.failure = failure
        self.has_head = False

    def _is_short_head(self) -> bool:
        """Say whether the head is all there and only its body is long."""
        fields = sum(len(name) + len(value) for name, value in self.headers)
        return self.has_head and fields <= HEAD_BYTES_MAX

    def _objection(self) -> Failure | None:
        if self.status == SWITCHING_PROTOCOLS:
            return _SWITCHED
        if not 200 <= self.status <= 999 or self._version not in ("1.0", "1.1"):
            return _NOT_HTTP
        codings = [
            v.lower() for name, v in self.headers if name == b"transfer-encoding"
        ]
        return None if codings in ([], [b"chunked"]) else _CODING

    def _bound_framing(self, size: int) -> None:
        """Fail a body that goes on without a byte of content."""
        self._framing_bytes += size
        if self._framing_bytes > FRAMING_BYTES_MAX:
            self.failure = self.failure or _BAD_BODY

    # What the parser calls

    def on_message_begin(self) -> None:
        """Note that an answer begins."""
        if self.has_head:
            self.is_in_step = False  # an answer that nobody asked for
        else:
            self.headers = []  # the first one, or the one after an interim answer

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field."""
        if not self.has_head:  # else it stands after the body
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Note that a head is complete, if it is not an interim answer's."""
        if not self.has_head:
            self.status = self._parser.get_status_code()
            self._version = self._parser.get_http_version()
            is_interim = 100 <= self.status < 200
            self.has_head = not is_interim or self.status == SWITCHING_PROTOCOLS

    def on_body(self, data: bytes) -> None:
        """Note a piece of the body."""
        if not self.is_whole:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self.has_head and not self.is_whole:
            self.is_whole = True
            if self._version != "1.1" or not self._parser.should_keep_alive():
                self.is_in_step = False
