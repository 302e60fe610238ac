"""`trio-gateway serve` as a process of its own: signals, and a log nobody reads."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.chaos.client import Got, Reader
from tests.factories import KEY
from tests.serving.doors import dial
from tests.sockets.gateway import STUCK_S, chat_request, eventually
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.server import serve_provider
from trio_gateway.chaos.vocabulary.answers import DONE, Pace

COMMAND = [sys.executable, "-m", "trio_gateway", "serve"]
ANYWHERE = ["--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"]

POLICY = """
version: 1
gateway: {drain: DRAIN}
providers: {a: {base_url: "http://127.0.0.1:PORT/v1"}}
access_keys: [{name: tester, key: "${TEST_KEY}"}]
models: {chat: {targets: [{provider: a, model: m}]}}
"""

BRIEF = Pace(tokens=10, gap_s=0.05)
LONG = Pace(tokens=35, gap_s=0.05)
ENDLESS = Pace(tokens=5000, gap_s=0.05)


@dataclass
class Served:
    """A gateway in another process."""

    process: trio.Process
    clients: str  # its URLs
    admin: str
    said: list[dict[str, Any]]  # its log so far

    @property
    def port(self) -> int:
        return int(self.clients.rpartition(":")[2])

    async def says(self, event: str, *, words: str = "") -> dict[str, Any]:
        """Wait for a line of its log."""

        def found() -> list[dict[str, Any]]:
            lines = [line for line in self.said if line["event"] == event]
            return [line for line in lines if words in json.dumps(line)]

        assert await eventually(found), self.said
        return found()[0]

    async def ends(self) -> int:
        with trio.fail_after(STUCK_S):
            return await self.process.wait()


async def serve_in_a_process(
    nursery: trio.Nursery,
    folder: Path,
    *,
    pace: Pace = LONG,
    drain: str = "20s",
    seen: list[SeenRequest] | None = None,
    options: Sequence[str] = (),
) -> Served:
    policy = await a_policy_file(nursery, folder, pace=pace, drain=drain, seen=seen)
    command = [*COMMAND, "--policy", str(policy), *ANYWHERE, *options]
    process = await start(nursery, command)
    said: list[dict[str, Any]] = []
    served = Served(process, "", "", said)
    assert process.stdout is not None
    nursery.start_soon(_read_log, process.stdout, said)
    listening = await served.says("listening")
    served.clients, served.admin = listening["clients"], listening["admin"]
    return served


async def a_policy_file(
    nursery: trio.Nursery,
    folder: Path,
    *,
    pace: Pace = LONG,
    drain: str = "20s",
    seen: list[SeenRequest] | None = None,
) -> Path:
    """Start a provider, and write a policy that leads to it."""
    on_request = None if seen is None else seen.append
    port = await nursery.start(
        partial(serve_provider, port=0, pace=pace, on_request=on_request)
    )
    policy = folder / "policy.yaml"
    policy.write_text(POLICY.replace("PORT", str(port)).replace("DRAIN", drain))
    return policy


async def start(
    nursery: trio.Nursery, command: list[str], *, stdout: int = subprocess.PIPE
) -> trio.Process:
    async def kill(process: trio.Process) -> None:
        process.kill()

    process = await nursery.start(
        partial(
            trio.run_process,
            command,
            stdout=stdout,
            env={**os.environ, "TEST_KEY": KEY},
            check=False,
            deliver_cancel=kill,
        )
    )
    assert isinstance(process, trio.Process)
    return process


async def _read_log(stream: trio.abc.ReceiveStream, said: list[dict[str, Any]]) -> None:
    held = b""
    async for data in stream:
        *lines, held = (held + data).split(b"\n")
        said.extend(map(json.loads, lines))


async def a_stream(port: int) -> trio.SocketStream:
    """Ask for a stream, and wait until it flows."""
    stream = await dial(port)
    await stream.send_all(chat_request(stream=True))
    with trio.fail_after(STUCK_S):
        await trio.lowlevel.wait_readable(stream.socket)
    return stream


async def read(stream: trio.SocketStream) -> Got:
    with trio.fail_after(STUCK_S):
        got = await Reader(stream).read()
    await stream.aclose()
    return got


async def status_of(client: httpx.AsyncClient, url: str) -> int | None:
    """The status of a health check; None where nobody listens any more."""
    try:
        return (await client.get(url, headers={"connection": "close"})).status_code
    except httpx.TransportError:
        return None


async def test_sigterm_says_not_ready_first_and_lets_a_stream_finish(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path)
    stream = await a_stream(served.port)
    statuses: list[int | None] = []

    async with httpx.AsyncClient(trust_env=False) as client:
        assert await status_of(client, f"{served.admin}/readyz") == 200
        served.process.send_signal(signal.SIGTERM)
        while not statuses or statuses[-1]:
            statuses.append(await status_of(client, f"{served.admin}/readyz"))
            await trio.sleep(0.02)
    got = await read(stream)

    assert list(dict.fromkeys(statuses)) in ([200, 503, None], [503, None])
    assert got.ending == "whole"
    assert got.body.endswith(DONE)
    assert await served.ends() == 0
    assert (await served.says("exchange"))["outcome"] == "completed"


async def test_a_stream_longer_than_the_drain_ends_visibly_broken(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    seen: list[SeenRequest] = []
    served = await serve_in_a_process(
        nursery, tmp_path, pace=ENDLESS, drain="200ms", seen=seen
    )
    stream = await a_stream(served.port)

    served.process.send_signal(signal.SIGTERM)
    got = await read(stream)

    assert got.ending in {"cut", "reset"}
    assert b'"code": "stream_interrupted"' in got.body.split(b"\n\n")[-2]
    assert DONE not in got.body
    assert await served.ends() == 0
    assert (await served.says("exchange"))["outcome"] == "interrupted"
    assert await eventually(lambda: seen)
    assert seen[0].ending is RequestEnding.CLIENT_LEFT


async def test_the_time_in_which_it_stands_still_takes_nothing_from_a_limit(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path, pace=LONG, drain="2500ms")
    stream = await a_stream(served.port)

    served.process.send_signal(signal.SIGTERM)
    await served.says("draining")
    served.process.send_signal(signal.SIGSTOP)
    await trio.sleep(3.5)
    served.process.send_signal(signal.SIGCONT)
    got = await read(stream)

    assert got.ending == "whole"
    assert await served.ends() == 0
    halted = await served.says("log", words="stood still")
    assert halted["level"] == "warning"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(
    number: signal.Signals, nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path, pace=ENDLESS)
    stream = await a_stream(served.port)

    served.process.send_signal(number)
    await served.says("draining")
    served.process.send_signal(number)

    assert await served.ends() == 1
    assert (await read(stream)).ending in {"cut", "reset"}


async def test_sighup_reads_the_policy_again_and_ends_nothing(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path, pace=BRIEF)
    stream = await a_stream(served.port)

    served.process.send_signal(signal.SIGHUP)

    await served.says("policy_unchanged")
    assert (await read(stream)).ending == "whole"
    assert (await read(await a_stream(served.port))).ending == "whole"
    assert served.process.poll() is None


async def test_a_saved_policy_is_taken_over_and_a_wrong_one_is_not(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path, pace=BRIEF)
    path = tmp_path / "policy.yaml"
    stream = await a_stream(served.port)

    new = tmp_path / "new"
    new.write_text(path.read_text().replace("model: m}", "model: m2}"))
    new.rename(path)
    line = await served.says("policy_reloaded")
    assert line["changes"] == "model chat: targets: a/m -> a/m2"
    path.write_text("version: 1\nmodels: [")
    line = await served.says("policy_refused")
    assert f"{path}:2:10: " in line["report"]

    assert (await read(stream)).ending == "whole"
    assert (await read(await a_stream(served.port))).ending == "whole"
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{served.admin}/readyz")).status_code == 200
        told = (await client.get(f"{served.admin}/admin/policy")).json()
    assert (told["revision"], told["files_refused"]) == (2, True)
    assert told["last_refusal"]["report"] == [line["report"]]


async def test_the_drain_of_the_policy_that_holds_is_the_one_that_counts(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    served = await serve_in_a_process(nursery, tmp_path, pace=ENDLESS, drain="1h")
    stream = await a_stream(served.port)
    path = tmp_path / "policy.yaml"
    path.write_text(path.read_text().replace("drain: 1h", "drain: 200ms"))
    await served.says("policy_reloaded", words="gateway: drain: 3600s -> 0.2s")

    served.process.send_signal(signal.SIGTERM)

    assert await served.ends() == 0
    assert (await read(stream)).ending != "whole"


async def test_a_log_that_nobody_reads_stops_nothing(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    policy = await a_policy_file(nursery, tmp_path, pace=Pace(tokens=1))
    port = 0
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)  # one page: a few lines fill it
    command = [*COMMAND, "--policy", str(policy), "--admin", "off"]
    process = await start(nursery, [*command, "--bind", "127.0.0.1:0"], stdout=theirs)
    os.close(theirs)
    async with trio.lowlevel.FdStream(ours) as log:
        line = await log.receive_some()
        port = int(json.loads(line)["clients"].rpartition(":")[2])

        stream = await dial(port)
        reader = Reader(stream)
        for _ in range(50):
            await stream.send_all(chat_request(stream=False))
            with trio.fail_after(STUCK_S):
                assert (await reader.read()).status == 200
        await stream.aclose()

        process.send_signal(signal.SIGTERM)
        with trio.fail_after(STUCK_S):
            assert await process.wait() == 0
