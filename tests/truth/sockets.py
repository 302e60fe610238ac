"""One scenario on real sockets: gateway and providers as processes of their own.

All of them end with the nursery that they were started in, on every path.
"""

import json
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from tests.truth.load import Load
from trio_gateway.bench.processes import cpu_s
from trio_gateway.bench.systems import end
from trio_gateway.chaos.scenarios.load import Scenario
from trio_gateway.chaos.scenarios.policies import read_policy_document
from trio_gateway.chaos.scenarios.wire_clients import KEY
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.simulation.tally import RouteTally
from trio_gateway.relay.record import Shed

# Starting Python and reading a policy takes a second on a busy machine.
_START_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.003
_PORT_TRIES: Final = 200
_TAIL_CHARS: Final = 2000
_KEY_NAME: Final = "TRUTH_KEY"


class StartError(Exception):
    """A process did not start, or ended in the middle."""


@dataclass(frozen=True, slots=True)
class Played:
    """One run, as its clients saw it and as the gateway's log tells it."""

    total: RouteTally
    attempts: Mapping[str, int]  # by target
    failures: Mapping[str, int]  # by class
    cpu: Mapping[str, float]  # by process, the share of a core
    shed: int  # turned away because the gateway did not get the CPU in time

    @property
    def is_disturbed(self) -> bool:
        """Whether this machine was too busy for it.

        A load that takes less than a third of a core makes nobody late by itself.
        """
        return self.shed > 0


async def play(scenario: Scenario, setting: Setting, seed: int) -> Played:
    """Run a scenario in real time.

    Raises:
        StartError: a process did not start. May be in a group.
    """
    accounts = list(dict.fromkeys(each.account.name for each in setting.targets))
    with TemporaryDirectory(prefix="trio-gateway-truth-") as name:
        folder = Path(name)
        async with trio.open_nursery() as nursery:
            with _free_ports(len(accounts)) as ports:
                policy = folder / "policy.yaml"
                addresses = dict(zip(accounts, ports, strict=True))
                policy.write_text(json.dumps(_served_policy(scenario, addresses)))
                gateway = await _start(
                    nursery,
                    folder / "gateway.log",
                    *("serve", "--policy", str(policy), "--log", "json"),
                    *("--bind", "127.0.0.1:0", "--admin", "off"),
                )
                (address,) = await gateway.wait_for(r"http://127[^\s,\"]+", 1)
                port = int(address.rpartition(":")[2])
                await _ask_once(port)
            providers = await _start(
                nursery,
                folder / "providers.log",
                *("upstream", str(scenario.path), "--port", str(ports[0])),
                *("--seed", str(seed)),
            )
            await providers.wait_for("listening on http://", len(accounts))
            played = await _measured(
                Load(setting.world, seed, port), gateway, providers
            )
            nursery.cancel_scope.cancel()
    return played


async def _measured(load: Load, gateway: "_Process", providers: "_Process") -> Played:
    pids = {"gateway": gateway.pid, "providers": providers.pid, "clients": os.getpid()}
    before = {name: cpu_s(pid) for name, pid in pids.items() if name != "clients"}
    own_s, began_at = time.process_time(), trio.current_time()
    total = await load.run()
    gateway.check()
    providers.check()
    took_s = trio.current_time() - began_at
    cpu = {name: (cpu_s(pids[name]) - spent) / took_s for name, spent in before.items()}
    cpu["clients"] = (time.process_time() - own_s) / took_s
    return _told(gateway.log, total, cpu)


def _told(log: Path, total: RouteTally, cpu: Mapping[str, float]) -> Played:
    """Add what a gateway's log tells."""
    attempts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    shed = 0
    for line in log.read_text().splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        shed += said.get("shed") == Shed.LAG
        for each in said.get("attempts", ()):
            attempts[each["target"]] += 1
            if each["class"] not in ("ok", None):
                failures[each["class"]] += 1
    return Played(total, attempts, failures, cpu, shed)


def _served_policy(
    scenario: Scenario, addresses: Mapping[str, int]
) -> dict[str, object]:
    """The scenario's policy, with its providers on this machine and one access key."""
    value = dict(read_policy_document(scenario.policy).value)
    providers = value["providers"]
    assert isinstance(providers, Mapping)
    key = f"${{{_KEY_NAME}}}"
    value["providers"] = {
        name: {**said, "base_url": _base_url(said, addresses[name]), "api_key": key}
        for name, said in providers.items()
        if name in addresses
    }
    value["access_keys"] = [{"name": "truth", "key": key}]
    return value


def _base_url(provider: Mapping[str, object], port: int) -> str:
    path = "" if provider.get("kind") == "azure" else "/v1"
    return f"http://127.0.0.1:{port}{path}"


@contextmanager
def _free_ports(count: int) -> Iterator[Sequence[int]]:
    """Ports in a row, which nobody else gets meanwhile and which can be listened on."""
    for _ in range(_PORT_TRIES):
        with ExitStack() as sockets:
            first = _held(sockets, 0)
            try:
                others = [_held(sockets, first + place) for place in range(1, count)]
            except (OSError, OverflowError):
                continue
            yield (first, *others)
            return
    raise StartError(f"no {count} free ports in a row")


def _held(sockets: ExitStack, port: int) -> int:
    holder = sockets.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return int(holder.getsockname()[1])


async def _ask_once(port: int) -> None:
    """Let the gateway answer something: a first request is slower than the others."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
        await stream.receive_some()


@dataclass(frozen=True, slots=True)
class _Process:
    process: trio.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def wait_for(self, pattern: str, times: int) -> list[str]:
        """Wait until it has said something so often."""
        with trio.move_on_after(_START_S):
            while self.process.returncode is None:
                found = re.findall(pattern, self.log.read_text(errors="replace"))
                if len(found) >= times:
                    return found
                await trio.sleep(_LOOK_AGAIN_S)
        raise StartError(
            f"{self.log.stem} did not say {pattern!r}, but:\n{self._tail()}"
        )

    def check(self) -> None:
        """Fail if it has ended."""
        if self.process.returncode is not None:
            raise StartError(f"{self.log.stem} ended in the middle:\n{self._tail()}")

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-_TAIL_CHARS:]


async def _start(nursery: trio.Nursery, log: Path, *arguments: str) -> _Process:
    with log.open("wb") as file:
        run = partial(
            trio.run_process,
            [sys.executable, "-m", "trio_gateway", *arguments],
            stdout=file,
            stderr=file,
            env={**os.environ, _KEY_NAME: KEY},
            check=False,
            deliver_cancel=_end,
            start_new_session=True,  # Ctrl-C is for us, and we end them
        )
        process: trio.Process = await nursery.start(run)
    return _Process(process, log)


async def _end(process: trio.Process) -> None:
    with suppress(ProcessLookupError):
        await end(process)
