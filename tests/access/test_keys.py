import hashlib
from dataclasses import replace

import pytest

from trio_gateway.access.keys import (
    BUCKET_BYTES,
    TOKEN_BYTES_MAX,
    Keyring,
    may_use,
    new_key,
)
from trio_gateway.policy.route import AccessKey

NOW = 1_764_072_224.0


def an_access_key(key: str, name: str = "bot") -> AccessKey:
    return AccessKey(name=name, sha256=hashlib.sha256(key.encode()).digest())


RING = Keyring((an_access_key("k-alpha", "alpha"), an_access_key("k-beta", "beta")))


def who(authorization: str | bytes | None) -> str | None:
    key = RING.find(authorization, wall_now=NOW)
    return None if key is None else key.name


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer k-alpha",
        b"Bearer k-alpha",
        "bearer k-alpha",
        "BEARER k-alpha",
        "Bearer   k-alpha",
        "Bearer k-alpha ",
    ],
)
def test_a_key_is_known_however_its_scheme_is_written(
    authorization: str | bytes,
) -> None:
    assert who(authorization) == "alpha"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "k-alpha",
        "Basic k-alpha",
        "Bearerk-alpha",
        "Bearer\tk-alpha",
        " Bearer k-alpha",
        "Bearer K-ALPHA",
        "Bearer k-alph",
        "Bearer k-alphaa",
        "Bearer k-alpha k-alpha",
        "Bearer k-alpha, Bearer k-alpha",
        "Bearer k-alpha\x00",
        "Bearer k-alpha\r\n",
        "Bearer k-\u03b1lpha",
        "Bearer " + hashlib.sha256(b"k-alpha").hexdigest(),
    ],
)
def test_anything_else_is_nobody(authorization: str | None) -> None:
    assert who(authorization) is None


def test_a_key_is_found_among_a_thousand() -> None:
    ring = Keyring(an_access_key(f"key-{n}", str(n)) for n in range(1000))
    for n in (0, 500, 999):
        found = ring.find(f"Bearer key-{n}", wall_now=NOW)
        assert found is not None
        assert found.name == str(n)
    assert ring.find("Bearer key-1000", wall_now=NOW) is None


def test_the_whole_digest_must_match_not_only_its_beginning() -> None:
    digest = hashlib.sha256(b"k-alpha").digest()
    other = digest[:BUCKET_BYTES] + bytes(32 - BUCKET_BYTES)
    twin = AccessKey(name="twin", sha256=other)

    assert Keyring((twin,)).find("Bearer k-alpha", wall_now=NOW) is None
    both = Keyring((twin, an_access_key("k-alpha", "alpha")))
    found = both.find("Bearer k-alpha", wall_now=NOW)
    assert found is not None
    assert found.name == "alpha"


def test_a_key_outside_ascii_is_compared_as_the_bytes_that_came() -> None:
    ring = Keyring((an_access_key("schl\u00fcssel"),))
    as_bytes = "Bearer schl\u00fcssel".encode()
    assert ring.find(as_bytes, wall_now=NOW) is not None
    assert ring.find(as_bytes.decode("latin-1"), wall_now=NOW) is not None


def test_a_key_ends_when_it_expires() -> None:
    ring = Keyring((replace(an_access_key("k"), expires_at=NOW),))
    assert ring.find("Bearer k", wall_now=NOW - 0.001) is not None
    assert ring.find("Bearer k", wall_now=NOW) is None


def test_what_a_stranger_has_hashed_is_bounded() -> None:
    longest = "k" * TOKEN_BYTES_MAX
    ring = Keyring((an_access_key(longest), an_access_key(longest + "k")))
    assert ring.find(f"Bearer {longest}", wall_now=NOW) is not None
    assert ring.find(f"Bearer {longest}k", wall_now=NOW) is None


def test_without_keys_everybody_is_refused() -> None:
    assert Keyring(()).find("Bearer k-alpha", wall_now=NOW) is None
    assert Keyring(()).find(None, wall_now=NOW) is None


def test_a_key_may_use_its_models_only() -> None:
    key = replace(an_access_key("k"), models=frozenset({"gpt-4o-mini"}))
    assert may_use(key, "gpt-4o-mini")
    assert not may_use(key, "gpt-4o")


def test_a_key_that_names_no_models_may_use_all() -> None:
    assert may_use(an_access_key("k"), "anything")


def test_a_key_that_names_an_empty_list_may_use_none() -> None:
    assert not may_use(replace(an_access_key("k"), models=frozenset()), "anything")


def test_a_new_key_is_known_by_the_hash_that_is_stored() -> None:
    made = new_key(lambda count: bytes(range(count)))
    assert made.key == "tgw_" + bytes(range(32)).hex()

    stored = AccessKey(name="new", sha256=bytes.fromhex(made.sha256_hex))
    assert Keyring((stored,)).find(f"Bearer {made.key}", wall_now=NOW) == stored


def test_a_new_key_does_not_show_itself() -> None:
    made = new_key(lambda count: b"\xab" * count)
    assert made.key not in repr(made)
