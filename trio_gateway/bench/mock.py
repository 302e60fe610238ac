"""The upstream of a benchmark: a loop around epoll that says canned words.

It must cost next to nothing beside what is measured, so it knows just enough HTTP to
be asked by honest clients: heads in one piece or more, a `content-length`, no more than
one request at a time. The model in the request chooses the answer:

    instant      a whole answer of 0.6 kB
    status-503   that status, with an error in OpenAI's words
    s50-g10      a stream of 50 chunks with 10 ms between them; s1-g0, s100-g1000, ...

An answer that does not fit into the socket at once ends its connection: nobody here
reads so slowly, and whoever measures counts it as a bad one.
"""

import heapq
import json
import re
import select
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

# What a good answer says once, and each chunk of a stream. Whoever finds it whole has
# lost nothing of it.
ANSWER_TEXT: Final = (
    "A circuit breaker watches the calls to a service and counts those that fail. When "
    "too many did, it opens: further calls fail at once, without being sent. After a "
    "while a single one is let through, and if that goes well the breaker closes."
)
CHUNK_TEXT: Final = " and then it says some more words"

_READ_BYTES: Final = 256 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL: Final = re.compile(rb'"model" *: *"([^"]+)"')
_STREAM: Final = re.compile(rb"s(\d+)-g(\d+)")
_STATUS: Final = re.compile(rb"status-(\d{3})")


class _Connection:
    """A client's connection, and what it is being told."""

    __slots__ = ("fd", "received", "size", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.fd = accepted.fileno()
        self.received = bytearray()
        self.size = 0  # of the whole request; 0 while its head is not there


class Mock:
    """Serves a listening socket for as long as the process lives."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(0.0)  # never waits
        self._listener = listener
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._answers: dict[bytes, bytes] = {b"instant": whole_answer()}
        self._due: list[tuple[float, int, _Connection, Iterator[bytes], float]] = []
        self._order = count()  # ties in time are in the order of their beginning

    def run(self) -> None:
        """Serve for ever."""
        while True:
            timeout_s = -1.0
            if self._due:
                timeout_s = max(0.0, self._due[0][0] - time.monotonic())
            for fd, _ in self._epoll.poll(timeout_s):
                connection = self._connections.get(fd)
                if connection is not None:
                    self._read(connection)
                elif fd == self._listener.fileno():
                    self._accept()
            if self._due:
                self._go_on(time.monotonic())

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            accepted.settimeout(0.0)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(accepted)
            self._connections[connection.fd] = connection
            self._epoll.register(connection.fd, select.EPOLLIN)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        received = connection.received
        received += data
        connection.size = connection.size or _size(received)
        if connection.size and len(received) >= connection.size:
            found = _MODEL.search(received)
            model = found.group(1) if found else b""
            received.clear()
            connection.size = 0
            self._answer(connection, model)

    def _answer(self, connection: _Connection, model: bytes) -> None:
        if answer := self._answers.get(model):
            self._send(connection, answer)
        elif stream := _STREAM.fullmatch(model):
            chunks, gap_ms = int(stream.group(1)), int(stream.group(2))
            pieces = stream_pieces(chunks)
            if gap_ms:
                self._send_next(connection, pieces, time.monotonic(), gap_ms / 1000)
            else:
                all(self._send(connection, piece) for piece in pieces)
        else:
            status = _STATUS.fullmatch(model)
            self._answers[model] = error_answer(int(status.group(1)) if status else 404)
            self._send(connection, self._answers[model])

    def _go_on(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            at, _, connection, pieces, gap_s = heapq.heappop(self._due)
            if self._connections.get(connection.fd) is connection:
                self._send_next(connection, pieces, at, gap_s)

    def _send_next(
        self, connection: _Connection, pieces: Iterator[bytes], at: float, gap_s: float
    ) -> None:
        """Send what is due at an instant; the next is due after the gap, whenever."""
        piece = next(pieces, None)
        if piece is not None and self._send(connection, piece):
            due = (at + gap_s, next(self._order), connection, pieces, gap_s)
            heapq.heappush(self._due, due)

    def _send(self, connection: _Connection, data: bytes) -> bool:
        try:
            is_sent = connection.socket.send(data) == len(data)
        except OSError:  # it has left, or its buffer is full
            is_sent = False
        if not is_sent:
            self._close(connection)
        return is_sent

    def _close(self, connection: _Connection) -> None:
        del self._connections[connection.fd]
        connection.socket.close()


def _size(received: bytearray) -> int:
    """The bytes of a whole request; 0 while its head is not there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = _LENGTH.search(received, 0, end + 2)
    return end + 4 + (int(length.group(1)) if length else 0)


def whole_answer() -> bytes:
    """An answer that is not streamed, head and body."""
    body = _json(
        {
            "id": "chatcmpl-bench-0000000000000000",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "bench-1",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER_TEXT},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 70,
                "completion_tokens": 53,
                "total_tokens": 123,
            },
            "system_fingerprint": "fp_bench",
        }
    )
    return _head("200 OK", f"content-length: {len(body)}") + body


def error_answer(status: int) -> bytes:
    """An error, head and body."""
    # The hint costs its reader what a real one does, and does not hold.
    error = {"message": "Try it elsewhere", "type": "server_error", "code": None}
    body = _json({"error": error})
    fields = f"content-length: {len(body)}\r\nretry-after: 0"
    return _head(f"{status} Bench", fields) + body


def stream_pieces(chunks: int) -> Iterator[bytes]:
    """The pieces that are sent one by one: the last one begins with the last chunk."""
    chunk = _chunk({"content": CHUNK_TEXT}, None)
    head = _head("200 OK", "transfer-encoding: chunked", "text/event-stream")
    end = _chunk({}, "stop") + _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    for number in range(chunks):
        first = head if number == 0 else b""
        last = end if number == chunks - 1 else b""
        yield first + chunk + last


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    event = _json(
        {
            "id": "chatcmpl-bench-0000000000000000",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "bench-1",
            "choices": [
                {
                    "index": 0,
                    "delta": delta,
                    "logprobs": None,
                    "finish_reason": finish_reason,
                }
            ],
        }
    )
    return _framed(b"data: " + event + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(status: str, fields: str, content_type: str = "application/json") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{fields}\r\n\r\n"
    ).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


if __name__ == "__main__":
    # A listening socket is inherited, so that whoever started this knows its port.
    Mock(socket.socket(fileno=int(sys.argv[1]))).run()
