"""What each effect does to an answer: pure, from a good script to a bad one.

An effect that cannot be (a first token, where a plain answer has none) leaves the
answer as it is. After an effect that takes the answer away, there is nothing left for
the next ones to change.
"""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, assert_never

from trio_gateway.chaos.vocabulary import bodies, tempo
from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    Voice,
    as_event,
    as_json,
    completion,
    good_script,
    plain_script,
    preamble_events,
    thinking_s,
)
from trio_gateway.chaos.vocabulary.effects import (
    Break,
    Delay,
    Disorder,
    DripHead,
    Effect,
    ErrorIn200,
    Filtered,
    Heartbeats,
    HugeToken,
    InterimHead,
    NoFinish,
    Refuse,
    RoleOnly,
    Slices,
    Slow,
    SlowFirstToken,
    Stall,
    Status,
    StrayBytes,
    TokenGap,
    WrongBody,
    WrongContentType,
    WrongLength,
)
from trio_gateway.chaos.vocabulary.errors import embedded_error, error_script
from trio_gateway.chaos.vocabulary.script import (
    Aftermath,
    Behaviour,
    Ending,
    Pause,
    Script,
    Send,
    Step,
)

# DeepSeek keeps a request that it has not begun alive for ten minutes, then closes.
HEARTBEATS_LAST_S: Final = 600.0

# Heartbeats faster than this would make a script of more steps than anybody counts.
HEARTBEATS_MAX: Final = 10_000


def distort(effects: Sequence[Effect], asked: Asked, voice: Voice) -> Behaviour:
    """Make the answer to a request, with these effects on it from left to right."""
    behaviour: Behaviour = good_script(asked, voice)
    for effect in effects:
        if not isinstance(behaviour, Script):
            break
        behaviour = _distort(behaviour, effect, asked, voice)
    return behaviour


def _distort(good: Script, effect: Effect, asked: Asked, voice: Voice) -> Behaviour:
    match effect:
        case Status():
            error = error_script(
                asked,
                voice,
                name=effect.error,
                status=effect.code,
                hint=effect.hint,
            )
            return replace(error, head_after_s=_without_thinking(good, asked, voice))
        case Refuse():
            return effect.refusal
        case Delay() | DripHead() | SlowFirstToken() | TokenGap() | Stall():
            return tempo.changed(good, effect, asked, voice)
        case Slow() | Slices():
            return tempo.changed(good, effect, asked, voice)
        case NoFinish() | Filtered() | HugeToken() | Disorder():
            return bodies.changed(good, effect, asked, voice)
        case Break():
            return _broken(good, effect)
        case ErrorIn200():
            return _with_error_inside(good, effect, asked)
        case RoleOnly():
            steps = good.steps[: preamble_events(asked, voice)]
            is_apt = asked.is_stream
            return _ended(good, steps, effect.ending) if is_apt else good
        case Heartbeats():
            return _heartbeats(good, effect, asked)
        case WrongContentType():
            return _labelled(good, ("content-type", effect.content_type))
        case WrongLength():
            length = max(0, len(good.body) + effect.by)
            headers = (*_unmeasured(good).headers, ("content-length", str(length)))
            return replace(good, headers=headers)
        case InterimHead():
            return replace(good, interim=(*good.interim, effect.status))
        case StrayBytes():
            return replace(good, stray=effect.data)
        case Aftermath():
            return replace(good, aftermath=effect)
        case WrongBody():
            return _wrong(good, effect, asked, voice)
        case _:
            assert_never(effect)


def _without_thinking(good: Script, asked: Asked, voice: Voice) -> float:
    """When a head comes that does not wait for a plain answer's tokens."""
    return good.head_after_s - thinking_s(asked, voice.pace)


def _broken(good: Script, effect: Break) -> Script:
    """Keep the first bytes of the body; what held them together goes."""
    kept: list[Step] = []
    left = effect.at
    for step in good.steps:
        if isinstance(step, Send):
            if left <= 0:
                break
            step = Send(step.data[:left])
            left -= len(step.data)
        kept.append(step)
    while kept and isinstance(kept[-1], Pause):
        kept.pop()
    return _ended(good, kept, effect.ending)


def _ended(good: Script, steps: Sequence[Step], ending: Ending) -> Script:
    """End a body early. Only what breaks off shows how long it should have been."""
    if ending in (Ending.CLEAN, Ending.EOF, Ending.UNTERMINATED):
        good = _unmeasured(good)
    return replace(good, steps=tuple(steps), ending=ending)


def _with_error_inside(good: Script, effect: ErrorIn200, asked: Asked) -> Script:
    if not asked.is_stream:
        error = plain_script(as_json(embedded_error()))
        return replace(error, head_after_s=good.head_after_s)
    kept: list[Step] = []
    events = 0
    for step in good.steps:
        if isinstance(step, Send):
            if events == effect.at:
                break
            events += 1
        kept.append(step)
    return replace(good, steps=(*kept, Send(as_event(embedded_error()))))


def _heartbeats(good: Script, effect: Heartbeats, asked: Asked) -> Script:
    """Send comments in a stream, blank lines before a plain answer; then close."""
    beat = Send(b": keep-alive\n\n" if asked.is_stream else b"\n")
    beats = min(int(HEARTBEATS_LAST_S / effect.every_s), HEARTBEATS_MAX)
    steps = (beat, Pause(effect.every_s)) * max(1, beats)
    head_after_s = good.head_after_s if asked.is_stream else 0.0
    return replace(_ended(good, steps, Ending.EOF), head_after_s=head_after_s)


def _wrong(good: Script, wrong: WrongBody, asked: Asked, voice: Voice) -> Script:
    match wrong:
        case WrongBody.HTML:
            return _instead(good, _PAGE, content_type="text/html; charset=utf-8")
        case WrongBody.MALFORMED_JSON:
            return _with_broken_json(good, asked)
        case WrongBody.MALFORMED_SSE:
            return _with_broken_events(good, asked)
        case WrongBody.EMPTY_STREAM:
            return _ended(good, (), Ending.CLEAN)
        case WrongBody.BROKEN_GZIP:
            return _with_broken_gzip(good)
        case WrongBody.JSON_FOR_STREAM:
            if not asked.is_stream:
                return good
            return _instead(good, completion(asked, voice))
        case WrongBody.STREAM_FOR_JSON:
            if asked.is_stream:
                return good
            stream = good_script(replace(asked, is_stream=True), voice)
            return replace(stream, head_after_s=_without_thinking(good, asked, voice))
        case _:
            assert_never(wrong)


_PAGE: Final = (
    b"<!doctype html>\n<html><head><title>Maintenance</title></head>"
    b"<body><h1>We will be back soon</h1></body></html>\n"
)


def _with_broken_json(good: Script, asked: Asked) -> Script:
    """Break off every JSON text in its middle, but frame it well."""
    if asked.is_stream:
        return replace(good, steps=tuple(map(_with_half_its_json, good.steps)))
    body = good.body
    return _instead(good, body[: len(body) // 2])


def _with_half_its_json(step: Step) -> Step:
    if isinstance(step, Pause):
        return step
    text = step.data.strip()
    return Send(text[: max(len(b"data: {"), len(text) // 2)] + b"\n\n")


def _with_broken_events(good: Script, asked: Asked) -> Script:
    """Send bytes that no parser of events can make a chunk of."""
    if not asked.is_stream:
        return good
    return replace(good, steps=(Send(b"\x00\xff\xfedata {]\r\rdta: {}\n\n"),))


def _with_broken_gzip(good: Script) -> Script:
    """Compress the body, say so, and leave half of it out."""
    packed = gzip.compress(good.body, mtime=0)
    broken = _instead(good, packed[: len(packed) // 2], content_type=_label(good))
    return replace(broken, headers=(*broken.headers, ("content-encoding", "gzip")))


def _instead(
    good: Script, body: bytes, *, content_type: str = "application/json"
) -> Script:
    other = plain_script(body, headers=(("content-type", content_type),))
    return replace(other, head_after_s=good.head_after_s)


def _label(script: Script) -> str:
    return dict(script.headers)["content-type"]


def _labelled(script: Script, label: tuple[str, str]) -> Script:
    rest = (field for field in script.headers if field[0] != "content-type")
    return replace(script, headers=(label, *rest))


def _unmeasured(script: Script) -> Script:
    headers = tuple(field for field in script.headers if field[0] != "content-length")
    return replace(script, headers=headers)
