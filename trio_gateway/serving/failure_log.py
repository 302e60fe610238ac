"""One short line when something broke that should not have, and never too many of them.

A line names the exception's type and place. It leaves out its text, which may quote a
prompt or a key, and it is rationed, because a stranger may be able to provoke it.
"""

import errno
import logging
import traceback
from typing import Final

import trio

logger = logging.getLogger("trio_gateway.serving")

# Enough to see what goes wrong, too few to fill a disk.
LINES_MAX: Final = 10
WINDOW_S: Final = 60.0

# The innermost frames say where; the outer ones are the same for every request.
FRAMES_MAX: Final = 3


class FailureLog:
    """Notes failures, at most `LINES_MAX` per `WINDOW_S`; says how many it left out."""

    def __init__(self) -> None:
        self._ration = Ration()
        self._warnings = Ration()

    def note(self, event: str, error: BaseException) -> None:
        """Write one line about a failure, unless there were too many of late."""
        dropped = self._ration.take()
        if dropped is not None:
            line = "%s error=%s at=%s dropped=%d"
            logger.error(line, event, *describe(error), dropped)

    def warn(self, event: str, words: str) -> None:
        """Write one line, in our own words, of what an operator may want to mend."""
        dropped = self._warnings.take()
        if dropped is not None:
            logger.warning("%s %s dropped=%d", event, words, dropped)


class Ration:
    """So many lines in so long: `LINES_MAX` per `WINDOW_S`."""

    def __init__(self) -> None:
        self._window_by = float("-inf")
        self._lines = 0
        self._dropped = 0

    def take(self) -> int | None:
        """Take one; say how many were left out since the last. None: leave it out."""
        now = trio.current_time()
        if now >= self._window_by:
            self._window_by = now + WINDOW_S
            self._lines = 0
        if self._lines >= LINES_MAX:
            self._dropped += 1
            return None
        self._lines += 1
        dropped, self._dropped = self._dropped, 0
        return dropped


def describe(error: BaseException) -> tuple[str, str]:
    """Name an exception's type and place, or those of the members of a group."""
    leaves = list(_leaves(error))
    names = ",".join(sorted({_name(leaf) for leaf in leaves}))
    frames = traceback.extract_tb(leaves[0].__traceback__)[-FRAMES_MAX:]
    place = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(frames))
    return names, place or "?"


def _name(error: BaseException) -> str:
    """The type, and the name of the system's reason: no text, for it may quote."""
    name = type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    reason = errno.errorcode.get(number or 0)
    return name if reason is None else f"{name}:{reason}"


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for member in error.exceptions for leaf in _leaves(member)]
