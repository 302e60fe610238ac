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


def test_what_happened_to_the_server_is_an_event_of_its_name() -> None:
    said = {"name": "trio_gateway.serving", "msg": "draining limit_s=%g", "args": (5,)}
    line = written(a_record(**said))
    assert (line["event"], line["message"]) == ("draining", "limit_s=5")


def of(error: BaseException) -> str:
    exc_info = (type(error), error, error.__traceback__)
    trace = written(a_record(exc_info=exc_info))["traceback"]
    assert isinstance(trace, str)
    return trace


SECRET = "-".join(("sk", "secret"))  # so that no line of code holds it


def fails() -> None:
    raise ValueError(SECRET)


def test_a_traceback_says_where_and_what_but_quotes_nothing() -> None:
    with pytest.raises(ValueError, match=SECRET) as raised:
        fails()
    trace = of(raised.value)
    assert "in fails" in trace
    assert trace.endswith("ValueError\n")
    assert SECRET not in trace


def test_of_a_long_traceback_the_end_is_there() -> None:
    trace = of(ExceptionGroup("", [ValueError()] * 500))
    assert trace.endswith("ValueError\n")
    assert len(trace) == 4000


def test_what_an_exception_was_raised_from_is_there_without_its_text() -> None:
    def translate() -> None:
        try:
            fails()
        except ValueError as error:
            raise ExceptionGroup(SECRET, [KeyError(SECRET)]) from error

    with pytest.raises(ExceptionGroup) as raised:
        translate()
    trace = of(raised.value)
    assert trace.index("ExceptionGroup") < trace.index("KeyError")
    assert trace.index("raised from:") < trace.index("ValueError")
    assert SECRET not in trace


def test_what_was_suppressed_stays_so() -> None:
    def translate() -> None:
        try:
            fails()
        except ValueError:
            raise KeyError from None

    with pytest.raises(KeyError) as raised:
        translate()
    assert "ValueError" not in of(raised.value)
