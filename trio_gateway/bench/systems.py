"""Starts what is measured, each in processes of its own, and ends it.

All live as long as the nursery that they were started in. What they print goes to files
in a folder of the run; a system that does not start is told with the end of its file.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import trio

from trio_gateway.bench.client import Sample, Task
from trio_gateway.bench.loads import FAILOVERS, MODELS

KEY: Final = "bench"
PRODUCT: Final = "product"
YARDSTICK: Final = "yardstick"
DIRECT: Final = "direct"

# Starting Python and reading a policy takes a second on a busy machine.
_START_S: Final = 30.0
# What a client may take beyond its seconds: its start, its patience, its checks.
_CLIENT_S: Final = 180.0
# From SIGTERM to SIGKILL: the product tells balancers for a second, then drains.
_END_S: Final = 10.0
# Connections that may wait to be accepted, for sockets that are opened here.
_BACKLOG: Final = 2048
_TAIL_CHARS: Final = 2000


class StartError(Exception):
    """A process that was to be measured did not start, or did not do its part."""


@dataclass(frozen=True, slots=True)
class Cpus:
    """Which CPU is whose: gateways must not compete with those who measure them."""

    gateway: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cpus":
        """One for the gateways where there are at least two."""
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) == 1:
            return cls(frozenset(usable), frozenset(usable))
        return cls(frozenset(usable[:1]), frozenset(usable[1:3]))


@dataclass(frozen=True, slots=True)
class System:
    """Something that can be asked; `pid` where its CPU time can be read."""

    name: str
    host: str
    port: int
    key: str = KEY
    pid: int | None = None
    log: Path | None = None

    @classmethod
    def at(cls, url: str, key: str) -> "System":
        """A gateway that runs already; `http://host:port#PID` says which process it is.

        Raises:
            ValueError: If that is not what the text is.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} is not http://HOST:PORT or http://HOST:PORT#PID")
        pid = int(parts.fragment) if parts.fragment else None
        return cls(parts.netloc, parts.hostname, parts.port, key, pid)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run takes place: its folder, its nursery, its CPUs."""

    folder: Path
    nursery: trio.Nursery
    cpus: Cpus

    async def start_mock(self, port: int = 0) -> System:
        """Start the upstream."""
        with socket.create_server(("127.0.0.1", port), backlog=_BACKLOG) as listener:
            process = await self._start(
                "mock",
                [*_module("mock"), str(listener.fileno())],
                {},
                self.cpus.others,
                listener,
            )
            host, port = listener.getsockname()
        return System(DIRECT, host, port, pid=process.pid)

    async def start_yardstick(self, mock: System) -> System:
        """Start the plain relay."""
        with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
            process = await self._start(
                YARDSTICK,
                [*_module("yardstick"), str(listener.fileno())],
                _variables(mock),
                self.cpus.gateway,
                listener,
            )
            host, port = listener.getsockname()
        return System(YARDSTICK, host, port, pid=process.pid)

    async def start_product(
        self, mock: System, arguments: Sequence[str], *, profile: Path | None = None
    ) -> System:
        """Start `serve` with a real policy, as operators do, and wait until it listens.

        With `profile`, under a profiler that writes there when it ends.

        Raises:
            StartError: If it does not.
        """
        policy = self.folder / "policy.yaml"
        policy.write_text(_policy())
        serve = ["serve", "--policy", str(policy), "--log", "json", *arguments]
        serve += ["--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command = [sys.executable, "-m", "trio_gateway", *serve]
        if profile is not None:
            command = [sys.executable, "-m", "trio_gateway.cli.profiled", str(profile)]
            command += serve
        process = await self._start(
            PRODUCT, command, _variables(mock), self.cpus.gateway
        )
        log = self.folder / f"{PRODUCT}.log"
        address = await _address_in(log, process)
        return System(
            PRODUCT,
            "127.0.0.1",
            int(address.rpartition(":")[2]),
            pid=process.pid,
            log=log,
        )

    async def _start(
        self,
        name: str,
        command: Sequence[str],
        variables: Mapping[str, str],
        cpus: frozenset[int],
        listener: socket.socket | None = None,
    ) -> trio.Process:
        # Appended to, so that it can be emptied while it is written.
        with (self.folder / f"{name}.log").open("ab") as log:
            run = partial(
                trio.run_process,
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **variables},
                pass_fds=() if listener is None else (listener.fileno(),),
                check=False,
                deliver_cancel=end,
            )
            process: trio.Process = await self.nursery.start(run)
        with suppress(ProcessLookupError):  # it could not even start: the log tells
            os.sched_setaffinity(process.pid, cpus)
        return process


async def end(process: trio.Process) -> None:
    """Ask a process to end, and make it."""
    with suppress(OSError):
        process.terminate()
        with trio.move_on_after(_END_S):
            await process.wait()
            return
        process.kill()


async def measure(
    system: System, load: str, *, seconds: float, warm_up_s: float, cpus: Cpus
) -> Sample:
    """Let a client process make one load.

    Raises:
        StartError: If the system cannot be reached, or has ended.
    """
    task = Task(
        load=load,
        host=system.host,
        port=system.port,
        key=system.key,
        pid=system.pid,
        seconds=seconds,
        warm_up_s=warm_up_s,
        cpus=sorted(cpus.others),
    )
    with trio.move_on_after(seconds + warm_up_s + _CLIENT_S):
        done = await trio.run_process(
            _module("client"),
            stdin=json.dumps(asdict(task)).encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode == 0:
            return Sample(**json.loads(done.stdout))
        said = done.stderr.decode(errors="replace")[-_TAIL_CHARS:]
        raise StartError(f"{load} could not be asked of {system.name}:\n{said}")
    raise StartError(f"{load} at {system.name} did not end")


async def _address_in(log: Path, process: trio.Process) -> str:
    """Where the product listens, as its log says."""
    with trio.move_on_after(_START_S):
        while process.returncode is None:
            for line in _said(log).splitlines():
                if '"listening"' in line and line.endswith("}"):
                    return str(json.loads(line)["clients"])
            await trio.sleep(0.02)
    raise StartError(f"the gateway did not start:\n{_said(log)[-_TAIL_CHARS:]}")


def _said(log: Path) -> str:
    return log.read_text(errors="replace")


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"trio_gateway.bench.{name}"]


def _variables(mock: System) -> dict[str, str]:
    url = f"http://{mock.host}:{mock.port}"
    return {"MOCK_URL": url, "MOCK_KEY": "sk-mock", "BENCH_KEY": KEY}


def _policy() -> str:
    """What an operator would write for these models, with nothing tuned.

    What fails first is another provider's, as it would be.
    """
    models = {
        slug: {
            "targets": [
                {"provider": provider, "model": target}
                for provider, target in zip(
                    ("first", "second") if slug in FAILOVERS else ("second",),
                    FAILOVERS.get(slug, (slug,)),
                    strict=True,
                )
            ]
        }
        for slug in MODELS
    }
    provider = {"base_url": "${MOCK_URL}/v1", "api_key": "${MOCK_KEY}"}
    policy = {
        "version": 1,
        "providers": {"first": provider, "second": provider},
        "access_keys": [
            {"name": "bench", "org": "bench", "project": "bench", "key": "${BENCH_KEY}"}
        ],
        "models": models,
    }
    return json.dumps(policy, indent=1)  # which is YAML, too
