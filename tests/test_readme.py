"""README is run from top to bottom, as by its reader: in one folder, with one shell.

The convention: `sh` blocks are commands, each of which must end well. A command that
keeps running (see `SERVERS`) runs on free ports, which then stand for the documented
ones, until README starts another there. `make` commands that only set up or test are
not run. A `yaml` block begins with its file's name. `python` blocks are programs;
`text` and `json` are what is printed.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli import curl
from tests.cli.processes import REPOSITORY, Running, running
from tests.telemetry.records import COMPLETED
from trio_gateway.failover.commands import Reason
from trio_gateway.policy.load import load_policy
from trio_gateway.relay.record import Outcome
from trio_gateway.telemetry.log import exchange_line
from trio_gateway.telemetry.metrics import Metrics
from trio_gateway.telemetry.workers import WorkersView, show_workers

README = (REPOSITORY / "README.md").read_text()
MAKEFILE = (REPOSITORY / "Makefile").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(.*)\n((?:.*\n)*?)```$", README, re.MULTILINE
)
# What keeps running, how it is told to take free ports, and the documented ones.
SERVERS = {
    "make serve": (" ARGS='--bind 127.0.0.1:0 --admin 127.0.0.1:0'", (8080, 9090)),
    "trio-gateway upstream": (" --port 0", (9001,)),
}


def _outside_make() -> dict[str, str]:
    """Return our environment without what `make test` adds for a `make` inside it."""
    own = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
    return {name: value for name, value in os.environ.items() if name not in own}


class Reader:
    """Somebody who follows README: a folder, a shell's environment, what runs.

    `stack` ends what still runs.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.environ = {**_outside_make(), "PATH": curl.on_path(folder / "bin")}
        self.ports: dict[int, int] = {}  # the real one by the documented one
        self._stack = stack
        self._running: dict[int, Running] = {}
        _clone(folder)

    def follow(self, language: str, text: str) -> None:
        match language:
            case "sh":
                for command in commands(text):
                    self._run(command)
            case "yaml":
                name = text.partition("\n")[0].removeprefix("# ")
                (self.folder / name).write_text(text)
            case "python":
                self._must_end_well([sys.executable, "-c", self._with_real_ports(text)])
            case _:
                assert language in ("text", "json")

    def stop(self) -> None:
        for port in tuple(self._running):
            self._stop(port)

    def _run(self, command: str) -> None:
        for prefix, (on_free_ports, documented) in SERVERS.items():
            if command.startswith(prefix):
                self._serve(command + on_free_ports, documented)
                return
        if make := re.match(r"make (?:\w+=\S+ )*(\w+)", command):
            assert re.search(rf"^{make[1]}:", MAKEFILE, re.MULTILINE)
            return
        told = self.folder / "environ"
        script = f"{self._with_real_ports(command)}\nenv -0 >{told}"
        self._must_end_well(["sh", "-ec", script])
        entries = told.read_text().split("\0")
        self.environ = dict(entry.split("=", 1) for entry in entries if entry)

    def _must_end_well(self, command: list[str]) -> None:
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        said = (ended.stdout + ended.stderr).decode()
        assert ended.returncode == 0, f"{command[-1]}\n{said}"
        assert '"error":' not in said, f"{command[-1]}\n{said}"

    def _serve(self, command: str, documented: tuple[int, ...]) -> None:
        self._stop(documented[0])
        server = self._stack.enter_context(
            running(
                ["sh", "-c", command],
                self.folder / f"log-{documented[0]}",
                cwd=self.folder,
                environ=self.environ,
            )
        )
        self._running[documented[0]] = server
        line = server.wait_for(r"^.*listening.*\n")[0]
        real = map(int, re.findall(r"127\.0\.0\.1:(\d+)", line))
        self.ports.update(zip(documented, real, strict=True))
        if command.startswith("make serve ARGS"):
            server.wait_for(r"as it ends:\n")
            assert self._with_documented_ports(server.said()) in README

    def _stop(self, port: int) -> None:
        if server := self._running.pop(port, None):
            server.end(signal.SIGINT)
            assert "Traceback" not in server.said()

    def _with_real_ports(self, text: str) -> str:
        for documented, real in self.ports.items():
            text = text.replace(f":{documented}", f":{real}")
        return text

    def _with_documented_ports(self, text: str) -> str:
        for documented, real in self.ports.items():
            text = text.replace(f":{real}", f":{documented}")
        return text


def commands(block: str) -> Iterator[str]:
    """The commands of a block, each with its further lines."""
    command = ""
    for line in block.splitlines():
        command += line
        try:
            shlex.split(command)
        except ValueError:  # a quote is open, or a backslash at the end
            command += "\n"
            continue
        yield command
        command = ""
    assert not command, f"unfinished: {command}"


def _clone(folder: Path) -> None:
    """What README's reader has after `make install`."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(REPOSITORY / name, folder)
    (folder / "policies").symlink_to(REPOSITORY / "policies")
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    command = binaries / "trio-gateway"
    main = "from trio_gateway.cli import main; main()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{main}" "$@"\n')
    command.chmod(0o755)
    (folder / ".venv" / ".ready").touch()


def test_every_command_works_from_top_to_bottom(tmp_path: Path) -> None:
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for language, text in BLOCKS:
            reader.follow(language, text)
        assert set(reader.ports) == {8080, 9090, 9001}
        reader.stop()


def test_no_block_is_overlooked() -> None:
    assert README.count("```") == 2 * len(BLOCKS)


POLICIES = [text for language, text in BLOCKS if language == "yaml"]


@pytest.mark.parametrize("text", POLICIES)
def test_every_policy_loads(tmp_path: Path, text: str) -> None:
    name = re.match(r"# (\w+\.yaml)\n", text)
    assert name, "a policy begins with its file's name"
    path = tmp_path / name[1]
    path.write_text(text)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "a-secret")
    assert load_policy(path, environ=environ).routes


def test_the_log_line_is_one_of_ours_and_every_part_is_explained() -> None:
    lines = [json.loads(text) for language, text in BLOCKS if language == "json"]
    (shown,) = (line for line in lines if "event" in line)
    ours = json.loads(exchange_line(COMPLETED))
    assert list(shown) == list(ours)
    assert list(shown["attempts"][0]) == list(ours["attempts"][0])
    explained = README.partition("| part | says |")[2].partition("\n\n")[0]
    for part in shown.keys() - {"level", "event"} | set(Reason) | set(Outcome):
        assert f"`{part}`" in explained


def test_every_metric_is_named_and_no_other() -> None:
    ours = Metrics(slugs=()).families()
    show_workers(ours, WorkersView(2, 2, (), 0, 0, 0))
    assert set(re.findall(r"^\| `(trio_gateway_\w+)`", README, re.MULTILINE)) == {
        name for name in ours if not name.endswith("_created")
    }


def test_every_link_leads_somewhere() -> None:
    for path, anchor in re.findall(r"\]\(([^)#]+)(#\w+)?\)", README):
        assert (REPOSITORY / path).exists()
        if anchor:
            heading = rf"^#+ `?{anchor[1:]}`?$"
            assert re.search(heading, (REPOSITORY / path).read_text(), re.MULTILINE)
