"""Names for exchanges: random UUIDs, several for each visit to the system's source."""

import os
from collections.abc import Callable
from typing import Final

# One call for so many; each alone takes longer than all the rest of making an id.
_BATCH: Final = 64
_BYTES: Final = 16  # RFC 9562, 4
# Of the digit after the third hyphen, two bits say the variant, the others are random.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


class Ids:
    """Makes UUIDs of version 4, as `uuid.uuid4` does. All calls are of one thread.

    A process that is forked would repeat what its parent has in stock; ours are
    interpreters of their own.

    Args:
        random_bytes: gives so many unguessable ones.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._stock: list[str] = []

    def __call__(self) -> str:
        """Make another one."""
        if not self._stock:
            digits = self._random_bytes(_BATCH * _BYTES).hex()
            step = 2 * _BYTES
            self._stock = [digits[at : at + step] for at in range(0, len(digits), step)]
        text = self._stock.pop()
        return (
            f"{text[:8]}-{text[8:12]}-4{text[13:16]}"
            f"-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"
        )
