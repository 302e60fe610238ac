"""What is asked of a gateway, how often at once, and what a good answer is.

Everything that a client sends is built here beforehand, so that sending costs nothing.
"""

import json
from dataclasses import dataclass
from typing import Final

# Models of the gateways that have more than one target. All others are the mock's own.
#
# Each request for `failover` must fail once, and only once. A target that says 503 to
# every request could not do that: our breaker would skip it after a few, which is
# measured by `dead-first`. A throttle that is over at once (429, `retry-after: 0`) is
# no such evidence, so that the target is asked first every time, and takes the same
# way: a second attempt elsewhere, on the same connections, with both in the record.
FAILOVERS: Final = {
    "failover": ("status-429", "instant"),
    "dead-first": ("status-503", "instant"),
}

_ORDINARY: Final = (
    {"role": "system", "content": "You are a helpful assistant. Answer briefly."},
    {"role": "user", "content": "What is a circuit breaker, in one sentence?"},
    {"role": "assistant", "content": "It stops asking a service that fails."},
    {"role": "user", "content": "And how does it know when to try again?"},
)
# What people paste into a prompt: lines, quotation marks, words.
_PROSE: Final = 'The operator said: "it was not us".\nNobody believed a word of it.\n\t'
_IMAGE: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9Q"


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request, and how it is made.

    `concurrency` clients each ask anew as soon as they are answered; with a `rate_hz`,
    requests come at their times instead, whether or not others are still open.
    """

    name: str
    model: str
    concurrency: int = 32
    rate_hz: float | None = None
    prompt_bytes: int = 0
    image_bytes: int = 0
    chunks: int = 0  # of a streamed answer; 0: not streamed
    attempts: int | None = None  # what an answer's `x-gateway-attempts` must say
    is_held: bool = False  # opened once, and kept open

    def request(self, host: str, key: str) -> bytes:
        """The bytes of one request."""
        body: dict[str, object] = {
            "model": self.model,
            "messages": self._messages(),
            "temperature": 0.7,
            "max_tokens": 256,
            "user": "a-user-of-some-application",
        }
        if self.chunks:
            body["stream"] = True
        text = json.dumps(body)
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
            f"authorization: Bearer {key}\r\nuser-agent: bench\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
            f"{text}"
        ).encode()

    def _messages(self) -> list[dict[str, object]]:
        if self.image_bytes:
            repeated = _IMAGE * (self.image_bytes // len(_IMAGE) + 1)
            url = "data:image/png;base64," + repeated[: self.image_bytes]
            parts = [
                {"type": "text", "text": "What is in this image?"},
                {"type": "image_url", "image_url": {"url": url}},
            ]
            return [{"role": "user", "content": parts}]
        if self.prompt_bytes:
            repeated = _PROSE * (self.prompt_bytes // len(_PROSE) + 1)
            return [{"role": "user", "content": repeated[: self.prompt_bytes]}]
        return [dict(message) for message in _ORDINARY]


# What two streams of the same kind, one long and one short, differ in.
CHUNKS: Final = 50
# Answers that are open together, and the pause between two of their chunks: what is
# measured is that they are there, not what they say.
OPEN_STREAMS: Final = 1000

_ALL: Final = (
    Load("requests", "instant"),
    Load("alone", "instant", concurrency=1),
    # A quarter of what the yardstick can do on a slow machine: nothing should queue.
    Load("open-loop", "instant", rate_hz=50.0),
    Load("failover", "failover", attempts=2),
    Load("dead-first", "dead-first"),
    Load("prompt-8k", "instant", prompt_bytes=8 * 1024),
    Load("prompt-1m", "instant", concurrency=8, image_bytes=1024 * 1024),
    Load("stream-50-gaps", f"s{CHUNKS}-g10", concurrency=16, chunks=CHUNKS),
    Load("stream-1-gaps", "s1-g10", concurrency=16, chunks=1),
    Load("stream-50-burst", f"s{CHUNKS}-g0", concurrency=16, chunks=CHUNKS),
    Load("stream-1-burst", "s1-g0", concurrency=16, chunks=1),
    Load(
        "open-streams",
        "s1000000-g1000",
        concurrency=OPEN_STREAMS,
        chunks=1_000_000,
        is_held=True,
    ),
)
LOADS: Final = {load.name: load for load in _ALL}
MODELS: Final = tuple(dict.fromkeys(load.model for load in _ALL))
