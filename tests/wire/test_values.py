"""Whatever the fast parser takes, the standard library takes, and means the same."""

import gc
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_gateway.wire.values import values_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
# What damages JSON, or looks like it and is not.
PIECES = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"d800", b"-", b"+"),
    *(b".", b"e", b"0", b"1", b"NaN", b"Infinity", b"nul", b"\x00", b"\x0b", b"\x7f"),
    *(b"\xff", b"\xc2\xa0", b"\xed\xa0\x80", b"\xef\xbb\xbf", b" ", b"\n", b"//", b"'"),
]


def refusing(word: str) -> None:
    raise ValueError(word)


def library(
    text: bytes, constant: Callable[[str], None] | None = None
) -> tuple[str, object]:
    try:
        value = json.loads(text.decode(), parse_constant=constant)
    except (ValueError, RecursionError):
        return "refused", None
    return "taken", repr(value)  # so that NaN is itself, and 1 is not True


def takes(text: bytes, *, are_nans_allowed: bool) -> tuple[str, object]:
    try:
        value = values_of(text, are_nans_allowed=are_nans_allowed)
    except ValueError:
        return "refused", None
    return "taken", repr(value)


@settings(max_examples=300)
@given(
    value=VALUES,
    is_ascii=st.booleans(),
    at=st.floats(0, 1),
    dropped=st.integers(0, 3),
    piece=st.sampled_from([b"", *PIECES]),
)
@example(value=[10**30, -0.0], is_ascii=True, at=0, dropped=0, piece=b"")
def test_what_it_takes_means_what_it_means_to_others(
    value: object, is_ascii: bool, at: float, dropped: int, piece: bytes
) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    place = int(at * len(text))
    text = text[:place] + piece + text[place + dropped :]

    for are_nans_allowed, others in (
        (True, library(text)),
        (False, library(text, refusing)),
    ):
        ours = takes(text, are_nans_allowed=are_nans_allowed)
        assert ours[0] == "refused" or ours == others


@pytest.mark.parametrize(
    "text", [b'{"a": 1, "a": 2}', b"1e400", b"-0", b"1E5", b'"\\u0000\\/"', b" [ ] "]
)
def test_a_rare_form_is_taken_as_others_take_it(text: bytes) -> None:
    assert takes(text, are_nans_allowed=False) == library(text)


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_garbage_is_collected_again_afterwards(size: int) -> None:
    text = b'"%b"' % (b"x" * size)
    values_of(text, are_nans_allowed=False)
    with pytest.raises(ValueError, match="EOF"):
        values_of(text[:-1], are_nans_allowed=False)
    assert gc.isenabled()
