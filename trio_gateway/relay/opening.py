"""Reading an answer up to its commit point, while everything may still be tried again.

What an answer is, is judged by what it says and not by its label: events labelled
text/plain are a stream, HTML labelled as JSON is not an answer. Nothing read here has
reached the client, so every way to fail is a plain `Failure`.

A stream that was asked for but comes as one whole JSON answer is turned into events:
nothing is lost by that. The reverse would have to merge deltas whose fields we do not
all know, so it fails over instead.
"""

import re
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass, UpstreamError
from trio_gateway.policy.route import Account, CommitMode, CommitPoint
from trio_gateway.providers.base import Provider
from trio_gateway.relay.passage import Passage
from trio_gateway.relay.port import UpstreamStream
from trio_gateway.wire.answers import (
    EmbeddedError,
    NotAnAnswer,
    WholeAnswer,
    as_events,
    judge_answer,
)
from trio_gateway.wire.chat import ChatRequest
from trio_gateway.wire.encoding import Decoder, EncodingError, decoder_for

# An opening is held until we commit: a role chunk, comments, one token. An upstream
# that needs more than this to say its first word is not speaking chat completions.
OPENING_BYTES_MAX: Final = 64 * 1024
# A whole answer is held until it is parsed. The longest texts are about 1 MiB; images
# and audio in base64 are what needs room.
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
# After the last word, usage and [DONE] follow at once, or never.
_TRAILER_S: Final = 1.0
# What an error body needs to say its code and message.
_ERROR_BYTES_MAX: Final = 64 * 1024
# An error's head says enough to move on; its body is not worth more of a client's time.
_ERROR_BODY_S: Final = 1.0
# A shorter value of an operator's own header field is a word, and no credential.
_SECRET_CHARS_MIN: Final = 12


@dataclass(slots=True)
class OpenAnswer:
    """A stream that has begun: its held bytes, and the gate for what follows."""

    held: bytes
    passage: Passage

    def take_held(self) -> bytes:
        """Take what is held, so that it is not kept for as long as the stream is."""
        held, self.held = self.held, b""
        return held


@dataclass(frozen=True, slots=True)
class ReadyAnswer:
    """An answer that is here in full: a JSON body, or the events made of one."""

    body: bytes


Opening = OpenAnswer | ReadyAnswer


class Body:
    """An upstream's body, without the content encoding that we did not ask for."""

    __slots__ = ("_decoder", "_stream", "bytes_in")

    def __init__(self, stream: UpstreamStream, decoder: Decoder | None) -> None:
        self._stream = stream
        self._decoder = decoder
        self.bytes_in = 0  # as they came

    def take_rest(self) -> bytes | None:
        """As `UpstreamStream.take_rest`; not of what must be decoded."""
        rest = self._stream.take_rest() if self._decoder is None else None
        if rest is not None:
            self.bytes_in += len(rest)
        return rest

    async def receive(self) -> bytes | Failure:
        """As `UpstreamStream.receive`, decoded; the end is `b""` here too."""
        decoder = self._decoder
        while True:
            try:
                if decoder is not None and decoder.has_more:
                    await trio.lowlevel.checkpoint()  # for the others, as a read is
                    if decoded := decoder.decode(b""):
                        return decoded
                    continue
                data = await self._stream.receive()
                if isinstance(data, Failure):
                    return data
                self.bytes_in += len(data)
                if decoder is None:
                    return data
                if not data:
                    decoder.finish()
                    return b""
                if decoded := decoder.decode(data):
                    return decoded
            except EncodingError:
                return Failure(FailureClass.INTERRUPTED, "broken encoding")


def body_of(stream: UpstreamStream) -> Body | Failure:
    """The readable body of an answer; a failure where its encoding is unknown."""
    try:
        return Body(stream, decoder_for(stream.headers))
    except EncodingError:
        return Failure(FailureClass.BAD_ANSWER, "unknown encoding", stream.status)


async def read_error(
    stream: UpstreamStream, provider: Provider, *, wall_now: float
) -> Failure:
    """Read as much of an error answer as says what it means."""
    body = body_of(stream)
    said = b"" if isinstance(body, Failure) else body.take_rest()
    if said is None:
        assert isinstance(body, Body)
        parts: list[bytes] = []
        with trio.move_on_after(_ERROR_BODY_S):
            await _collect(body, parts, bytes_max=_ERROR_BYTES_MAX)
        said = b"".join(parts)
    return provider.read_error(stream.status, stream.headers, said, wall_now=wall_now)


def without_secrets(failure: Failure, account: Account) -> Failure:
    """The failure, where the upstream's words do not repeat what we sent to it.

    They may reach the client, who must not see our credential there. A short one, as
    servers that want none are often given ("x", "none"), is removed as a word of its
    own alone: taken out of all words, it would leave no code readable.
    """
    said = failure.said
    if said is None:
        return failure
    secrets = [value for _, value in account.headers if len(value) >= _SECRET_CHARS_MIN]
    if account.api_key is not None and account.api_key.reveal:
        secrets.append(account.api_key.reveal)
    words = f"{said.message}\n{said.code}\n{said.type}\n{said.param}"
    if not any(secret in words for secret in secrets):
        return failure

    def clean(word: str) -> str:
        for secret in secrets:
            pattern = re.escape(secret)
            if len(secret) < _SECRET_CHARS_MIN:
                pattern = rf"(?<!\w){pattern}(?!\w)"
            word = re.sub(pattern, "[removed]", word)
        return word

    told = UpstreamError(
        message=clean(said.message),
        code=clean(said.code) if isinstance(said.code, str) else said.code,
        type=said.type and clean(said.type),
        param=said.param and clean(said.param),
    )
    return replace(failure, said=told)


async def read_opening(
    body: Body,
    request: ChatRequest,
    provider: Provider,
    commit: CommitPoint,
    *,
    idle_s: float,
) -> Opening | Failure:
    """Read until the commit point. The hard limit ends the body, by its leash.

    What is held may be broken off and tried elsewhere; so may a token that came with
    the break in one piece.
    """
    if not request.is_stream:
        return await _read_whole(body, b"", provider, idle_s=idle_s)
    start = await _read_start(body)
    if isinstance(start, Failure):
        return start
    match _kind_of(start):
        case "json":
            return await _read_json_for_events(body, start, provider, idle_s=idle_s)
        case "html":
            return Failure(FailureClass.BAD_ANSWER, "HTML")
        case _:
            passage = Passage(
                choices=request.choices, read_error=provider.read_embedded_error
            )
            return await _read_events(body, start, passage, commit, idle_s=idle_s)


async def _read_start(body: Body) -> bytes | Failure:
    """Read until there is something to judge the body by."""
    start = b""
    while _kind_of(start) is None:
        data = await body.receive()
        if isinstance(data, Failure):
            return _cut_short(data)
        if not data:
            return Failure(FailureClass.BAD_ANSWER, "no token before its end")
        start += data
        if len(start) > OPENING_BYTES_MAX:
            return Failure(FailureClass.BAD_ANSWER, "opening too long")
    return start


async def _read_events(
    body: Body, start: bytes, passage: Passage, commit: CommitPoint, *, idle_s: float
) -> OpenAnswer | Failure:
    held = [passage.feed(start)]
    held_bytes = len(held[0])
    while not (passage.broken or _is_enough(passage, commit, held_bytes)):
        if held_bytes > (OPENING_BYTES_MAX, ANSWER_BYTES_MAX)[passage.has_begun]:
            return Failure(FailureClass.BAD_ANSWER, "opening too long")
        patience_s = idle_s if passage.has_begun else inf
        with trio.move_on_after(_TRAILER_S if passage.is_whole else patience_s) as wait:
            data = await body.receive()
        if wait.cancelled_caught:
            data = Failure(FailureClass.TIMEOUT, "idle")
        if isinstance(data, Failure) or not data:
            if passage.is_whole:
                passage.is_over = True  # what might have followed is no text
                if isinstance(data, Failure):
                    passage.end_early(data.cause)
                break
            if isinstance(data, Failure):
                return data if wait.cancelled_caught else _cut_short(data)
            cause = (
                "ended unfinished" if passage.has_begun else "no token before its end"
            )
            return Failure(FailureClass.BAD_ANSWER, cause)
        held.append(passage.feed(data))
        held_bytes += len(held[-1])
    if passage.broken:
        return passage.broken
    if not passage.has_begun:
        return Failure(FailureClass.BAD_ANSWER, "no token before its end")
    return OpenAnswer(b"".join(held), passage)


def _is_enough(passage: Passage, commit: CommitPoint, held_bytes: int) -> bool:
    """Whether the policy lets the client have what is held."""
    if passage.is_over:
        return True
    match commit.mode:
        case CommitMode.FIRST_TOKEN:
            return passage.has_begun
        case CommitMode.TOKENS:
            is_much = passage.has_begun and held_bytes > OPENING_BYTES_MAX
            return passage.tokens >= commit.tokens or passage.is_whole or is_much
        case CommitMode.COMPLETE:
            return False


async def _read_json_for_events(
    body: Body, start: bytes, provider: Provider, *, idle_s: float
) -> Opening | Failure:
    ready = await _read_whole(body, start, provider, idle_s=idle_s)
    return ready if isinstance(ready, Failure) else ReadyAnswer(as_events(ready.body))


async def _read_whole(
    body: Body, start: bytes, provider: Provider, *, idle_s: float
) -> ReadyAnswer | Failure:
    rest = body.take_rest()
    if rest is not None:
        whole = start + rest
    else:
        parts = [start]
        failure = await _collect(body, parts, bytes_max=ANSWER_BYTES_MAX, idle_s=idle_s)
        if failure is not None:
            return failure
        whole = b"".join(parts)
    match judge_answer(whole):
        case WholeAnswer():
            return ReadyAnswer(whole)
        case EmbeddedError(error):
            return provider.read_embedded_error(error)
        case NotAnAnswer(cause):
            return Failure(FailureClass.BAD_ANSWER, cause)


async def _collect(
    body: Body, parts: list[bytes], *, bytes_max: int, idle_s: float = float("inf")
) -> Failure | None:
    """Append to `parts` until the body's end; a silence or too many bytes fail."""
    size = sum(map(len, parts))
    with trio.CancelScope() as silence:
        while True:
            silence.deadline = trio.current_time() + idle_s
            data = await body.receive()
            if isinstance(data, Failure):
                return _cut_short(data)
            if not data:
                return None
            parts.append(data)
            size += len(data)
            if size > bytes_max:
                return Failure(FailureClass.BAD_ANSWER, "answer too long")
    return Failure(FailureClass.TIMEOUT, "idle")


def _cut_short(failure: Failure) -> Failure:
    """A break before the commit point is a bad answer: it may be tried elsewhere."""
    return Failure(FailureClass.BAD_ANSWER, failure.cause, failure.status)


def _kind_of(start: bytes) -> str | None:
    """Judge a body by its first visible byte; None while there is none."""
    visible = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not visible:
        return None
    return {b"{": "json", b"[": "json", b"<": "html"}.get(visible[:1], "events")


def is_success(stream: UpstreamStream) -> bool:
    """Whether the head promises an answer."""
    return 200 <= stream.status < 300
