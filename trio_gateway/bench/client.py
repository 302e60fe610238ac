"""The clients of a benchmark: one loop around epoll that asks, and checks every answer.

It runs as a process of its own, so that its work is nobody else's. A load begins in
silence and ends in silence: the gateway's CPU time is read before the first request and
after the last answer, so that every answer is counted with all that it took.

Latency is counted from the instant at which a request was due. Where requests come at
a rate, one that had to wait for a late gateway was late all that time.
"""

import json
import math
import os
import re
import select
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Final

from trio_gateway.bench import processes
from trio_gateway.bench.loads import LOADS, Load
from trio_gateway.bench.mock import ANSWER_TEXT, CHUNK_TEXT

# An answer that is not there so long after the last request was due is a bad one.
_PATIENCE_S: Final = 30.0
# After the last answer, for what the gateway does when it is out: its record, its log.
_SETTLE_S: Final = 0.05
# Until many streams are open: the yardstick opens a hundred a second where all is calm.
_OPEN_S: Final = 120.0
# How long they stay open before their memory is measured, and how many of them may be
# waiting for their first chunk while others are being opened: they should not queue.
_HOLD_S: Final = 2.0
_OPENING_MAX: Final = 4

_READ_BYTES: Final = 256 * 1024
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_CODE: Final = re.compile(rb'"code": ?"(\w{1,40})"')  # in an error's body
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Task:
    """What a client process is told to do; `pid` is the gateway's, if it is known."""

    load: str
    host: str
    port: int
    key: str
    pid: int | None
    seconds: float
    warm_up_s: float
    cpus: Sequence[int]  # the client's own


@dataclass(slots=True)
class Sample:
    """What one load has come to."""

    answers: int = 0  # good ones
    bad: dict[str, int] = field(default_factory=dict)  # what was wrong, how often
    seconds: float = 0.0
    cpu_s: float | None = None
    rss_before: int | None = None  # bytes
    rss_after: int | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)  # by quantile

    @property
    def cpu_ms(self) -> float | None:
        """The CPU time of one good answer, in milliseconds."""
        if self.cpu_s is None or not self.answers:
            return None
        return 1000 * self.cpu_s / self.answers


class _Connection:
    """One connection to the gateway, and what it has said of its present answer."""

    __slots__ = ("asked_at", "fd", "received", "size", "socket", "unsent")

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.fd = opened.fileno()
        self.received = bytearray()
        self.asked_at: float | None = None  # None: it is idle
        self.size: int | None = None  # of the whole answer; None: unknown, 0: chunked
        self.unsent: memoryview | None = None


class Client:
    """Makes one load on one gateway."""

    def __init__(self, load: Load, host: str, port: int, key: str) -> None:
        self._load = load
        self._address = (host, port)
        self._request = load.request(f"{host}:{port}", key)
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._busy = 0
        self._latencies_s: list[float] = []
        self._bad: Counter[str] = Counter()

    def measure(self, seconds: float, pid: int | None) -> Sample:
        """Ask for so long, and wait for what is open; `pid` is whose CPU is read."""
        self._latencies_s.clear()
        self._bad.clear()
        before_s = None if pid is None else processes.cpu_s(pid)
        began_at = perf_counter()
        if self._load.rate_hz is None:
            self._ask_in_turn(began_at + seconds)
        else:
            self._ask_at_a_rate(began_at, began_at + seconds, self._load.rate_hz)
        self._await_silence()
        took_s = perf_counter() - began_at
        self._poll(_SETTLE_S)
        cpu_s = None
        if pid is not None and before_s is not None:
            cpu_s = processes.cpu_s(pid) - before_s
        return Sample(
            answers=len(self._latencies_s),
            bad=dict(self._bad),
            seconds=took_s,
            cpu_s=cpu_s,
            latency_ms=_quantiles(self._latencies_s),
        )

    def _ask_in_turn(self, until: float) -> None:
        while (left_s := until - perf_counter()) > 0:
            while self._busy < self._load.concurrency:
                self._ask(perf_counter())
            self._poll(left_s)

    def _ask_at_a_rate(self, since: float, until: float, rate_hz: float) -> None:
        for number in range(int((until - since) * rate_hz)):
            due_at = since + number / rate_hz
            while (left_s := due_at - perf_counter()) > 0:
                self._poll(left_s)
            self._ask(due_at)

    def _await_silence(self) -> None:
        give_up_at = perf_counter() + _PATIENCE_S
        while self._busy and (left_s := give_up_at - perf_counter()) > 0:
            self._poll(left_s)
        for connection in tuple(self._connections.values()):
            if connection.asked_at is not None:
                self._lose(connection, "late")

    def hold(self, pid: int | None) -> Sample:
        """Open all streams and hold them; `pid` is whose memory is measured."""
        wanted = self._load.concurrency
        before = None if pid is None else processes.rss_bytes(pid)
        began_at = perf_counter()
        give_up_at = began_at + _OPEN_S
        asked = 0
        flowing: set[int] = set()
        while perf_counter() < give_up_at:
            opening = asked - len(flowing) - self._bad.total()
            if asked == wanted and not opening:
                break
            is_next = asked < wanted and opening < _OPENING_MAX
            if is_next:
                self._ask(perf_counter())
                asked += 1
            heard = self._poll(0.0 if is_next else 0.05)
            flowing = (flowing | heard) & self._connections.keys()
        held_until = perf_counter() + _HOLD_S
        while (left_s := held_until - perf_counter()) > 0:
            self._poll(left_s)
        after = None if pid is None else processes.rss_bytes(pid)
        good = len(flowing & self._connections.keys())
        silent = wanted - good - self._bad.total()
        if silent:
            self._bad["silent"] += silent
        return Sample(
            answers=good,
            bad=dict(self._bad),
            seconds=perf_counter() - began_at,
            rss_before=before,
            rss_after=after,
        )

    # One connection

    def _ask(self, asked_at: float) -> None:
        connection = self._idle.pop() if self._idle else self._connect()
        connection.asked_at = asked_at
        connection.size = None
        connection.received.clear()
        connection.unsent = memoryview(self._request)
        self._busy += 1
        self._send(connection)

    def _connect(self) -> _Connection:
        opened = socket.create_connection(self._address)
        opened.settimeout(0.0)  # never waits
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(opened)
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLIN)
        return connection

    def _poll(self, timeout_s: float) -> set[int]:
        """Let happen what happens; return the connections on which something did."""
        found = self._epoll.poll(timeout_s)
        for fd, events in found:
            connection = self._connections[fd]
            if connection.unsent is not None and events & select.EPOLLOUT:
                self._send(connection)
            if events & ~select.EPOLLOUT:
                self._receive(connection)
        return {fd for fd, _ in found}

    def _send(self, connection: _Connection) -> None:
        assert connection.unsent is not None
        try:
            sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the answer's end tells
        was_waiting = len(connection.unsent) < len(self._request)
        connection.unsent = connection.unsent[sent:] or None
        if connection.unsent is not None:
            self._epoll.modify(connection.fd, select.EPOLLIN | select.EPOLLOUT)
        elif was_waiting:
            self._epoll.modify(connection.fd, select.EPOLLIN)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(connection, "cut")
            return
        received = connection.received
        received += data
        if connection.size is None:
            connection.size = size_of(received)
        if connection.size is None:
            return
        if connection.size == CHUNKED:
            is_whole = received.endswith(_LAST_CHUNK)
        else:
            is_whole = len(received) >= connection.size
        if is_whole:
            self._answered(connection)

    def _answered(self, connection: _Connection) -> None:
        if connection.asked_at is None:
            self._lose(connection, "unasked")
            self._bad["unasked"] += 1
            return
        answer = bytes(connection.received)
        wrong = what_is_wrong(answer, self._load)
        if wrong is not None:
            self._lose(connection, wrong)
            return
        self._latencies_s.append(perf_counter() - connection.asked_at)
        self._busy -= 1
        connection.asked_at = None
        if _says_goodbye(answer):
            self._forget(connection)
        else:
            self._idle.append(connection)

    def _lose(self, connection: _Connection, why: str) -> None:
        """Close a connection; if an answer was due on it, that was a bad one."""
        if connection.asked_at is not None:
            self._bad[why] += 1
            self._busy -= 1
        else:
            self._idle.remove(connection)
        self._forget(connection)

    def _forget(self, connection: _Connection) -> None:
        del self._connections[connection.fd]
        connection.socket.close()


# --- answers -------------------------------------------------------------------------

# The size of an answer whose end is said by its last chunk.
CHUNKED: Final = 0


def size_of(received: bytes | bytearray) -> int | None:
    """The bytes of a whole answer, `CHUNKED`, or None while its head is not there."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[: end + 2]).lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return CHUNKED
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return end + 4 + (int(rest.partition(b"\r\n")[0]) if found else 0)


def what_is_wrong(answer: bytes, load: Load) -> str | None:
    """Say what is wrong with a whole answer; None if it is what was asked for."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        code = _CODE.search(body)
        told = head[9:12] + (b" " + code.group(1) if code else b"")
        return f"status {told.decode('latin-1')}"
    fields = head.lower()
    if b"\r\ntransfer-encoding: chunked" in fields:
        joined = _joined(body)
        if joined is None:
            return "broken chunks"
        body = joined
    if load.attempts is not None:
        _, is_told, rest = fields.partition(b"\r\nx-gateway-attempts: ")
        if is_told and rest.partition(b"\r\n")[0] != b"%d" % load.attempts:
            return "other attempts"
    if not load.chunks:
        return None if body.count(ANSWER_TEXT.encode()) == 1 else "other words"
    if body.count(CHUNK_TEXT.encode()) != load.chunks:
        return "other chunks"
    return None if body.rstrip().endswith(b"data: [DONE]") else "no [DONE]"


def _joined(body: bytes) -> bytes | None:
    """The content of a chunked body; None if it is not one."""
    parts: list[bytes] = []
    at = 0
    while True:
        line_end = body.find(b"\r\n", at)
        try:
            size = int(body[at:line_end], 16)
        except ValueError:
            return None
        start, at = line_end + 2, line_end + 2 + size + 2
        if body[at - 2 : at] != b"\r\n":
            return None
        if not size:
            return b"".join(parts) if at == len(body) else None
        parts.append(body[start : start + size])


def _says_goodbye(answer: bytes) -> bool:
    head = answer[: answer.find(b"\r\n\r\n") + 2].lower()
    return b"\r\nconnection: close\r\n" in head


def _quantiles(values_s: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values_s)
    return {
        name: 1000 * ordered[math.ceil(share * len(ordered)) - 1]
        for name, share in _QUANTILES.items()
        if ordered
    }


def main() -> None:
    """Read a task from stdin, do it, and write its sample to stdout."""
    task = Task(**json.load(sys.stdin))
    os.sched_setaffinity(0, task.cpus)
    load = LOADS[task.load]
    client = Client(load, task.host, task.port, task.key)
    if load.is_held:
        sample = client.hold(task.pid)
    else:
        client.measure(task.warm_up_s, None)
        sample = client.measure(task.seconds, task.pid)
    json.dump(asdict(sample), sys.stdout)


if __name__ == "__main__":
    main()
