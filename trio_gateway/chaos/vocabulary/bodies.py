"""Effects on what a stream says: events too many, too few, or too large.

They make the stream anew, from its events: what an earlier effect did to its head and
its pace stays, what it did to its events goes.
"""

from dataclasses import replace
from typing import assert_never

from trio_gateway.chaos.vocabulary.answers import (
    DONE,
    Asked,
    Events,
    Voice,
    completion,
    plain_script,
    stream_events,
    stream_script,
)
from trio_gateway.chaos.vocabulary.effects import (
    Disorder,
    Filtered,
    HugeToken,
    NoFinish,
)
from trio_gateway.chaos.vocabulary.script import Script

BodyEffect = NoFinish | Filtered | HugeToken | Disorder


def changed(good: Script, effect: BodyEffect, asked: Asked, voice: Voice) -> Script:
    """Say something else than what was asked for."""
    if not asked.is_stream:
        return _plain(good, effect, asked, voice)
    whole = stream_events(asked, voice)
    match effect:
        case NoFinish(says_done):
            done = whole.done if says_done else ()
            events = replace(whole, finishes=(), usage=(), done=done)
        case Filtered(after_tokens):
            events = _filtered(whole, after_tokens)
        case HugeToken(size):
            events = _with_huge_token(whole, size)
        case Disorder.DUPLICATE_EVENTS:
            twice = tuple(event for event in whole.tokens for _ in range(2))
            events = replace(whole, tokens=twice)
        case Disorder.DONE_TWICE:
            events = replace(whole, done=(DONE, DONE))
        case Disorder.EVENTS_AFTER_DONE:
            events = replace(whole, done=(DONE, whole.tokens[-1]))
        case Disorder.NO_DONE:
            events = replace(whole, done=())
        case _:
            assert_never(effect)
    return replace(good, steps=stream_script(events, voice.pace).steps)


_CONTENT = b'"content":"'


def _filtered(whole: Events, after_tokens: int) -> Events:
    """End every choice early, for a reason that is not the model's."""
    ends = tuple(
        event.replace(b'"finish_reason":"stop"', _BY_FILTER).replace(
            b'"finish_reason":"length"', _BY_FILTER
        )
        for event in whole.finishes
    )
    kept = whole.tokens[: after_tokens * len(whole.finishes)]
    return replace(whole, tokens=kept, finishes=ends)


_BY_FILTER = b'"finish_reason":"content_filter"'


def _with_huge_token(whole: Events, size: int) -> Events:
    """Let one of the tokens, in the middle, be as long as a book."""
    place = len(whole.tokens) // 2
    before, huge, after = (
        whole.tokens[:place],
        whole.tokens[place],
        whole.tokens[place + 1 :],
    )
    return replace(whole, tokens=(*before, _swollen(huge, size), *after))


def _swollen(text: bytes, size: int) -> bytes:
    return text.replace(_CONTENT, _CONTENT + b"x" * size, 1)


def _plain(good: Script, effect: BodyEffect, asked: Asked, voice: Voice) -> Script:
    """Do to a whole answer what can be done to it."""
    body = completion(asked, voice)
    match effect:
        case HugeToken(size):
            body = _swollen(body, size)
        case Filtered(after_tokens):
            shorter = replace(voice.pace, tokens=max(1, after_tokens))
            short = replace(voice, pace=shorter)
            body = completion(asked, short)
            body = body.replace(b'"finish_reason":"stop"', _BY_FILTER)
        case NoFinish() | Disorder():
            return good
        case _:
            assert_never(effect)
    return replace(plain_script(body), head_after_s=good.head_after_s)
