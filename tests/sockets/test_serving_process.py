"""A serving process of its own: signals, exit codes, and running out of files."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
import trio

from tests.serving.doors import dial, read
from tests.serving.toy import request
from trio_gateway.serving.process import BindError, listen
from trio_gateway.serving.server import ServerKind

ROOT = Path(__file__).parents[2]

# Real seconds; far beyond what anything here needs.
STUCK_S = 20


class Process:
    """A running `tests.serving.program`."""

    def __init__(self, kind: ServerKind, *arguments: float) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.program", kind, *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.line().rsplit(":", 1)[1])

    def line(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def end(self) -> tuple[int, list[str]]:
        """Wait for it; give its exit code and the lines it still said."""
        said, _ = self._popen.communicate(timeout=STUCK_S)
        return self._popen.returncode, said.splitlines()

    def kill(self) -> None:
        self._popen.kill()
        self._popen.communicate()


Start = Callable[..., Process]


@pytest.fixture(params=get_args(ServerKind))
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    processes: list[Process] = []

    def begin(*arguments: float) -> Process:
        processes.append(Process(request.param, *arguments))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_with_zero(
    number: signal.Signals, start: Start
) -> None:
    process = start(STUCK_S)
    idle = await dial(process.port)
    await idle.send_all(request("/hi"))
    stream = await dial(process.port)
    await stream.send_all(request("/three"))
    assert await stream.receive_some()

    process.signal(number)
    assert process.line() == "start"
    got, end = await read(stream, within_s=STUCK_S)
    assert (got[-5:], end) == (b"0\r\n\r\n", "end")
    assert process.end() == (0, [])
    await idle.aclose()
    await stream.aclose()


async def test_at_the_deadline_open_streams_are_cut_visibly(start: Start) -> None:
    process = start(0.1)
    stream = await dial(process.port)
    await stream.send_all(request("/stream"))
    assert await stream.receive_some()

    process.signal(signal.SIGTERM)
    got, end = await read(stream, within_s=STUCK_S)
    assert not got.endswith(b"0\r\n\r\n")
    assert end in {"end", "reset"}
    code, said = process.end()
    assert code == 0
    assert said == ["start", "drain_deadline connections=1", "deadline"]
    await stream.aclose()


async def test_a_second_signal_ends_at_once_with_one(start: Start) -> None:
    process = start(STUCK_S)
    stream = await dial(process.port)
    await stream.send_all(request("/stream"))
    assert await stream.receive_some()

    process.signal(signal.SIGTERM)
    assert process.line() == "start"
    process.signal(signal.SIGTERM)
    assert process.end() == (1, [])
    await stream.aclose()


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGHUP, "reload_refused reason='nothing to reload'"),
        (signal.SIGUSR2, "roll_refused reason='one process has no workers'"),
    ],
)
async def test_a_signal_that_asks_for_what_is_not_there_is_logged_and_ends_nothing(
    number: signal.Signals, told: str, start: Start
) -> None:
    process = start(STUCK_S)
    process.signal(number)
    assert process.line() == told
    stream = await dial(process.port)
    await stream.send_all(request("/hi", "connection: close"))
    got, _ = await read(stream, within_s=STUCK_S)
    await stream.aclose()
    assert got.endswith(b"hi")
    process.signal(signal.SIGTERM)
    assert process.end() == (0, ["start"])


async def test_out_of_files_it_sheds_does_not_spin_and_recovers(start: Start) -> None:
    """The stock server only pauses: nobody is told, everybody waits."""
    process = start(STUCK_S, 64)
    crowd = [await dial(process.port) for _ in range(70)]
    for stream in crowd:
        await stream.send_all(request("/wait"))

    # The soft limit of 32 was raised, or more than these would have been shed.
    answers = [await read(stream, within_s=0.01) for stream in crowd]
    assert sum(end == "open" for _, end in answers) > 32
    got, _ = await read(crowd[-1], within_s=STUCK_S)
    assert got.startswith(b"HTTP/1.1 503") or got == b""

    # Two whole seconds, of which the second was out of files from its beginning.
    seconds = 0
    while seconds < 2:
        line = process.line()
        assert line.startswith(("accept_failed error=OSError:EMFILE ", "cpu "))
        seconds += line.startswith("cpu ")
    assert float(line.removeprefix("cpu ")) < 0.5

    for stream in crowd:
        await stream.aclose()
    assert await is_served(process.port)


async def is_served(port: int) -> bool:
    """Ask as the 503 says: again, a little later."""
    with trio.move_on_after(STUCK_S):
        while True:
            stream = await dial(port)
            await stream.send_all(request("/hi", "connection: close"))
            got, _ = await read(stream, within_s=STUCK_S)
            await stream.aclose()
            if got.endswith(b"hi"):
                return True
            await trio.sleep(0.1)
    return False


async def test_a_port_in_use_is_a_clear_error() -> None:
    listeners = await listen("127.0.0.1:0")
    assert isinstance(listeners[0], trio.SocketListener)
    port = listeners[0].socket.getsockname()[1]
    with pytest.raises(BindError) as caught:
        await listen(f"127.0.0.1:{port}")
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another port, or 0 for a free one"
    )
    await listeners[0].aclose()


async def test_an_address_of_another_machine_is_a_clear_error() -> None:
    with pytest.raises(BindError, match="choose an address of this machine"):
        await listen("192.0.2.1:0")
