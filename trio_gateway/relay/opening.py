"""Reading an answer up to its commit point, while everything may still be tried again.

What an answer is, is judged by what it says and not by its label: events labelled
text/plain are a stream, HTML labelled as JSON is not an answer. Nothing read here has
reached the client, so every way to fail is a plain `Failure`.

A stream that was asked for but comes as one whole JSON answer is turned into events:
nothing is lost by that. The reverse would have to merge deltas whose fields we do not
all know, so it fails over instead.
"""

from dataclasses import dataclass
from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.providers.base import Provider
from trio_gateway.relay.passage import Passage
from trio_gateway.relay.port import UpstreamStream
from trio_gateway.wire.chat import (
    ChatRequest,
    EmbeddedError,
    NotAnAnswer,
    WholeAnswer,
    as_events,
    judge_answer,
)
from trio_gateway.wire.encoding import Decoder, EncodingError, decoder_for

# An opening is held until we commit: a role chunk, comments, one token. An upstream
# that needs more than this to say its first word is not speaking chat completions.
OPENING_BYTES_MAX: Final = 64 * 1024
# A whole answer is held until it is parsed. The longest texts are about 1 MiB; images
# and audio in base64 are what needs room.
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
# What an error body needs to say its code and message.
_ERROR_BYTES_MAX: Final = 64 * 1024
# An error's head says enough to move on; its body is not worth more of a client's time.
_ERROR_BODY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """A stream that has begun: its held bytes, and the gate for what follows."""

    held: bytes
    passage: Passage


@dataclass(frozen=True, slots=True)
class ReadyAnswer:
    """An answer that is here in full: a JSON body, or the events made of one."""

    body: bytes


Opening = OpenAnswer | ReadyAnswer


class Body:
    """An upstream's body, without the content encoding that we did not ask for."""

    def __init__(self, stream: UpstreamStream, decoder: Decoder | None) -> None:
        self._stream = stream
        self._decoder = decoder

    async def receive(self) -> bytes | Failure:
        """As `UpstreamStream.receive`, decoded; the end is `b""` here too."""
        while True:
            data = await self._stream.receive()
            if self._decoder is None or isinstance(data, Failure):
                return data
            try:
                if not data:
                    self._decoder.finish()
                    return b""
                decoded = self._decoder.decode(data)
            except EncodingError:
                return Failure(FailureClass.INTERRUPTED, "broken encoding")
            if decoded:
                return decoded


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
    parts: list[bytes] = []
    body = body_of(stream)
    if isinstance(body, Body):
        with trio.move_on_after(_ERROR_BODY_S):
            await _collect(body, parts, bytes_max=_ERROR_BYTES_MAX)
    return provider.read_error(
        stream.status, stream.headers, b"".join(parts), wall_now=wall_now
    )


async def read_opening(
    body: Body, request: ChatRequest, provider: Provider, *, idle_s: float
) -> Opening | Failure:
    """Read until the commit point. The caller's scope holds the hard limit."""
    if not request.is_stream:
        return await _read_whole(body, b"", provider, idle_s=idle_s)
    passage = Passage(choices=request.choices, read_error=provider.read_embedded_error)
    held, held_bytes, start = [], 0, b""
    is_events = False
    while not passage.has_begun:
        data = await body.receive()
        if isinstance(data, Failure):
            return _cut_short(data)
        if not data:
            return Failure(FailureClass.BAD_ANSWER, "no token before its end")
        if not is_events:
            start += data
            match _kind_of(start):
                case "json":
                    return await _read_json_for_events(
                        body, start, provider, idle_s=idle_s
                    )
                case "html":
                    return Failure(FailureClass.BAD_ANSWER, "HTML")
                case "events":
                    is_events, data = True, start
                case _:
                    if len(start) > OPENING_BYTES_MAX:
                        return Failure(FailureClass.BAD_ANSWER, "opening too long")
                    continue
        passing = passage.feed(data)
        if passage.broken:
            return passage.broken
        if passage.is_over and not passage.has_begun:
            return Failure(FailureClass.BAD_ANSWER, "no token before its end")
        held.append(passing)
        held_bytes += len(passing)
        if held_bytes > OPENING_BYTES_MAX and not passage.has_begun:
            return Failure(FailureClass.BAD_ANSWER, "opening too long")
    return OpenAnswer(b"".join(held), passage)


async def _read_json_for_events(
    body: Body, start: bytes, provider: Provider, *, idle_s: float
) -> Opening | Failure:
    ready = await _read_whole(body, start, provider, idle_s=idle_s)
    return ready if isinstance(ready, Failure) else ReadyAnswer(as_events(ready.body))


async def _read_whole(
    body: Body, start: bytes, provider: Provider, *, idle_s: float
) -> ReadyAnswer | Failure:
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
    while True:
        with trio.move_on_after(idle_s) as silence:
            data = await body.receive()
        if silence.cancelled_caught:
            return Failure(FailureClass.TIMEOUT, "idle")
        if isinstance(data, Failure):
            return _cut_short(data)
        if not data:
            return None
        parts.append(data)
        size += len(data)
        if size > bytes_max:
            return Failure(FailureClass.BAD_ANSWER, "answer too long")


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
