"""The bytes of a request, head and body in one piece, so that one write sends it.

They hold what the call says, exactly, and only what HTTP needs besides. Nothing that
could end a field early, and so smuggle in another one, is ever written.
"""

import re
from collections.abc import Sequence
from typing import Final

# RFC 9110, 5.6.2.
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# One field a line, its name a token. The whole block is looked at once; a value with a
# line end in it either does not fit, or makes for more lines than there are fields.
_FIELDS: Final = re.compile(rb"(?:%b: [^\r\n\0]*\r\n)*" % _TOKEN.pattern)

# Bytes are relayed as they came, so no provider may compress them; and some refuse a
# request that accepts nothing.
UNLESS_GIVEN: Final = ((b"accept", b"*/*"), (b"accept-encoding", b"identity"))


class InvalidRequestError(ValueError):
    """Something in a request cannot stand in one."""


def request_bytes(
    start: bytes, fields: Sequence[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """Write a request.

    Args:
        start: the first line and the fields that go first, from `start_of`.
        fields: all others but the length.
        body: whole.

    Raises:
        InvalidRequestError: If a field cannot be written.
    """
    block = _block(fields) + b"content-length: %d\r\n\r\n" % len(body)
    return b"".join((start, block, body))


def _block(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    block = b"".join([b"%b: %b\r\n" % field for field in fields])
    if not _FIELDS.fullmatch(block) or block.count(b"\n") != len(fields):
        raise InvalidRequestError
    return block


def start_of(
    method: bytes,
    path: bytes,
    host: bytes,
    fields: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Write what all requests to a path share.

    Args:
        method: one word.
        path: as `httpx.URL.raw_path` has it: nothing unsafe is left in it.
        host: likewise, from `netloc`.
        fields: that go with all of them.

    Raises:
        InvalidRequestError: If the method is no word, or a field cannot be written.
    """
    if not _TOKEN.fullmatch(method):
        raise InvalidRequestError
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b" % (method, path, host, _block(fields))
