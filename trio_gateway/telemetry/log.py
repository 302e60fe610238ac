"""What a log line says: one for each exchange, one for each event of the gateway.

Everything here is pure: a record goes in, a line comes out. Lines never hold a prompt,
a completion, a header's value or a key, because records do not; and whatever a client
could choose is shortened and freed of control characters. Writing is `writer`'s part.
"""

import json
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Final

from trio_gateway.relay.record import AttemptRecord, ExchangeRecord, Outcome

# A slug, an id or a cause of ours is shorter. Clients choose the slug and the request
# id, and a log is not theirs to fill.
TEXT_CHARS_MAX: Final = 200

Field = str | int | float | bool | None


class Level(StrEnum):
    """How much a line deserves an operator's attention."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def exchange_line(record: ExchangeRecord) -> str:
    """One exchange as a JSON object in ASCII, on one line, without its newline.

    Every key is always there, in this order; what is not known is null:

    - `at` (admission, ISO-8601 in UTC), `level`, `event` (always "exchange");
    - `id` (our UUID), `request_id` (what `x-request-id` said);
    - `key_name`, `org`, `project`: whose exchange it was;
    - `model` (the slug), `stream` (asked for), `outcome`, `status` (the client's);
    - `target` (the winner, else the last tried), `ms`, `first_token_ms`, `bytes_out`;
    - `winner`: the number of the attempt that the answer is of;
    - `attempts`, each with `number`, `target`, `reason`, `class` ("ok" for the winner),
      `status`, `at_ms` (when it began, from admission), `ms` (how long it lasted),
      `head_ms` and `commit_ms` (from its own begin), `left_ms` (until the exchange's
      commit deadline when it began), `bytes_in`, `in_flight` (attempts at the target
      when it began, itself included) and `cause`;
    - `shed`: why it was turned away, if there was too much at once;
    - `detail`: why it was refused or interrupted; or what broke a stream after its last
      word, so that `usage` may be missing.
    """
    # Written out, because to build a dict and dump it takes three times as long.
    status, winner = record.status, record.winner
    return (
        f'{{"at":"{iso(record.admitted_at)}","level":"{_level(record)}",'
        f'"event":"exchange","id":{_quoted(record.id)},'
        f'"request_id":{_text(record.request_id)},'
        f'"key_name":{_quoted_or_null(record.key)},'
        f'"org":{_quoted_or_null(record.org)},'
        f'"project":{_quoted_or_null(record.project)},'
        f'"model":{_text(record.model)},'
        f'"stream":{"true" if record.is_stream else "false"},'
        f'"outcome":"{record.outcome}","status":{"null" if status is None else status},'
        f'"target":{_quoted_or_null(record.target)},'
        f'"ms":{record.duration_s * 1000:.1f},'
        f'"first_token_ms":{_ms_or_null(record.first_token_s)},'
        f'"bytes_out":{record.bytes_out},'
        f'"winner":{"null" if winner is None else winner},'
        f'"attempts":[{",".join(map(_attempt, record.attempts))}],'
        f'"shed":{_quoted_or_null(record.shed)},'
        f'"detail":{_text_or_null(record.detail)}}}'
    )


def exchange_fields(record: ExchangeRecord) -> object:
    """What `exchange_line` says of an exchange, for other readers than the log."""
    return json.loads(exchange_line(record))


def _attempt(attempt: AttemptRecord) -> str:
    began_s = attempt.started_s
    status, bytes_in = attempt.status, attempt.bytes_in
    return (
        f'{{"number":{attempt.number},"target":{_quoted(attempt.target)},'
        f'"reason":"{attempt.reason}","class":"{attempt.failure or "ok"}",'
        f'"status":{"null" if status is None else status},'
        f'"at_ms":{began_s * 1000:.1f},'
        f'"ms":{(attempt.ended_s - began_s) * 1000:.1f},'
        f'"head_ms":{_ms_or_null(attempt.head_s, since_s=began_s)},'
        f'"commit_ms":{_ms_or_null(attempt.opened_s, since_s=began_s)},'
        f'"left_ms":{_ms_or_null(attempt.left_s)},'
        f'"bytes_in":{"null" if bytes_in is None else bytes_in},'
        f'"in_flight":{attempt.in_flight},"cause":{_text_or_null(attempt.cause)}}}'
    )


def exchange_text(record: ExchangeRecord, *, zone: tzinfo = UTC) -> str:
    """One exchange for a person at a terminal, on one line, without colour.

    `12:03:44  demo-chat  200  stream  312 ms  a/m: server_error 503 (14 ms) -> b/m: ok`
    """
    at = datetime.fromtimestamp(record.admitted_at, zone)
    parts = [
        f"{at:%H:%M:%S}",
        record.model,
        "---" if record.status is None else str(record.status),
        "stream" if record.is_stream else "answer",
        f"{record.duration_s * 1000:.0f} ms",
    ]
    if record.attempts:
        parts.append(" -> ".join(map(_attempt_text, record.attempts)))
    if record.outcome is Outcome.CANCELLED:
        parts.append("client left")
    elif record.detail is not None:
        parts.append(record.detail)
    return "  ".join(_printable(_short(part)) for part in parts)


def event_line(
    event: str,
    /,
    *,
    at: float,
    level: Level = Level.INFO,
    text_chars_max: int = TEXT_CHARS_MAX,
    **fields: Field,
) -> str:
    """Something that happened to the gateway itself, in the form of `exchange_line`.

    Args:
        event: Its name, for example "draining".
        at: Wall time, seconds since 1970 UTC.
        level: How much attention it deserves.
        text_chars_max: Longer texts are cut; more than the default is for our own.
        **fields: What else there is to say; never a secret, never a prompt.
    """
    short = {
        name: _short(value, text_chars_max) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return _json({"at": iso(at), "level": level, "event": event, **short})


def _level(record: ExchangeRecord) -> Level:
    is_failed = record.status is not None and record.status >= 500
    if record.outcome is Outcome.INTERRUPTED or is_failed:
        return Level.WARNING
    return Level.INFO


def _attempt_text(attempt: AttemptRecord) -> str:
    if attempt.failure is None:
        return f"{attempt.target}: ok"
    status = "" if attempt.status is None else f" {attempt.status}"
    took_ms = (attempt.ended_s - attempt.started_s) * 1000
    return f"{attempt.target}: {attempt.failure}{status} ({took_ms:.0f} ms)"


def _json(line: dict[str, object]) -> str:
    return json.dumps(line, separators=(",", ":"))


def iso(wall_time: float) -> str:
    """A wall time as lines and operators' pages show it: ISO-8601 in UTC."""
    second, microseconds = divmod(round(wall_time * 1e6), 1_000_000)
    return f"{_second(second)}.{microseconds // 1000:03d}Z"


# Lines come in the order of their ends, and show begins: most of the last seconds.
@lru_cache(maxsize=64)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().removesuffix("+00:00")


def _ms_or_null(at_s: float | None, *, since_s: float = 0.0) -> str:
    return "null" if at_s is None else f"{(at_s - since_s) * 1000:.1f}"


def _text(text: str) -> str:
    return _quoted(_short(text))


def _text_or_null(text: str | None) -> str:
    return "null" if text is None else _quoted(_short(text))


def _quoted_or_null(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _short(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    if len(text) <= chars_max:
        return text
    return text[: chars_max - 3] + "..."


def _printable(text: str) -> str:
    """Replace what could steer a terminal, or could not be encoded."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)
