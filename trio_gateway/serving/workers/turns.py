"""Whose turn it is to accept a connection: the workers with the fewest.

All workers wait at one listening socket, and the kernel wakes all that are idle. Left
alone, the first to come takes as many connections as there are: a client that opens its
pool at once may have all of them in one worker, for as long as it keeps them. So each
worker writes into memory that all of them share how many connections it has, and one
that has more than another steps aside for a moment before it accepts:

    a connection waits --> have I more than the one with the fewest? --no--> accept
                                         | yes
                                         v
                           a few milliseconds, or until it is gone
                                         |
               still there: the others are busy or stuck: accept, and do not ask
               again for a while, lest all clients wait for those who do not come

Nobody ever waits for a worker by name, and a number that is wrong for a moment costs
such a moment. The memory is a file without a name.
"""

import mmap
import tempfile
from collections.abc import Iterable
from typing import Final

import trio

# Long for a worker that only has to wake up, short for a client.
ASIDE_S: Final = 0.005
_LOOK_S: Final = 0.001

# After having stepped aside in vain.
_IN_VAIN_S: Final = 0.05

# Somebody with an eighth more than another is not worth the wait.
_SLACK: Final = 8

_NOBODY: Final = -1
_PLACE_BYTES: Final = 8


def is_ahead(own: int, others: Iterable[int]) -> bool:
    """Whether to step aside, having so many connections where others have those."""
    least = min((count for count in others if count != _NOBODY), default=own)
    return own - own // _SLACK > least


class Places:
    """The supervisor's side: the memory, and who has which place in it."""

    def __init__(self, count: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 # closed by `close`
        self._file.truncate(count * _PLACE_BYTES)
        self._memory = mmap.mmap(self._file.fileno(), 0)
        self._counts = memoryview(self._memory).cast("q")
        self._free = list(range(count))
        for place in self._free:
            self._counts[place] = _NOBODY

    @property
    def fd(self) -> int:
        """To be inherited by workers."""
        return self._file.fileno()

    def take(self) -> int:
        """Give a worker its place.

        Raises:
            OSError: There is none left.
        """
        if not self._free:
            raise OSError(0, "too many workers are still ending")
        return self._free.pop()

    def free(self, place: int) -> None:
        """The worker is no more."""
        self._counts[place] = _NOBODY
        self._free.append(place)

    def close(self) -> None:
        """Give the memory back."""
        self._counts.release()
        self._memory.close()
        self._file.close()


class Turn:
    """A worker's side: its own place."""

    def __init__(self, fd: int, place: int) -> None:
        self._memory = mmap.mmap(fd, 0)
        self._counts = memoryview(self._memory).cast("q")
        self._place = place
        self._has_left = False
        self._asks_from = 0.0

    def note(self, connections: int) -> None:
        """Tell the others how many connections there are here."""
        if not self._has_left:
            self._counts[self._place] = connections

    def leave(self) -> None:
        """Accept no more."""
        self._counts[self._place] = _NOBODY
        self._has_left = True

    async def come(self, listener: object) -> None:
        """Wait until there is a connection that is ours to accept.

        Raises:
            trio.ClosedResourceError: The listener is closed.
        """
        if not isinstance(listener, trio.SocketListener):
            return
        await _has_come(listener.socket)
        began_at = trio.current_time()
        while self._is_ahead() and (now := trio.current_time()) >= self._asks_from:
            if now >= began_at + ASIDE_S:
                self._asks_from = now + _IN_VAIN_S
                return
            await trio.sleep(_LOOK_S)
            await _has_come(listener.socket)

    def _is_ahead(self) -> bool:
        counts = self._counts.tolist()
        return is_ahead(counts.pop(self._place), counts)


async def _has_come(sock: trio.socket.SocketType) -> None:
    """Wait until somebody is to be accepted, unless nobody can come any more."""
    if sock.fileno() < 0:  # closed before: a worker that ends as it begins
        raise trio.ClosedResourceError
    await trio.lowlevel.wait_readable(sock)
