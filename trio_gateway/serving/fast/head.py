"""The head of a request: from bytes to a value, or to a refusal.

llhttp (through httptools) judges every letter of it: folded lines, bare line breaks,
spaces before colons, control characters, two framings, two lengths. This module knows
what llhttp lets pass and a gateway must not, and the few fields that say how to go on.
It does no I/O.

A head is parsed whole or not at all, by a parser of its own: whoever calls has found
its end, so no byte of a body is ever parsed as a head.
"""

import re
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from trio_gateway.serving.limits import Limits
from trio_gateway.serving.refusals import RefusedError

Fields = list[tuple[bytes, bytes]]

END_OF_HEAD: Final = b"\r\n\r\n"

_SOME_VERSION: Final = re.compile(rb"HTTP/\d\.\d")

# `http://host/path`, which is meant for proxies and which every server must take.
_ABSOLUTE: Final = re.compile(rb"https?://[^/?]+", re.IGNORECASE)

# The fields that say how the message is framed and how the connection goes on.
_TELLING: Final = frozenset(
    {b"connection", b"content-length", b"expect", b"host", b"transfer-encoding"}
)


class Head(NamedTuple):
    """One request's head. `length` is the body's in bytes; None means chunked."""

    method: str
    path: bytes
    query: bytes
    version: str
    fields: Fields  # names in lower case
    length: int | None
    keeps_alive: bool
    awaits_continue: bool


def parse_head(data: bytes, limits: Limits) -> Head:
    """Parse a head, from its first letter to its empty line.

    Raises:
        RefusedError: With the status to answer.
    """
    method, target, version = _start_line(data)
    sink = _Sink()
    try:
        HttpRequestParser(sink).feed_data(data)
    except HttpParserUpgrade:
        pass  # an offer, which HTTP allows us to ignore
    except HttpParserError:
        raise RefusedError(400) from None
    if not sink.is_complete:
        raise RefusedError(400)  # llhttp sees its end elsewhere than we do
    if len(sink.fields) > limits.head_fields_max:
        raise RefusedError(431)
    path, _, query = target.partition(b"?")
    length, keeps_alive, awaits_continue = _course(sink.fields, version)
    return Head(
        method,
        path,
        query,
        version,
        sink.fields,
        length,
        keeps_alive,
        awaits_continue,
    )


def check_part(data: bytes) -> None:
    """Refuse the beginning of a head that can become none, before the rest of it comes.

    Raises:
        RefusedError: For TLS, for line breaks that will never be whole, and their like.
    """
    is_loose = data.count(b"\n") != data.count(b"\r\n")
    if is_loose or (data and not data[:1].isalpha() and data != b"\r"):
        raise RefusedError(400)


class _Sink:
    """Takes the fields from llhttp."""

    __slots__ = ("fields", "is_complete")

    def __init__(self) -> None:
        self.fields: Fields = []
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.is_complete = True


def _start_line(data: bytes) -> tuple[str, bytes, str]:
    """Read method, target and version.

    llhttp checks their letters too, but is generous with spaces and versions.
    """
    words = data[: data.index(b"\r\n")].split(b" ")
    if len(words) != 3:
        raise RefusedError(400)
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        # The preface of HTTP/2 looks like this.
        raise RefusedError(505 if _SOME_VERSION.fullmatch(version) else 400)
    if method == b"CONNECT":
        raise RefusedError(501)
    if not target.startswith(b"/"):
        target = _unusual_target(method, target)
    if b"#" in target:
        raise RefusedError(400)
    return method.decode("latin-1"), target, version[5:].decode()


def _unusual_target(method: bytes, target: bytes) -> bytes:
    if target == b"*" and method == b"OPTIONS":
        return target
    if authority := _ABSOLUTE.match(target):
        rest = target[authority.end() :]
        return rest if rest.startswith(b"/") else b"/" + rest
    raise RefusedError(400)


def _course(fields: Fields, version: str) -> tuple[int | None, bool, bool]:
    """Say the body's length, whether to keep alive, whether 100 is awaited."""
    hosts = 0
    length: int | None = 0
    is_persistent = is_1_1 = version == "1.1"
    awaits_continue = False
    for name, value in fields:
        if name not in _TELLING:
            continue
        if name == b"host":
            hosts += 1
        elif name == b"content-length":
            length = int(value)  # llhttp lets digits pass, once
        elif name == b"transfer-encoding":
            if not is_1_1:
                # Older readers know no such field: they would see another message.
                raise RefusedError(400)
            if value.lower() != b"chunked":
                raise RefusedError(501)
            length = None
        elif name == b"connection":
            is_persistent = is_persistent and not says_close(value)
        else:
            awaits_continue = is_1_1 and value.lower() == b"100-continue"
    if hosts != 1 and (is_1_1 or hosts):
        raise RefusedError(400)
    return length, is_persistent, awaits_continue and length != 0


def says_close(connection: bytes) -> bool:
    """Whether `close` is among the options of a Connection field."""
    options = connection.lower().split(b",")
    return any(option.strip(b" \t") == b"close" for option in options)
