import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from trio_gateway.telemetry.writer import LineWriter

PATIENCE_S = 20.0  # only a broken writer takes longer, on however slow a machine


class Pipe:
    """A pipe whose reader reads when a test says so."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reader: BinaryIO = os.fdopen(reading, "rb", buffering=0)
        self.writer: BinaryIO = os.fdopen(writing, "wb", buffering=0)
        self._read = b""

    def fill(self) -> int:
        """Write until the pipe is full; how many bytes that took."""
        os.set_blocking(self.writer.fileno(), False)
        size = 0
        with suppress(BlockingIOError):
            while True:
                size += os.write(self.writer.fileno(), b"x" * 1024)
        os.set_blocking(self.writer.fileno(), True)
        return size

    def skip(self, size: int) -> None:
        while size:
            self._more()
            taken = min(size, len(self._read))
            self._read, size = self._read[taken:], size - taken

    def lines(self, count: int) -> list[str]:
        while self._read.count(b"\n") < count:
            self._more()
        *lines, self._read = self._read.split(b"\n", count)
        return [line.decode() for line in lines]

    def close(self) -> None:
        self.reader.close()  # first: that wakes a writer that is stuck
        self.writer.close()

    def _more(self) -> None:
        ready, _, _ = select.select([self.reader], [], [], PATIENCE_S)
        assert ready, "nothing more was written"
        self._read += os.read(self.reader.fileno(), 65536)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_lines_come_out_whole_and_in_order(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer)
    written = [f"line {n} " + "x" * (n % 7000) for n in range(0, 20_000, 700)]
    for line in written:
        writer.write(line)

    assert pipe.lines(len(written)) == written
    writer.close(PATIENCE_S)
    assert writer.dropped == 0


def test_a_reader_that_stops_costs_lines_but_never_blocks(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = LineWriter(pipe.writer, lines_max=3)
    for n in range(100_000):
        writer.write(f"line {n}")
    assert writer.dropped == 100_000 - 3

    pipe.skip(filling)
    assert pipe.lines(4) == ["line 0", "line 1", "line 2", "99997 lines dropped"]
    writer.write("and on")
    assert pipe.lines(1) == ["and on"]
    writer.close(PATIENCE_S)
    assert writer.dropped == 100_000 - 3


def test_what_is_held_for_a_slow_reader_is_bounded_in_bytes(pipe: Pipe) -> None:
    filling = pipe.fill()
    writer = LineWriter(pipe.writer, bytes_max=1000, say_dropped="-{}".format)
    writer.write("a" * 899)
    writer.write("b" * 100)
    writer.write("c")  # would fit, but a gap has one place

    pipe.skip(filling)
    assert pipe.lines(2) == ["a" * 899, "-2"]
    writer.close(PATIENCE_S)


def test_every_line_is_either_read_or_counted(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, lines_max=50)
    for n in range(20_000):
        writer.write(f"line {n} " + "x" * 90)
    writer.write("")

    numbers: list[int] = []
    told = 0
    while len(numbers) + told < 20_000:
        (line,) = pipe.lines(1)
        match line.split():
            case ["line", number, _]:
                numbers.append(int(number))
            case [count, "lines", "dropped"]:
                told += int(count)
            case _:
                pytest.fail(f"not a line: {line!r}")
    assert numbers == sorted(set(numbers))
    writer.close(PATIENCE_S)
    assert writer.dropped >= told > 0


def test_closing_flushes(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer)
    for n in range(100):
        writer.write(f"line {n}")
    writer.close(PATIENCE_S)

    pipe.writer.close()
    assert pipe.reader.read() == b"".join(b"line %d\n" % n for n in range(100))


def test_closing_does_not_wait_for_a_reader_that_stopped(pipe: Pipe) -> None:
    pipe.fill()
    writer = LineWriter(pipe.writer)
    for n in range(7):
        writer.write(f"line {n}")
    writer.close(0.01)
    writer.write("too late")
    assert writer.dropped == 8


def test_a_broken_pipe_ends_writing_quietly(pipe: Pipe) -> None:
    pipe.reader.close()
    writer = LineWriter(pipe.writer)
    for n in range(100):
        writer.write(f"line {n}")
    writer.close(PATIENCE_S)
    writer.write("too late")
    assert writer.dropped == 101


def test_where_there_is_no_file_every_line_counts_as_dropped() -> None:
    writer = LineWriter(None)
    writer.write("first")
    writer._thread.join(PATIENCE_S)
    for number in range(100):
        writer.write(str(number))
    assert writer.dropped == 101


def test_a_reader_that_leaves_frees_the_thread_that_was_stuck(pipe: Pipe) -> None:
    pipe.fill()
    writer = LineWriter(pipe.writer)
    writer.write("never read")
    pipe.reader.close()
    writer.close(PATIENCE_S)
    assert writer.dropped == 1


def test_a_full_pipe_that_was_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    filling = pipe.fill()
    os.set_blocking(pipe.writer.fileno(), False)
    writer = LineWriter(pipe.writer)
    writer.write("a line")

    pipe.skip(filling)
    assert pipe.lines(1) == ["a line"]
    writer.close(PATIENCE_S)
    assert writer.dropped == 0


def test_a_full_disk_costs_lines_and_does_not_end_writing() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = LineWriter(full)
        writer.write("one")
        by = time.monotonic() + PATIENCE_S
        while writer.dropped < 1 and time.monotonic() < by:
            select.select([], [], [], 0.001)
        writer.write("two")
        writer.close(PATIENCE_S)
        assert writer.dropped == 2


def test_half_a_line_on_a_full_disk_is_not_joined_to_the_next(tmp_path: Path) -> None:
    # A process of its own, because the limit on a file's size is one on a process.
    log = tmp_path / "log"
    program = (
        "import resource, sys\n"
        "from trio_gateway.telemetry.writer import LineWriter\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6, hard))\n"
        "def say(count):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "    return f'-{count}'\n"
        "writer = LineWriter(open(sys.argv[1], 'wb'), say_dropped=say)\n"
        "writer.write('half a line')\n"
        f"writer.close({PATIENCE_S})\n"
    )
    subprocess.run([sys.executable, "-c", program, log], check=True, timeout=PATIENCE_S)
    assert log.read_text() == "half a\n-1\n"


def test_room_that_was_used_is_free_again(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, lines_max=20, bytes_max=1000)
    for n in range(100):
        writer.write(f"line {n} " + "x" * 90)
        pipe.lines(1)
    writer.close(PATIENCE_S)
    assert writer.dropped == 0


def test_what_cannot_be_encoded_is_written_all_the_same(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer)
    writer.write("\ud800 \N{SNOWMAN}")
    assert pipe.lines(1) == ["\\ud800 \N{SNOWMAN}"]
    writer.close(PATIENCE_S)


def test_a_process_ends_although_nobody_reads_its_lines() -> None:
    # A daemon thread inside sys.stdout's buffer would hold its lock, and the end of the
    # interpreter would be a fatal error.
    program = (
        "import sys\n"
        "from trio_gateway.telemetry.writer import LineWriter\n"
        "writer = LineWriter(sys.stdout)\n"
        "for _ in range(5000): writer.write('x' * 1000)\n"
        "writer.close(0.01)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()
