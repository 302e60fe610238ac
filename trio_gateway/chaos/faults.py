"""The vocabulary of faults: as values, and as the text that names them.

A fault is one or more *effects* on an answer, and how often they strike. Its text is a
list separated by commas, in any order:

    status=503,rate=30%                        three answers in ten are a 503
    error=quota                                every answer is a 429 without money
    status=429,retry_after=2s,hint=date        a 429 that says when to come back
    delay=300ms,cut=100,times=2                twice: a late head, a cut at byte 100
    reset,after=10                             from the 11th request on

Effects, applied from left to right:

    status=CODE            that status, with the body a real provider sends with it
    error=NAME             one of `errors.ERRORS`, with its own status or `status`'s
    delay=TIME             the head comes so much later
    slow_first_token=TIME  the first token comes so much later than the head
    cut[=K] reset[=K] eof[=K] hang[=K]
                           after K bytes of the body the connection is closed in
                           mid-frame, reset, closed as if all were said, or silent.
                           Without K: `reset` before the head, the others after it
    silence close refuse connect_hang
                           the request is read and nothing comes; or the connection
                           closes; there is no connection; it is never made
    error_in_200[=K]       an error instead of the answer, or of a stream's event K
    role_only[=END]        a stream's first chunks, then it hangs (or cut, reset, eof,
                           clean)
    heartbeats[=TIME]      nothing but signs of life, every second or TIME
    no_finish[=done]       a stream without its last chunks (but with its `[DONE]`)
    wrong_content_type[=TYPE]
                           the right answer, labelled text/plain or TYPE
    malformed_sse malformed_json html empty_stream broken_gzip json_for_stream
    stream_for_json        a 200 that is not the answer asked for

Options: `rate=0.3` or `30%` (default: always), `after=N` spares the first N requests,
`times=N` strikes at most the N requests that follow. `retry_after=TIME` goes with a
status: as a `retry-after` in seconds, or in the form `hint=ms|date|reset|text|google`;
what is not a TIME is sent as it is. A TIME is `300ms`, `2s` or `1m`.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trio_gateway.chaos.errors import ERRORS, Hint, HintForm
from trio_gateway.chaos.script import Ending, Refusal


@dataclass(frozen=True, slots=True)
class Status:
    """An error instead of the answer."""

    code: int | None = None  # None: the error's own
    error: str | None = None  # a name in ERRORS; None: what this status usually says
    hint: Hint | None = None


@dataclass(frozen=True, slots=True)
class Delay:
    """The head comes later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SlowFirstToken:
    """The first token comes later than it should after the head."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """The body ends after some bytes, and not as it should."""

    ending: Ending
    at: int = 0


@dataclass(frozen=True, slots=True)
class Refuse:
    """There is no answer at all."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ErrorIn200:
    """An error where a good answer was announced; in a stream, as event `at`."""

    at: int = 0


@dataclass(frozen=True, slots=True)
class RoleOnly:
    """A stream that says who speaks, and no word."""

    ending: Ending = Ending.HANG


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """Signs of life, and no answer."""

    every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class NoFinish:
    """A stream that ends well, but without a `finish_reason`."""

    says_done: bool = False


@dataclass(frozen=True, slots=True)
class WrongContentType:
    """The right answer under a wrong label."""

    content_type: str = "text/plain"


class WrongBody(StrEnum):
    """A 200 that is not the answer asked for."""

    MALFORMED_SSE = "malformed_sse"
    MALFORMED_JSON = "malformed_json"
    HTML = "html"
    EMPTY_STREAM = "empty_stream"
    BROKEN_GZIP = "broken_gzip"
    JSON_FOR_STREAM = "json_for_stream"
    STREAM_FOR_JSON = "stream_for_json"


Effect = (
    Status
    | Delay
    | SlowFirstToken
    | Break
    | Refuse
    | ErrorIn200
    | RoleOnly
    | Heartbeats
    | NoFinish
    | WrongContentType
    | WrongBody
)
"""One thing that goes wrong with an answer; `distortion` says how."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong together, how often, and with which requests.

    It may strike requests `after` + 1 up to `after` + `times`, each at `rate`.
    """

    effects: tuple[Effect, ...]
    rate: float = 1.0
    after: int = 0
    times: int | None = None  # None: all that follow

    def __post_init__(self) -> None:
        if not self.effects:
            raise ValueError("a fault needs an effect, such as status=503")
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"rate={self.rate:g} is not a share between 0 and 1")

    def is_possible(self, number: int) -> bool:
        """Say whether this fault may strike the request of that number (from 1)."""
        last = math.inf if self.times is None else self.after + self.times
        return self.after < number <= last


def parse_fault(text: str) -> Fault:
    """Read a fault from its text; the syntax is at the top of this module.

    Raises:
        ValueError: with what is wrong and what to write instead.
    """
    given: dict[str, str | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        _one_of(name, (*_EFFECTS, *_STATUS_KEYS, *_OPTIONS), what="fault or option")
        if name in given:
            raise ValueError(f"{name} is there twice in {text!r}")
        given[name] = value if equals else None
    return Fault(
        effects=_effects(given),
        rate=_share(_value(given, "rate")) if "rate" in given else 1.0,
        after=_count("after", given["after"]) if "after" in given else 0,
        times=_count("times", given["times"]) if "times" in given else None,
    )


def _effects(given: dict[str, str | None]) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    for name, value in given.items():
        if name in _EFFECTS:
            effects.append(_EFFECTS[name](name, value))
        elif name in ("status", "error") and not _holds_status(effects):
            effects.append(_status(given))
    if not _holds_status(effects) and ("retry_after" in given or "hint" in given):
        raise ValueError("retry_after and hint need a status, such as status=429")
    return tuple(effects)


def _holds_status(effects: Iterable[Effect]) -> bool:
    return any(isinstance(effect, Status) for effect in effects)


def _status(given: dict[str, str | None]) -> Status:
    code = None
    if "status" in given:
        code = _count("status", _value(given, "status"))
        if not 200 <= code <= 599:
            raise ValueError(f"status={code} is not a final status: 200 to 599")
    if "error" in given:
        _one_of(_value(given, "error"), ERRORS, what="error")
    return Status(code=code, error=given.get("error"), hint=_hint(given))


def _hint(given: dict[str, str | None]) -> Hint | None:
    if "retry_after" not in given:
        if "hint" in given:
            raise ValueError("hint needs a time, such as retry_after=2s")
        return None
    value = _value(given, "retry_after")
    form = HintForm.SECONDS
    if "hint" in given:
        form = HintForm(_one_of(_value(given, "hint"), list(HintForm), what="hint"))
    if _TIME.fullmatch(value):
        return Hint(form, seconds=_seconds("retry_after", value))
    if form is not HintForm.SECONDS:
        raise ValueError(f"hint={form} needs a time, such as retry_after=2s")
    return Hint(HintForm.RAW, raw=value)


_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS_IN: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(name: str, value: str | None) -> float:
    match = _TIME.fullmatch(value or "")
    if match is None:
        raise ValueError(f"{name} needs a time, such as {name}=300ms or {name}=2s")
    return float(match[1]) * _SECONDS_IN[match[2]]


def _share(value: str) -> float:
    number, percent, _ = value.partition("%")
    try:
        return float(number) / (100.0 if percent else 1.0)
    except ValueError:
        raise ValueError(f"rate={value} is not a share: write 0.3 or 30%") from None


def _count(name: str, value: str | None) -> int:
    if value is None or not (value.isascii() and value.isdigit()):
        raise ValueError(f"{name} needs a whole number, such as {name}=3")
    return int(value)


def _value(given: dict[str, str | None], name: str) -> str:
    value = given[name]
    if not value:
        raise ValueError(f"{name} needs a value: {name}=...")
    return value


def _one_of(word: str, known: Iterable[str], *, what: str) -> str:
    """Check a word against those there are; suggest one where it is close."""
    words = [str(one) for one in known]
    if word in words:
        return word
    near = difflib.get_close_matches(word, words, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words)}"
    raise ValueError(f"no {what} is called {word!r}; {advice}")


def _breaks(ending: Ending) -> Callable[[str, str | None], Effect]:
    def read(name: str, value: str | None) -> Effect:
        if value is None and ending is Ending.RESET:
            return Refuse(Refusal.RESET)
        return Break(ending, at=0 if value is None else _count(name, value))

    return read


def _plain(effect: Effect) -> Callable[[str, str | None], Effect]:
    def read(name: str, value: str | None) -> Effect:
        if value is not None:
            raise ValueError(f"{name} takes no value")
        return effect

    return read


def _error_in_200(name: str, value: str | None) -> Effect:
    return ErrorIn200(at=0 if value is None else _count(name, value))


def _role_only(_: str, value: str | None) -> Effect:
    word = _one_of(value or "hang", [end.value for end in Ending], what="ending")
    return RoleOnly(Ending(word))


def _heartbeats(name: str, value: str | None) -> Effect:
    every_s = 1.0 if value is None else _seconds(name, value)
    if every_s <= 0:
        raise ValueError(f"{name} needs a time above zero, such as {name}=1s")
    return Heartbeats(every_s)


def _no_finish(_: str, value: str | None) -> Effect:
    return NoFinish(
        says_done=_one_of(value or "no", ["done", "no"], what="end") != "no"
    )


def _wrong_content_type(_: str, value: str | None) -> Effect:
    return WrongContentType(value) if value else WrongContentType()


_EFFECTS: Final[dict[str, Callable[[str, str | None], Effect]]] = {
    "delay": lambda name, value: Delay(_seconds(name, value)),
    "slow_first_token": lambda name, value: SlowFirstToken(_seconds(name, value)),
    "cut": _breaks(Ending.CUT),
    "reset": _breaks(Ending.RESET),
    "eof": _breaks(Ending.EOF),
    "hang": _breaks(Ending.HANG),
    "silence": _plain(Refuse(Refusal.SILENCE)),
    "close": _plain(Refuse(Refusal.CLOSE)),
    "refuse": _plain(Refuse(Refusal.CONNECT_REFUSED)),
    "connect_hang": _plain(Refuse(Refusal.CONNECT_HANG)),
    "error_in_200": _error_in_200,
    "role_only": _role_only,
    "heartbeats": _heartbeats,
    "no_finish": _no_finish,
    "wrong_content_type": _wrong_content_type,
    **{wrong.value: _plain(wrong) for wrong in WrongBody},
}
_STATUS_KEYS: Final = ("status", "error", "retry_after", "hint")
_OPTIONS: Final = ("rate", "after", "times")
