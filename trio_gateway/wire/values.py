"""JSON as values, as fast as it can be had, and without a word of what is in it.

The parser is pydantic's, which is here anyway: it takes a third of the time that the
standard library's takes for a short text, and a tenth for a long one. It is stricter,
too: it refuses lone surrogates and nesting beyond 200, which JSON allows. So whoever
must not refuse them asks the standard library again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic_core import from_json

# A shorter text has too few values for the collector to matter.
_MANY_BYTES: Final = 64 * 1024


def values_of(text: bytes, *, are_nans_allowed: bool) -> object:
    """Return what a text in UTF-8 says, whitespace around it aside.

    Of members with one name, the last counts.

    Raises:
        ValueError: it is no JSON, or JSON that this parser refuses.
    """
    if len(text) < _MANY_BYTES:
        return _parse(text, are_nans_allowed)
    with nothing_collected():
        return _parse(text, are_nans_allowed)


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Keep the garbage collector away. Nothing may be awaited meanwhile.

    While a long list of lists grows, it would look at all of them again and again, and
    find them in use: nine tenths of the time that it takes to read one.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse(text: bytes, are_nans_allowed: bool) -> object:  # noqa: FBT001 - just above
    # Names are kept between texts, for they return; what stands under them is not.
    value: object = from_json(
        text, allow_inf_nan=are_nans_allowed, cache_strings="keys"
    )
    return value
