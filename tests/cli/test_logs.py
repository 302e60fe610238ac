"""The standard library's log records, as lines of our own."""

import json
import logging
from typing import Any

import pytest

from trio_gateway.cli.logs import LineLog


def written(record: logging.LogRecord) -> dict[str, Any]:
    lines: list[str] = []
    LineLog(lines.append).handle(record)
    (line,) = lines
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def a_record(**changes: Any) -> logging.LogRecord:
    fields = {"name": "trio_gateway.web", "levelname": "WARNING", "levelno": 30}
    return logging.makeLogRecord({**fields, "msg": "found %d", "args": (7,), **changes})


def test_a_record_is_a_line_with_its_message_and_logger() -> None:
    line = written(a_record())
    assert line["event"] == "log"
    assert line["level"] == "warning"
    assert line["logger"] == "trio_gateway.web"
    assert line["message"] == "found 7"


def test_the_end_of_a_traceback_is_there_and_says_what_happened() -> None:
    with pytest.raises(ValueError, match="the very cause") as raised:
        raise ValueError("so many words " * 1000 + "and the very cause")
    error = raised.value
    line = written(a_record(exc_info=(ValueError, error, error.__traceback__)))
    assert line["traceback"].endswith("and the very cause\n")
    assert len(line["traceback"]) <= 4000
