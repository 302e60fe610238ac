"""Effects on an answer's pace: what comes stays what it is, but later or otherwise."""

from dataclasses import replace
from typing import Final, assert_never

from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    Voice,
    preamble_events,
    thinking_s,
)
from trio_gateway.chaos.vocabulary.effects import (
    Delay,
    DripHead,
    Slices,
    Slow,
    SlowFirstToken,
    Stall,
    TokenGap,
)
from trio_gateway.chaos.vocabulary.script import Pause, Script, Send, Step

TempoEffect = Delay | DripHead | SlowFirstToken | TokenGap | Stall | Slow | Slices

# A body in more pieces than this is a test of patience, not of a parser.
SLICES_MAX: Final = 100_000


def changed(good: Script, effect: TempoEffect, asked: Asked, voice: Voice) -> Script:
    """Make an answer slower, or cut it into other pieces."""
    match effect:
        case Delay(seconds):
            return replace(good, head_after_s=good.head_after_s + seconds)
        case DripHead(seconds):
            later_s = good.head_after_s + seconds
            return replace(good, head_after_s=later_s, head_drips_s=seconds)
        case SlowFirstToken(seconds):
            return _standing_still(good, seconds, 0, asked, voice)
        case Stall(seconds, after_tokens):
            if after_tokens is None:
                after_tokens = _tokens(good, asked, voice) // 2
            return _standing_still(good, seconds, after_tokens, asked, voice)
        case TokenGap(seconds):
            return _at_pace(good, seconds, asked, voice)
        case Slow(factor):
            return _slower(good, factor)
        case Slices(size):
            return _sliced(good, size)
        case _:
            assert_never(effect)


def _standing_still(
    good: Script, seconds: float, after_tokens: int, asked: Asked, voice: Voice
) -> Script:
    """Pause after some tokens. A plain answer has none: its head waits instead."""
    if not asked.is_stream:
        return replace(good, head_after_s=good.head_after_s + seconds)
    place = _place_after(good, preamble_events(asked, voice) + after_tokens)
    return replace(
        good, steps=(*good.steps[:place], Pause(seconds), *good.steps[place:])
    )


def _tokens(good: Script, asked: Asked, voice: Voice) -> int:
    """How many events of a good stream are tokens: not its preamble, nor its tail."""
    sends = sum(isinstance(step, Send) for step in good.steps)
    tail = asked.choices + asked.wants_usage + 1
    return max(0, sends - preamble_events(asked, voice) - tail)


def _place_after(good: Script, events: int) -> int:
    """Find the place right after so many events, or the end."""
    for place, step in enumerate(good.steps):
        if events <= 0:
            return place
        events -= isinstance(step, Send)
    return len(good.steps)


def _at_pace(good: Script, gap_s: float, asked: Asked, voice: Voice) -> Script:
    """Let tokens come at another pace, all but the first."""
    if not asked.is_stream:
        usual_s = thinking_s(asked, voice.pace)
        pace = replace(voice.pace, gap_s=gap_s)
        by_s = thinking_s(asked, pace) - usual_s
        return replace(good, head_after_s=max(0.0, good.head_after_s + by_s))
    first = preamble_events(asked, voice) + 1
    last = preamble_events(asked, voice) + _tokens(good, asked, voice)
    steps: list[Step] = []
    events = 0
    for step in good.steps:
        is_between = first <= events < last
        if isinstance(step, Pause):
            # The usual pause goes; one that another effect made may not, but nobody can
            # tell them apart: `gap` stands before `stall` where both are wanted.
            if not is_between:
                steps.append(step)
            continue
        if is_between:
            steps.append(Pause(gap_s))
        steps.append(step)
        events += 1
    return replace(good, steps=tuple(steps))


def _slower(good: Script, factor: float) -> Script:
    return replace(
        good,
        head_after_s=good.head_after_s * factor,
        head_drips_s=good.head_drips_s * factor,
        steps=tuple(
            Pause(step.seconds * factor) if isinstance(step, Pause) else step
            for step in good.steps
        ),
    )


def _sliced(good: Script, size: int) -> Script:
    """Cut the body into pieces that do not care where a letter or an event ends."""
    size = max(size, len(good.body) // SLICES_MAX)
    steps: list[Step] = []
    for step in good.steps:
        if isinstance(step, Pause):
            steps.append(step)
        else:
            data = step.data
            pieces = range(0, len(data), size)
            steps += [Send(data[start : start + size]) for start in pieces]
    return replace(good, steps=tuple(steps))
