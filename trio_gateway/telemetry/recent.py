"""The last exchanges, kept for operators who ask what has just happened."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from trio_gateway.relay.record import ExchangeRecord

# A minute of a quiet gateway, some seconds of a busy one; about half a MiB.
EXCHANGES_MAX: Final = 200


class RecentExchanges:
    """An observer of exchanges that remembers the last of them, and no more."""

    def __init__(self, most: int = EXCHANGES_MAX) -> None:
        self._records: deque[ExchangeRecord] = deque(maxlen=most)

    def observe(self, record: ExchangeRecord) -> None:
        """Take one ended exchange; the oldest gives way."""
        self._records.append(record)

    def newest(
        self, most: int, *, where: Callable[[ExchangeRecord], bool]
    ) -> Iterator[ExchangeRecord]:
        """The newest that fulfil a condition, newest first."""
        return islice(filter(where, reversed(self._records)), most)
