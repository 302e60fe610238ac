"""The vocabulary of faults: the text that names one, and when it strikes.

A fault is one or more *effects* on an answer, and how often they strike. Its text is a
list separated by commas, in any order:

    status=503,rate=30%                        three answers in ten are a 503
    error=quota                                every answer is a 429 without money
    status=429,retry_after=2s,hint=date        a 429 that says when to come back
    delay=300ms,cut=100,times=2                twice: a late head, a cut at byte 100
    reset,after=10                             from the 11th request on
    dns,flap=20s/20s                           20 s without an address, 20 s with one

Effects, applied from left to right. No answer, or an error:

    status=CODE            that status, with the body a real provider sends with it
    error=NAME             one of `error_forms.ERRORS`, with its status or `status`'s
    refuse dns connect_hang
                           there is no connection; the name has no address; it is never
                           made (a black hole). Only where connections are simulated:
                           on a socket that is open, `refuse` and `dns` reset it, and
                           `connect_hang` is a silence
    silence close reset    the request is read and nothing comes; or the connection
                           closes; or is reset

Late and slow:

    delay=TIME             the head comes so much later
    slow_head=TIME         the head comes byte by byte, and takes so long
    slow_first_token=TIME  the first token comes so much later than the head
    gap=TIME               from one token to the next
    stall=TIME[@N]         a stream stands still after N tokens, or in its middle
    slow=FACTOR            everything takes so many times as long
    slices=N               the body comes in pieces of N bytes

Broken off:

    cut[=K] reset=K eof[=K] hang[=K]
                           after K bytes of the body the connection is closed in
                           mid-frame, reset, closed as if all were said, or silent
    unterminated[=K]       after K bytes, or all of them, it closes between two chunks,
                           and none was the last
    role_only[=END]        a stream's first chunks, then it hangs (or cut, reset, eof,
                           clean, unterminated)
    no_finish[=done]       a stream without its last chunks (but with its `[DONE]`)
    no_done                a stream that ends after its `finish_reason`
    filtered[=N]           a content filter ends the answer after N tokens

Wrong, with a 200:

    error_in_200[=K]       an error instead of the answer, or of a stream's event K
    heartbeats[=TIME]      nothing but signs of life, every second or TIME
    duplicate_events done_twice events_after_done
                           each token twice; `[DONE]` twice; a token after it
    huge_token[=BYTES]     one token of 2 MiB, or BYTES
    wrong_content_type[=TYPE]
                           the right answer, labelled text/plain or TYPE
    wrong_length[=+K|-K]   a `content-length` that is 100 or K bytes too long or short
    malformed_sse malformed_json html empty_stream broken_gzip json_for_stream
    stream_for_json        a 200 that is not the answer asked for

Around the answer, on connections only:

    interim[=CODE]         a 103, or another 1xx, before the head
    stray[=K]              K bytes, or a whole answer, after one that was complete
    half_open              the connection stays, but nobody is there any more
    stale                  it closes, though it said that it would stay

How often: `rate=0.3` or `30%` (default: always), `after=N` spares the first N requests,
`times=N` strikes at most the N requests that follow. Whom: `model=NAME`, or `model=I/N`
for the I-th of N groups that models fall into by their names. When, in time since the
provider started or was told of the fault: `from=TIME`, `until=TIME`, and a rhythm:
`flap=ON/OFF`, or one that is drawn from the seed: `incident=MEDIAN` (one, log-normal),
`outages=EVERY/MEDIAN` (many, in clusters) or `bursts=EVERY/LASTS` (exponential).

What is under way when it begins, each time: `under_way=reset|silent|goes_on`, for the
same rate of it, whatever its number. Without it, `refuse` resets, `connect_hang` makes
silent, and under all others answers go on; so they do where requests are counted.

`retry_after=TIME` goes with a status: as a `retry-after` in seconds, or in the form
`hint=ms|date|reset|text|google|twice`; what is not a TIME is sent as it is. A TIME is
`300ms`, `2s`, `1m`, `4h` or `5d`.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from trio_gateway.chaos.vocabulary.climate import (
    ALWAYS,
    Bursts,
    Flaps,
    Incident,
    Outages,
    Rhythm,
    When,
)
from trio_gateway.chaos.vocabulary.effect_words import EFFECTS
from trio_gateway.chaos.vocabulary.effects import Effect, Refuse, Status
from trio_gateway.chaos.vocabulary.error_forms import ERRORS
from trio_gateway.chaos.vocabulary.errors import Hint, HintForm
from trio_gateway.chaos.vocabulary.script import UnderWay, usual_under_way
from trio_gateway.chaos.vocabulary.values import count_of, is_time, one_of, seconds_of


@dataclass(frozen=True, slots=True)
class Group:
    """One of `of` groups that all models fall into, each by a hash of its name."""

    place: int  # from 1
    of: int

    def holds(self, model: str) -> bool:
        """Say whether a model falls into this one, the same in every run."""
        digest = blake2b(model.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.place - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong together, how often, and with which requests.

    It may strike requests `after` + 1 up to `after` + `times`, each at `rate`, for the
    models it is about, and while it reigns.
    """

    effects: tuple[Effect, ...]
    rate: float = 1.0
    after: int = 0
    times: int | None = None  # None: all that follow
    models: str | Group | None = None  # None: every model
    when: When = ALWAYS
    under_way: UnderWay = UnderWay.GOES_ON  # what becomes of it when this begins
    text: str = field(default="", compare=False)  # as it was written

    def __post_init__(self) -> None:
        if not self.effects:
            raise ValueError("a fault needs an effect, such as status=503")
        if not 0.0 <= self.rate <= 1.0:
            raise ValueError(f"rate={self.rate:g} is not a share between 0 and 1")

    @property
    def share(self) -> float:
        """Which part it strikes of what is under way when it begins."""
        return self.rate

    def next_begin(self, after_s: float) -> float:
        """The next instant after this one at which it begins; inf: there is none."""
        return self.when.next_begin(after_s)

    def is_possible(self, number: int) -> bool:
        """Say whether this fault may strike the request of that number (from 1)."""
        last = math.inf if self.times is None else self.after + self.times
        return self.after < number <= last

    def is_about(self, model: str) -> bool:
        """Say whether this fault may strike a request for that model."""
        if isinstance(self.models, Group):
            return self.models.holds(model)
        return self.models is None or self.models == model


def parse_fault(text: str) -> Fault:
    """Read a fault from its text; the syntax is at the top of this module.

    Raises:
        ValueError: with what is wrong and what to write instead.
    """
    given: dict[str, str | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        known = (*EFFECTS, *_STATUS_KEYS, *_OPTIONS, *_RHYTHMS)
        one_of(name, known, what="fault or option")
        if name in given:
            raise ValueError(f"{name} is there twice in {text!r}")
        given[name] = value if equals else None
    effects = _effects(given)
    return Fault(
        effects=effects,
        rate=_share(_value(given, "rate")) if "rate" in given else 1.0,
        after=count_of("after", given["after"]) if "after" in given else 0,
        times=count_of("times", given["times"]) if "times" in given else None,
        models=_models(_value(given, "model")) if "model" in given else None,
        when=_when(given),
        under_way=_under_way(given, effects),
        text=text,
    )


def _effects(given: dict[str, str | None]) -> tuple[Effect, ...]:
    effects: list[Effect] = []
    for name, value in given.items():
        if name in EFFECTS:
            effects.append(EFFECTS[name](name, value))
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
        code = count_of("status", _value(given, "status"))
        if not 200 <= code <= 599:
            raise ValueError(f"status={code} is not a final status: 200 to 599")
    if "error" in given:
        one_of(_value(given, "error"), ERRORS, what="error")
    return Status(code=code, error=given.get("error"), hint=_hint(given))


def _hint(given: dict[str, str | None]) -> Hint | None:
    if "retry_after" not in given:
        if "hint" in given:
            raise ValueError("hint needs a time, such as retry_after=2s")
        return None
    value = _value(given, "retry_after")
    form = HintForm.SECONDS
    if "hint" in given:
        form = HintForm(one_of(_value(given, "hint"), list(HintForm), what="hint"))
    if is_time(value):
        return Hint(form, seconds=seconds_of("retry_after", value))
    if form is not HintForm.SECONDS:
        raise ValueError(f"hint={form} needs a time, such as retry_after=2s")
    return Hint(HintForm.RAW, raw=value)


def _models(value: str) -> str | Group:
    match = _GROUP.fullmatch(value)
    if match is None:
        return value
    place, of = int(match[1]), int(match[2])
    if not 1 <= place <= of:
        raise ValueError(f"model={value} is no group: write 1/3, 2/3 or 3/3")
    return Group(place, of)


# Models have slashes in their names, but none is a number.
_GROUP: Final = re.compile(r"(\d{1,3})/(\d{1,3})")


def _when(given: dict[str, str | None]) -> When:
    rhythms = [name for name in _RHYTHMS if name in given]
    if len(rhythms) > 1:
        raise ValueError(f"{rhythms[0]} and {rhythms[1]} are two rhythms: keep one")
    rhythm = _rhythm(rhythms[0], given[rhythms[0]] or "") if rhythms else None
    return When(
        from_s=seconds_of("from", given["from"]) if "from" in given else 0.0,
        until_s=seconds_of("until", given["until"]) if "until" in given else math.inf,
        rhythm=rhythm,
    )


def _rhythm(name: str, value: str) -> Rhythm:
    times, make = _RHYTHMS[name]
    parts = value.split("/")
    if len(parts) != times or not all(map(is_time, parts)):
        example = "/".join(["20s"] * times)
        number = "a time" if times == 1 else f"{times} times"
        raise ValueError(f"{name} needs {number}, such as {name}={example}")
    seconds = [seconds_of(name, part) for part in parts]
    if not all(seconds):
        raise ValueError(f"{name} needs times above zero")
    return make(*seconds)


def _under_way(given: dict[str, str | None], effects: Iterable[Effect]) -> UnderWay:
    if "under_way" in given:
        value = _value(given, "under_way")
        return UnderWay(one_of(value, list(UnderWay), what="under_way"))
    if "after" in given or "times" in given:
        return UnderWay.GOES_ON
    refusals = (one.refusal for one in effects if isinstance(one, Refuse))
    usual = map(usual_under_way, refusals)
    return next((one for one in usual if one is not UnderWay.GOES_ON), UnderWay.GOES_ON)


def _share(value: str) -> float:
    number, percent, _ = value.partition("%")
    try:
        return float(number) / (100.0 if percent else 1.0)
    except ValueError:
        raise ValueError(f"rate={value} is not a share: write 0.3 or 30%") from None


def _value(given: dict[str, str | None], name: str) -> str:
    value = given[name]
    if not value:
        raise ValueError(f"{name} needs a value: {name}=...")
    return value


_STATUS_KEYS: Final = ("status", "error", "retry_after", "hint")
_OPTIONS: Final = ("rate", "after", "times", "model", "from", "until", "under_way")
_RHYTHMS: Final[dict[str, tuple[int, Callable[..., Rhythm]]]] = {
    "flap": (2, Flaps),
    "incident": (1, Incident),
    "outages": (2, Outages),
    "bursts": (2, Bursts),
}
