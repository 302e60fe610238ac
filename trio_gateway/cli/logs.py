"""Where the standard library's log records go: the same lines, the same writer."""

import logging
import traceback
from collections.abc import Callable
from typing import Final

from trio_gateway.telemetry.log import Level, event_line

# A traceback's end says what happened; its beginning is the server's loop.
_TRACEBACK_CHARS_MAX: Final = 4000

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
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            fields["traceback"] = trace[-_TRACEBACK_CHARS_MAX:]
        level = _LEVELS.get(record.levelno, Level.INFO)
        self._write(
            event_line(
                "log",
                at=record.created,
                level=level,
                text_chars_max=_TRACEBACK_CHARS_MAX,
                logger=record.name,
                message=record.getMessage(),
                **fields,
            )
        )
