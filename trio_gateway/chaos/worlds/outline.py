"""One answer by what a driver could tell the engine of it, and nothing more.

The simulator has no bytes: it needs to know when an answer opens, when it ends, and how
it fails. Simulated targets draw their outlines from distributions. A `Script`, made for
sockets and for memory, has an outline too: it is read here by the gateway's own
readers, on a timetable instead of a clock.
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Final

from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitMode, CommitPoint
from trio_gateway.providers.base import Provider
from trio_gateway.relay.passage import Passage
from trio_gateway.wire.answers import EmbeddedError, NotAnAnswer, judge_answer


# Not frozen: that would take four times as long to make, for every attempt.
@dataclass(slots=True)
class Answers:
    """It opens, and then ends: whole, or broken by a failure. Seconds from the dial."""

    opens_s: float
    ends_s: float
    breaks: Failure | None = None


@dataclass(frozen=True, slots=True)
class Fails:
    """It fails before its commit point."""

    failure: Failure
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hangs:
    """Nothing ever comes, or the connection is never made."""

    is_connected: bool = True


Outline = Answers | Fails | Hangs

_NO_TOKEN: Final = Failure(FailureClass.BAD_ANSWER, "no token before its end", 200)


def outline_of(
    behaviour: Behaviour,
    *,
    is_stream: bool,
    provider: Provider,
    commit: CommitPoint,
    idle_s: float,
    wall_now: float,
) -> Outline:
    """Read what is done with a request as the gateway would, without waiting.

    Bodies whose kind is not the one asked for, and encodings, are beyond it:
    `ValueError` for those.
    """
    match behaviour:
        case Refusal.CONNECT_REFUSED:
            return Fails(Failure(FailureClass.CONNECT, "connection refused"))
        case Refusal.NAME_UNKNOWN:
            return Fails(Failure(FailureClass.CONNECT, "name not resolved"))
        case Refusal.CONNECT_HANG:
            return Hangs(is_connected=False)
        case Refusal.CLOSE:
            return Fails(Failure(FailureClass.RESET, "closed without an answer"))
        case Refusal.RESET:
            return Fails(Failure(FailureClass.RESET, "connection reset"))
        case Refusal.SILENCE:
            return Hangs()
        case Script():
            pass
    if not 200 <= behaviour.status < 300:
        return _error(behaviour, provider, wall_now)
    if not is_stream:
        return _whole(behaviour, provider, idle_s)
    return _stream(behaviour, provider, commit, idle_s)


def _error(script: Script, provider: Provider, wall_now: float) -> Outline:
    headers = tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in script.headers
    )
    if any(isinstance(step, Pause) for step in script.steps):
        raise ValueError("an error's body comes at once")
    failure = provider.read_error(
        script.status, headers, script.body, wall_now=wall_now
    )
    return Fails(failure, script.head_after_s)


def _whole(script: Script, provider: Provider, idle_s: float) -> Outline:
    at = script.head_after_s
    for step in script.steps:
        if isinstance(step, Pause):
            if step.seconds > idle_s:
                return Fails(_idle(script), at + idle_s)
            at += step.seconds
    failure = _ending(script)
    if failure is not None:
        is_silent = failure.kind is FailureClass.TIMEOUT
        failure = failure if is_silent else _bad(failure.cause, script)
        return Fails(failure, at + idle_s if is_silent else at)
    match judge_answer(script.body):
        case EmbeddedError(error):
            return Fails(_with_status(provider.read_embedded_error(error), script), at)
        case NotAnAnswer(cause):
            return Fails(_bad(cause, script), at)
        case _:
            return Answers(at, at)


def _stream(
    script: Script, provider: Provider, commit: CommitPoint, idle_s: float
) -> Outline:
    if script.body.lstrip()[:1] in (b"{", b"[", b"<"):
        raise ValueError("a stream is made of events")
    passage = Passage(choices=1, read_error=provider.read_embedded_error)
    at, opens_s = script.head_after_s, inf
    for step in script.steps:
        if isinstance(step, Pause):
            if passage.has_begun and step.seconds > idle_s:
                return _broken(_idle(script), opens_s, at + idle_s)
            at += step.seconds
            continue
        passage.feed(step.data)
        if passage.broken is not None:
            broken = _with_status(passage.broken, script)
            return _broken(broken, opens_s, at)
        if opens_s == inf and _is_enough(passage, commit):
            opens_s = at
        if passage.is_over:
            return Answers(min(opens_s, at), at)
    return _stream_end(script, passage, opens_s, at, idle_s)


def _stream_end(
    script: Script, passage: Passage, opens_s: float, at: float, idle_s: float
) -> Outline:
    if passage.is_whole:
        return Answers(min(opens_s, at), at)
    failure = _ending(script)
    if failure is None:
        cause = "ended unfinished" if passage.has_begun else _NO_TOKEN.cause
        return _broken(_bad(cause, script), opens_s, at)
    if failure.kind is not FailureClass.TIMEOUT:
        return _broken(_bad(failure.cause, script), opens_s, at)
    if not passage.has_begun:
        return Hangs()
    return _broken(failure, opens_s, at + idle_s)


def _broken(failure: Failure, opens_s: float, at: float) -> Outline:
    if opens_s == inf:
        return Fails(failure, at)
    broken = replace(failure, kind=FailureClass.INTERRUPTED, status=None)
    return Answers(opens_s, at, broken)


def _is_enough(passage: Passage, commit: CommitPoint) -> bool:
    match commit.mode:
        case CommitMode.FIRST_TOKEN:
            return passage.has_begun
        case CommitMode.TOKENS:
            return passage.tokens >= commit.tokens or passage.is_whole
        case CommitMode.COMPLETE:
            return passage.is_over


def _ending(script: Script) -> Failure | None:
    declared = script.declared_length
    if declared is not None and declared <= len(script.body):
        return None
    match script.ending:
        case Ending.CLEAN | Ending.EOF if declared is None:
            return None
        case Ending.CLEAN | Ending.EOF | Ending.CUT | Ending.UNTERMINATED:
            return Failure(FailureClass.INTERRUPTED, "body cut")
        case Ending.RESET:
            return Failure(FailureClass.INTERRUPTED, "connection reset")
        case Ending.HANG:
            return _idle(script)


def _idle(script: Script) -> Failure:
    return Failure(FailureClass.TIMEOUT, "idle", script.status)


def _bad(cause: str, script: Script) -> Failure:
    return Failure(FailureClass.BAD_ANSWER, cause, script.status)


def _with_status(failure: Failure, script: Script) -> Failure:
    return replace(failure, status=failure.status or script.status)
