"""Where the standard library's log records go: the same lines, the same writer."""

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Final

from trio_gateway.telemetry.log import Level, event_line

# Enough for what is nearest to the cause; the beginning is the server's loop.
_TRACEBACK_CHARS_MAX: Final = 4000

# Its messages begin with the name of what happened, as in "draining limit_s=30".
_NAMES_EVENTS: Final = "trio_gateway.serving"

_LEVELS: Final = {
    logging.WARNING: Level.WARNING,
    logging.ERROR: Level.ERROR,
    logging.CRITICAL: Level.ERROR,
}


class LineLog(logging.Handler):
    """Writes log records as event lines, without ever waiting for a reader."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fields: dict[str, str] = {}
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(_trace_of(record.exc_info[1]))
            fields["traceback"] = trace[-_TRACEBACK_CHARS_MAX:]
        level = _LEVELS.get(record.levelno, Level.INFO)
        event, message = "log", record.getMessage()
        if record.name == _NAMES_EVENTS:
            event, _, message = message.partition(" ")
        self._write(
            event_line(
                event,
                at=record.created,
                level=level,
                text_chars_max=_TRACEBACK_CHARS_MAX,
                logger=record.name,
                message=message,
                **fields,
            )
        )


def _trace_of(error: BaseException) -> Iterator[str]:
    """Where an exception was raised, and its type; after it, what it was raised from.

    Its text is left out, for it may quote what was being read: a prompt, or a key.
    """
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__qualname__}\n"
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _trace_of(member)
    earlier = error.__cause__
    if earlier is None and not error.__suppress_context__:
        earlier = error.__context__
    if earlier is not None:
        yield "raised from:\n"
        yield from _trace_of(earlier)
