"""Access keys: who a client is, by the digest of what it shows, and what it may use.

A key itself is never kept, so nothing here can leak one. New keys are made from random
bytes that the caller supplies.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from trio_gateway.policy.route import AccessKey

# Our own keys have 68 bytes, and nobody's has more than some hundreds. The bound is on
# what is hashed for a stranger.
TOKEN_BYTES_MAX: Final = 4096

# Names the issuer, so that scanners for leaked secrets can know such a key.
KEY_PREFIX: Final = "tgw_"

# 256 bits, written as 64 hexadecimal characters, which a double click selects whole.
KEY_RANDOM_BYTES: Final = 32

# Enough of a digest to make its bucket unique among any number of keys, and too much
# to be aimed at: see `Keyring`.
BUCKET_BYTES: Final = 8


class Keyring:
    """The access keys of a policy. An empty ring knows nobody: everyone is refused.

    Digests are compared in constant time, and a thousand keys cost no more than one:
    keys lie in buckets by the first `BUCKET_BYTES` of their digest, and the token's
    whole digest is compared with every key of its bucket. Time may therefore tell
    whether some key has the same first eight bytes. To learn even that of a key, one
    must find a token for it, which takes 2**64 hashes; and it would not help, because
    from a digest, whole or in part, no key of enough random characters can be made.
    """

    def __init__(self, keys: Iterable[AccessKey]) -> None:
        self._buckets: dict[bytes, list[AccessKey]] = {}
        for key in keys:
            self._buckets.setdefault(key.sha256[:BUCKET_BYTES], []).append(key)

    def find(
        self, authorization: str | bytes | None, *, wall_now: float
    ) -> AccessKey | None:
        """Whose key this is; None if it is nobody's, expired or not shown right.

        Args:
            authorization: The value of the one `Authorization` field, `Bearer KEY`. A
                request with two such fields is for the caller to refuse.
            wall_now: Seconds since 1970 UTC. A key ends at its `expires_at`.
        """
        token = _bearer_token(authorization)
        if token is None:
            return None
        digest = hashlib.sha256(token).digest()
        for key in self._buckets.get(digest[:BUCKET_BYTES], ()):
            is_alive = key.expires_at is None or wall_now < key.expires_at
            if hmac.compare_digest(key.sha256, digest) and is_alive:
                return key
        return None


def may_use(key: AccessKey, slug: str) -> bool:
    """Whether the key may use this model, whether or not there is such a model."""
    return key.models is None or slug in key.models


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. The key is to be shown once, the rest may be stored."""

    key: str = field(repr=False)
    sha256_hex: str


def new_key(random_bytes: Callable[[int], bytes]) -> NewKey:
    """Make a key; `random_bytes(n)` gives n unguessable ones: `secrets.token_bytes`."""
    key = KEY_PREFIX + random_bytes(KEY_RANDOM_BYTES).hex()
    return NewKey(
        key=key,
        sha256_hex=hashlib.sha256(key.encode()).hexdigest(),
    )


def _bearer_token(authorization: str | bytes | None) -> bytes | None:
    """The bytes of KEY in `Bearer KEY`, not looked at any further."""
    if authorization is None:
        return None
    if isinstance(authorization, str):
        try:
            # Web frameworks decode fields as latin-1: this gets back what was sent.
            authorization = authorization.encode("latin-1")
        except UnicodeEncodeError:
            return None
    scheme, _, rest = authorization.partition(b" ")
    token = rest.strip(b" ")
    is_bearer = scheme == b"Bearer" or scheme.lower() == b"bearer"
    if not is_bearer or not 0 < len(token) <= TOKEN_BYTES_MAX:
        return None
    return token
