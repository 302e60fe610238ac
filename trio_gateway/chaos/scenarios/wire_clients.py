"""Clients of a simulation in bytes: they ask, read, wait, leave, and ask again.

They do what `crowd` says a client's library does, and write what it would.
"""

import json
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

import httptools
import trio

from trio_gateway.chaos.simulation.crowd import Question
from trio_gateway.chaos.vocabulary.answers import ANSWER_TOKENS_KEY
from trio_gateway.failover.commands import RefusalKind, Refuse

# The simulated gateway's one access key. It opens nothing else.
KEY: Final = "simulated"

_RECEIVE_BYTES: Final = 64 * 1024
_FILLER: Final = "Where is my refund? "


class End(Enum):
    """How one exchange ended, as its client saw it."""

    WHOLE = "whole"
    BROKEN = "broken"
    REFUSED = "refused"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True)
class Answered:
    """One exchange's end, and what the client was told if it was refused."""

    end: End
    refuse: Refuse | None = None
    opened_at: float | None = None  # when the first of a good answer's body was here


class _Reading:
    """One answer as it comes; the callbacks are httptools'."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.tail = b""
        self.is_whole = False
        self.opened_at: float | None = None
        self.parser = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        if self.opened_at is None:
            self.opened_at = trio.current_time()
        self.tail = (self.tail + body)[-_TAIL_BYTES:]

    def on_message_complete(self) -> None:
        self.is_whole = True


# Enough to hold the stream's last event.
_TAIL_BYTES: Final = 64


async def ask(stream: trio.abc.Stream, question: Question, ticket: str) -> Answered:
    """Ask once over a new connection, and read to the end."""
    library = question.crowd.clients.library
    reading = _Reading()
    with trio.CancelScope() as patience:
        if library is not None:
            patience.deadline = trio.current_time() + library.timeout_s
        try:
            await stream.send_all(request_bytes(question, ticket))
            while not reading.is_whole:
                data = await stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    break
                patience.deadline = inf
                reading.parser.feed_data(data)
        except trio.BrokenResourceError:
            pass
    if patience.cancelled_caught:
        return Answered(End.TIMED_OUT)
    return _judged(reading, is_stream=question.crowd.clients.is_stream)


def _judged(reading: _Reading, *, is_stream: bool) -> Answered:
    status = reading.parser.get_status_code() if reading.fields else 0
    if status == 200:
        is_good = reading.is_whole and (not is_stream or b"[DONE]" in reading.tail)
        end = End.WHOLE if is_good else End.BROKEN
        return Answered(end, opened_at=reading.opened_at)
    after = reading.fields.get(b"retry-after")
    refuse = Refuse(
        RefusalKind.UNAVAILABLE,  # which one is the engine's to say
        retry_after_s=None if after is None else float(after),
        is_retry_welcome=reading.fields.get(b"x-should-retry") != b"false",
    )
    return Answered(End.REFUSED, refuse)


def ticket_of(request_id: str) -> str:
    """The ticket that a request's id stands for: ids have no slashes."""
    return request_id.replace(".", "/")


def request_bytes(question: Question, ticket: str) -> bytes:
    """Write a chat completion's request, as a library would."""
    clients = question.crowd.clients
    said: dict[str, object] = {
        "model": clients.slug,
        "stream": clients.is_stream,
        "user": ticket,
        "metadata": {ANSWER_TOKENS_KEY: str(question.tokens)},
    }
    if clients.max_tokens is not None:
        said["max_tokens"] = clients.max_tokens
    said["messages"] = [{"role": "user", "content": ""}]
    filler_bytes = clients.request_bytes - len(json.dumps(said))
    repeated = _FILLER * (1 + max(1, filler_bytes) // len(_FILLER))
    content = repeated[: max(1, filler_bytes)]
    said["messages"] = [{"role": "user", "content": content}]
    body = json.dumps(said).encode()
    fields = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {KEY}",
        f"x-request-id: {ticket.replace('/', '.')}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if clients.library is not None:
        fields += [
            f"x-stainless-retry-count: {question.tries - 1}",
            f"x-stainless-read-timeout: {clients.library.timeout_s:g}",
        ]
    return "\r\n".join((*fields, "", "")).encode() + body
