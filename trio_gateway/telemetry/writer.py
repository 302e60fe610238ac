"""Lines out of the process, by a thread of their own, so that nobody waits for them.

A pipe whose reader stops blocks whoever writes to it. Here that is one daemon thread:
`LineWriter.write` only puts a line into a bounded queue, and what does not fit is
counted and dropped. It knows neither Trio nor what the lines say.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

# Some seconds of lines at full load, so that a reader may pause to rotate its files.
LINES_MAX: Final = 10_000
BYTES_MAX: Final = 4 * 1024 * 1024

# POSIX promises that a write to a pipe of up to PIPE_BUF bytes (4096 on Linux) is not
# mixed with other writers' bytes. Workers share one stdout, so whole lines go out in
# pieces of at most that; only a line longer than that could be mixed.
CHUNK_BYTES_MAX: Final = select.PIPE_BUF

# After a write the thread rests, so that a busy process pays for one wake-up and one
# write for many lines. No person and no collector notices so short a delay.
GATHER_S: Final = 0.02


class OpenFile(Protocol):
    """Anything with a file descriptor: `sys.stdout`, an open file, a pipe."""

    def fileno(self) -> int:
        """The descriptor."""


def dropped_text(count: int) -> str:
    """What is written in the place of lines that were dropped."""
    return f"{count} lines dropped"


class LineWriter:
    """Writes lines to a file, and would rather lose some than make anyone wait.

    It writes to the descriptor beneath the file and past the file's own buffer: flush
    that first, and keep the file open until `close` has returned. (A thread that is
    stuck inside a buffered file holds the file's lock, and with it the end of the
    process.) `write` may be called from any thread.
    """

    def __init__(
        self,
        file: OpenFile | None,
        *,
        say_dropped: Callable[[int], str] = dropped_text,
        lines_max: int = LINES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._file = file
        self._say_dropped = say_dropped
        self._lines_max = lines_max
        self._bytes_max = bytes_max

        self._changed = threading.Condition()  # guards everything down to the gap
        self._queue: deque[bytes] = deque()
        self._held_lines = 0  # queued or being written
        self._held_bytes = 0
        self._gap = 0  # lines dropped that the thread has not yet told of
        self._dropped = 0
        self._is_closing = False
        self._is_waiting = False  # the thread, for something to write
        self._is_ended = False

        self._closing = threading.Event()
        self._is_torn = False  # the thread's own: the file ends in half a line
        self._thread = threading.Thread(
            target=self._write_all, name="line-writer", daemon=True
        )
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were not written, and will not be."""
        return self._dropped

    def write(self, line: str) -> None:
        """Queue one line, given without its newline; never blocks, never raises."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            if self._is_closing or self._is_ended:
                self._dropped += 1
                return
            is_room = (
                self._held_lines < self._lines_max
                and self._held_bytes + len(data) <= self._bytes_max
            )
            # Once a line is dropped, all are until the thread has told of the gap. So
            # the gap has one place, after all that was queued, and gaps are few.
            if self._gap or not is_room:
                self._dropped += 1
                self._gap += 1
                return
            self._queue.append(data)
            self._held_lines += 1
            self._held_bytes += len(data)
            if self._is_waiting:
                self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s`; drop the rest. Blocks."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._closing.set()
        self._thread.join(timeout_s)
        with self._changed:
            self._end()

    # The thread.

    def _write_all(self) -> None:
        while not self._is_ended:
            lines, gap = self._take()
            if gap:
                self._write_chunk(self._say_dropped(gap).encode() + b"\n", 0)
            elif not lines:
                return
            for chunk, count in _chunks(lines):
                self._write_chunk(chunk, count)
                if self._is_ended:
                    return
            self._closing.wait(GATHER_S)

    def _take(self) -> tuple[list[bytes], int]:
        """Wait for lines, else for a gap to tell of; nothing of either is the end."""
        with self._changed:
            while not (self._queue or self._gap or self._is_closing):
                self._is_waiting = True
                self._changed.wait()
                self._is_waiting = False
            if self._queue:
                lines = list(self._queue)
                self._queue.clear()
                return lines, 0
            gap, self._gap = self._gap, 0
            return [], gap

    def _write_chunk(self, chunk: bytes, count: int) -> None:
        """Write whole lines, or count them as dropped."""
        data = b"\n" + chunk if self._is_torn else chunk
        rest = memoryview(data)
        error: OSError | None = None
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
            self._is_torn = False
        except OSError as raised:
            error = raised
            self._is_torn = self._is_torn or len(rest) < len(data)
        with self._changed:
            if self._is_ended:  # closed meanwhile, which has counted these lines
                return
            if count:
                self._held_lines -= count
                self._held_bytes -= len(chunk)
            if error is not None:
                self._dropped += count
                self._gap += count
            if isinstance(error, BrokenPipeError):
                self._end()  # nobody will read it again; a full disk may get room

    def _write_some(self, data: memoryview) -> int:
        if self._file is None:  # as stdout is where a process was started without it
            raise BrokenPipeError
        try:
            return os.write(self._file.fileno(), data)
        except BlockingIOError:
            # Another process that shares this file has made it non-blocking.
            ready = select.poll()
            ready.register(self._file.fileno(), select.POLLOUT)
            ready.poll()
            return 0

    def _end(self) -> None:
        """Stop writing; what is held is lost. The caller has the lock."""
        self._is_ended = True
        self._queue.clear()
        self._dropped += self._held_lines
        self._held_lines = self._held_bytes = 0


def _chunks(lines: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Join lines up to `CHUNK_BYTES_MAX`; each chunk with the number of its lines."""
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > CHUNK_BYTES_MAX:
            yield b"".join(chunk), len(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield b"".join(chunk), len(chunk)
