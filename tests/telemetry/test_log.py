import json
from datetime import timedelta, timezone

import pytest

from tests.telemetry.records import COMPLETED, FAILED, WON, a_record
from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.record import Outcome
from trio_gateway.telemetry.log import (
    TEXT_CHARS_MAX,
    Level,
    event_line,
    exchange_fields,
    exchange_line,
    exchange_text,
    iso,
)

HOSTILE = 'a"\n\r\x1b[2J\u2028\u202e\ud800'


def test_a_line_tells_the_whole_exchange_in_a_stable_order() -> None:
    assert exchange_line(COMPLETED) == (
        '{"at":"2025-11-25T12:03:44.250Z","level":"info","event":"exchange",'
        '"id":"6f1c3a52-7c80-4d0e-9d2f-0f2f6a3a0001","request_id":"client-7",'
        '"key_name":"support-bot","org":"acme","project":"support",'
        '"model":"demo-chat","stream":true,"outcome":"completed","status":200,'
        '"target":"steady/demo","ms":312.0,"first_token_ms":216.0,"bytes_out":4321,'
        '"winner":2,"attempts":['
        '{"number":1,"target":"flaky/demo","reason":"first","class":"server_error",'
        '"status":503,"at_ms":1.0,"ms":14.0,"head_ms":13.5,"commit_ms":null,'
        '"left_ms":45000.0,"bytes_in":null,"in_flight":3,"cause":"status 503"},'
        '{"number":2,"target":"steady/demo","reason":"failover","class":"ok",'
        '"status":200,"at_ms":15.0,"ms":296.8,"head_ms":100.0,"commit_ms":200.0,'
        '"left_ms":44986.0,"bytes_in":4500,"in_flight":1,"cause":null}],'
        '"shed":null,"detail":null}'
    )


def test_every_line_has_the_same_keys() -> None:
    bare = a_record(
        key=None,
        org=None,
        project=None,
        first_token_s=None,
        outcome=Outcome.CANCELLED,
        status=None,
        target=None,
        attempts=(),
    )
    assert list(json.loads(exchange_line(bare))) == list(
        json.loads(exchange_line(COMPLETED))
    )


@pytest.mark.parametrize(
    ("outcome", "status", "level"),
    [
        (Outcome.COMPLETED, 200, "info"),
        (Outcome.CANCELLED, None, "info"),
        (Outcome.REFUSED, 404, "info"),
        (Outcome.REFUSED, 502, "warning"),
        (Outcome.INTERRUPTED, 200, "warning"),
    ],
)
def test_what_the_gateway_could_not_deliver_is_a_warning(
    outcome: Outcome, status: int | None, level: str
) -> None:
    line = json.loads(exchange_line(a_record(outcome=outcome, status=status)))
    assert line["level"] == level


def test_what_a_client_chose_cannot_break_a_line_or_fill_a_log() -> None:
    line = exchange_line(a_record(model=HOSTILE, request_id="x" * 10_000))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["model"] == HOSTILE
    assert len(json.loads(line)["request_id"]) == TEXT_CHARS_MAX


def test_whatever_a_name_is_a_line_stays_json() -> None:
    attempt = FAILED._replace(target=HOSTILE, cause=HOSTILE)
    record = a_record(
        id=HOSTILE,
        key=HOSTILE,
        org=HOSTILE,
        project=HOSTILE,
        target=HOSTILE,
        detail=HOSTILE,
        attempts=(attempt,),
    )

    line = exchange_line(record)

    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line)
    (told,) = said["attempts"]
    assert {said[name] for name in ("id", "key_name", "org", "project")} == {HOSTILE}
    assert said["target"] == said["detail"] == HOSTILE
    assert told["target"] == told["cause"] == HOSTILE
    assert exchange_fields(record) == said


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (1_764_072_224.25, "2025-11-25T12:03:44.250Z"),
        (1_764_072_224.123, "2025-11-25T12:03:44.123Z"),
        (1_764_072_224.9999999, "2025-11-25T12:03:45.000Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_an_instant_is_told_to_the_millisecond(at: float, told: str) -> None:
    assert iso(at) == told


def test_the_text_reads_like_a_sentence() -> None:
    assert exchange_text(COMPLETED) == (
        "12:03:44  demo-chat  200  stream  312 ms  "
        "flaky/demo: server_error 503 (14 ms) -> steady/demo: ok"
    )


def test_the_text_says_that_the_client_left() -> None:
    cancelled = WON._replace(failure=FailureClass.CANCELLED, status=None)
    record = a_record(
        outcome=Outcome.CANCELLED, status=None, is_stream=False, attempts=(cancelled,)
    )
    assert exchange_text(record) == (
        "12:03:44  demo-chat  ---  answer  312 ms  "
        "steady/demo: cancelled (297 ms)  client left"
    )


def test_the_text_says_why_an_exchange_was_refused() -> None:
    record = a_record(
        outcome=Outcome.REFUSED, status=502, attempts=(FAILED,), detail="no target left"
    )
    assert exchange_text(record).endswith("503 (14 ms)  no target left")


def test_the_text_is_in_the_zone_of_its_reader() -> None:
    zone = timezone(timedelta(hours=2))
    assert exchange_text(COMPLETED, zone=zone).startswith("14:03:44  ")


def test_the_text_cannot_steer_a_terminal() -> None:
    text = exchange_text(a_record(model=HOSTILE))
    assert text.isprintable()
    assert 'a"???[2J???  200' in text
    text.encode()


def test_an_event_is_a_line_like_the_others() -> None:
    line = event_line(
        "draining", at=1_764_072_224.25, level=Level.WARNING, open_streams=3, why=None
    )
    assert line == (
        '{"at":"2025-11-25T12:03:44.250Z","level":"warning","event":"draining",'
        '"open_streams":3,"why":null}'
    )


def test_an_event_shortens_long_fields() -> None:
    line = json.loads(event_line("policy", at=0.0, error="x" * 10_000))
    assert len(line["error"]) == TEXT_CHARS_MAX
