"""Which header fields may pass the gateway, each way; values pass byte for byte."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

# Tracing, and a choice of API features. No key, cookie or address of a client is
# any upstream's business, and new fields are added here one by one.
TO_UPSTREAM: Final = frozenset({b"traceparent", b"tracestate", b"openai-beta"})

# What tells a client about this answer. All that speaks of our account there (limits,
# organisation), or of the connection, or tells clients to retry, stays here.
TO_CLIENT: Final = frozenset({b"openai-processing-ms", b"openai-version"})

_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_UUID: Final = re.compile(
    rb"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
)


class Fields:
    """The fields of a request, to be asked by name as often as one likes.

    Args:
        pairs: names in lower case, and values as they came.
    """

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self.pairs = pairs
        self._first = dict(reversed(pairs))

    def first(self, name: bytes) -> bytes | None:
        """Return the first value of a field, without the space around it."""
        value = self._first.get(name)
        return None if value is None else value.strip(b" \t")

    def are_any_of(self, names: frozenset[bytes]) -> bool:
        """Whether there is a field of one of these names, in lower case."""
        return not names.isdisjoint(self._first)


def to_upstream(
    fields: Fields, *, request_uuid: str
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the client's fields that an upstream gets, and our `x-request-id`.

    The caller adds what belongs to the call itself: content type, credentials, the
    operator's own fields.
    """
    own = (b"x-request-id", request_uuid.encode("ascii"))
    if not fields.are_any_of(TO_UPSTREAM):
        return (own,)
    return (*[field for field in fields.pairs if field[0] in TO_UPSTREAM], own)


def to_client(headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
    """Return the upstream's fields that a client gets; names are in lower case."""
    return tuple([field for field in headers if field[0] in TO_CLIENT])


def sane_request_id(given: bytes | None) -> str | None:
    """Return a client's `x-request-id` if it is fit for logs and answers."""
    if given is None or not _SANE_ID.fullmatch(given):
        return None
    return given.decode("ascii")


def upstream_request_id(given: bytes | None, own_uuid: str) -> str:
    """Return a client's `x-request-id` if it is a UUID, else our own.

    Some servers refuse anything but a UUID there.
    """
    if given is None or not _UUID.fullmatch(given):
        return own_uuid
    return given.decode("ascii")


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of a field, without the space around it.

    `name` is in lower case; the field's own name may be in any.
    """
    for field, value in headers:
        if field.lower() == name:
            return value.strip(b" \t")
    return None


def is_client_retry(fields: Fields) -> bool:
    """Whether the client's library asks again after a refusal.

    OpenAI's and Anthropic's libraries count in `x-stainless-retry-count`.
    """
    count = fields.first(b"x-stainless-retry-count") or b""
    return count.isdigit() and int(count[:9]) > 0


def client_patience_s(fields: Fields) -> float | None:
    """How long the client's library waits for its answer, in seconds, if it says so.

    OpenAI's and Anthropic's libraries say it: for Python in `x-stainless-read-timeout`,
    which is between bytes; for other languages in `x-stainless-timeout`, which is until
    the answer's head at least, and in whole seconds.
    """
    patience_s = inf
    for name in (b"x-stainless-read-timeout", b"x-stainless-timeout"):
        said = fields.first(name)
        if said is None:
            continue
        with suppress(ValueError):
            said_s = float(said)
            if 0.0 < said_s < patience_s:
                patience_s = said_s
    return patience_s if patience_s < inf else None
