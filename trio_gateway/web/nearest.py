"""Which names somebody may have meant, found without holding up everybody else.

Python's own search compares letter by letter: of a thousand names that are alike it
takes a twentieth of a second. A client that goes on asking for a model that was renamed
would cost more than all who ask for one that is there.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from heapq import nlargest
from typing import Final

# So many names help somebody who mistyped one; for more there is the catalog.
_NEAR_MAX: Final = 3

# Of more, those are compared that have most of its pairs of letters.
_COMPARED_MAX: Final = 20

# How much of two names must be the same: the search's own default.
_ALIKE: Final = 0.6


def near_to(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known names that look most like one; best first, and maybe none."""
    return _near_to(name, tuple(known))


@lru_cache(maxsize=128)
def _near_to(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    alike = [one for one in known if _are_about_as_long(name, one)]
    if len(alike) > _COMPARED_MAX:
        pairs = {name[at : at + 2] for at in range(len(name) - 1)}

        def shared(one: str) -> int:
            return sum([pair in one for pair in pairs])

        alike = nlargest(_COMPARED_MAX, alike, key=shared)
    return tuple(get_close_matches(name, alike, _NEAR_MAX, _ALIKE))


def _are_about_as_long(one: str, other: str) -> bool:
    """Whether so much of both could be the same."""
    longest, shortest = max(len(one), len(other)), min(len(one), len(other))
    return 2 * shortest >= _ALIKE * (longest + shortest)
