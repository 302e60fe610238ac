"""Both ways of reading a request come to the same, wherever the fast one reads it."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.test_values import PIECES, VALUES
from trio_gateway.wire.members import UnreadableError, scan
from trio_gateway.wire.values import values_of

OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=5)


def shape(value: object) -> object:
    """What a request is judged by: inside of lists and objects, no text is read."""
    match value:
        case list():
            return [isinstance(one, dict) for one in value]
        case dict():
            return bool(value)
        case _:
            return repr(value)


def shapes(values: dict[str, object]) -> list[tuple[str, object]]:
    return [(name, shape(value)) for name, value in values.items()]


@settings(max_examples=300)
@given(
    said=OBJECTS,
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 1]),
    at=st.floats(0, 1),
    dropped=st.integers(0, 3),
    piece=st.sampled_from([b"", *PIECES]),
)
@example(
    said={"\u00e9": "\u4e2d", "n": 10**30, "x": [{"\u00e9": "\u00e9"}, "\u00e9"]},
    is_ascii=False,
    indent=None,
    at=0,
    dropped=0,
    piece=b"",
)
def test_what_the_fast_parser_takes_is_the_same_member_by_member(
    said: dict[str, object],
    is_ascii: bool,
    indent: int | None,
    at: float,
    dropped: int,
    piece: bytes,
) -> None:
    text = json.dumps(said, ensure_ascii=is_ascii, indent=indent)
    raw = text.encode(errors="surrogatepass")
    place = int(at * len(raw))
    raw = raw[:place] + piece + raw[place + dropped :]
    try:
        values = values_of(raw, are_nans_allowed=False)
    except ValueError:
        values = None

    if isinstance(values, dict):
        members = list(scan(raw))
        assert shapes({member.name: value for member, value in members}) == shapes(
            values
        )


@given(said=OBJECTS, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_each_member_stands_where_it_is_said_to(
    said: dict[str, object], is_ascii: bool, indent: int | None
) -> None:
    text = json.dumps(said, ensure_ascii=is_ascii, indent=indent)
    raw = text.encode(errors="surrogatepass")
    try:
        places = {
            member.name: raw[member.start : member.end] for member, _ in scan(raw)
        }
    except UnreadableError:  # a lone surrogate, or NaN
        return
    assert {name: repr(json.loads(value)) for name, value in places.items()} == {
        name: repr(value) for name, value in said.items()
    }
