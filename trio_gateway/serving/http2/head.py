"""The head of a request as HTTP/2 has it: from fields to a value, or to a refusal.

Of two ways to be wrong, one is HTTP/2's own: a message that is malformed (RFC 9113 8.2
and 8.3) resets its stream. The other is as in HTTP/1.1, and gets the same answer. h2
knows the rules of the first kind too, but would end the whole connection, with all that
others do on it. No I/O happens here.
"""

import re
from typing import Final, NamedTuple

from trio_gateway.serving.limits import Limits
from trio_gateway.serving.refusals import RefusedError

Fields = list[tuple[bytes, bytes]]

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"(?![ \t])[^\x00-\x08\x0a-\x1f\x7f]*(?<![ \t])")
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"/[!-\"$-~]*")

_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})

# They describe a connection of HTTP/1.1; behind us, they might end a message early.
_OF_CONNECTIONS: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)


class MalformedError(Exception):
    """It is no message of HTTP/2's: its stream is to be reset."""


class Head(NamedTuple):
    """One request's head. `length` is the body's, where it was said."""

    method: str
    target: bytes
    fields: Fields  # with a Host field, and nothing of HTTP/2's own
    length: int | None
    awaits_continue: bool


def read_head(fields: Fields, limits: Limits) -> Head:
    """Read a request's fields, pseudo fields first, as they came.

    Raises:
        MalformedError: It is to be reset.
        RefusedError: With the status to answer.
    """
    pseudo, ordinary = _told_apart(fields)
    host = _host(pseudo, ordinary)
    length = _length(ordinary)
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise MalformedError("method")
    _check_size(fields, limits)
    if method == b"CONNECT":
        raise RefusedError(501)
    if b":scheme" not in pseudo or not pseudo.get(b":path"):
        raise MalformedError("scheme or path is missing")
    target = pseudo[b":path"]
    if not _TARGET.fullmatch(target) and (method, target) != (b"OPTIONS", b"*"):
        raise RefusedError(400)
    rest = [field for field in ordinary if field[0] != b"host"]
    awaits_continue = any(
        name == b"expect" and value.lower() == b"100-continue" for name, value in rest
    )
    return Head(
        method.decode("ascii"),
        target,
        [(b"host", host), *rest],
        length,
        awaits_continue,
    )


def check_trailers(fields: Fields) -> None:
    """See that a request's last fields are none of those that a head has.

    Raises:
        MalformedError: They are.
    """
    pseudo, _ = _told_apart(fields)
    if pseudo:
        raise MalformedError("pseudo fields in trailers")


def _told_apart(fields: Fields) -> tuple[dict[bytes, bytes], Fields]:
    """Tell pseudo fields from ordinary ones, and check every letter of both."""
    pseudo: dict[bytes, bytes] = {}
    ordinary: Fields = []
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise MalformedError("value")
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or ordinary:
                raise MalformedError("pseudo field")
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name) or name in _OF_CONNECTIONS:
            raise MalformedError("name")
        if name == b"te" and value.lower() != b"trailers":
            raise MalformedError("te")
        ordinary.append((name, value))
    return pseudo, ordinary


def _host(pseudo: dict[bytes, bytes], ordinary: Fields) -> bytes:
    """Say whom the request is for, which must not be said in two ways."""
    hosts = {value for name, value in ordinary if name == b"host"}
    if b":authority" in pseudo:
        hosts.add(pseudo[b":authority"])
    if len(hosts) != 1:
        raise MalformedError("host")
    return hosts.pop()


def _length(ordinary: Fields) -> int | None:
    lengths = [value for name, value in ordinary if name == b"content-length"]
    if not lengths:
        return None
    # The number of digits is bounded, as Python's patience with them is.
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise MalformedError("content-length")
    return int(lengths[0])


def _check_size(fields: Fields, limits: Limits) -> None:
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in fields)
    if size > limits.head_bytes_max or len(fields) > limits.head_fields_max:
        raise RefusedError(431)
