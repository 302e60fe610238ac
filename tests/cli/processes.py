"""The command line as processes: what keeps running, and how it is talked to.

What a process prints goes to a file, so that nobody has to read it for it to go on.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-c", "from trio_gateway.cli import main; main()")
REPOSITORY = Path(__file__).parents[2]
POLICIES = REPOSITORY / "policies"

# A loaded machine is slow to start Python; a process that hangs is still found.
PATIENCE_S = 60.0


@dataclass
class Running:
    """A process that was started, with all that it has started."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Everything it has printed so far, errors included."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed this; fail if it ends before."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            has_ended = self.process.poll() is not None
            if match := re.search(pattern, self.said(), re.MULTILINE):
                return match
            if has_ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"it never said {pattern!r}, but:\n{self.said()}")

    def wait(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        return self.process.wait(PATIENCE_S)

    def end(self, number: int = signal.SIGINT) -> int:
        """Ask it and all that it started to end, as a terminal does; its exit code."""
        os.killpg(self.process.pid, number)
        return self.wait()


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path = REPOSITORY,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a command until the block's end, and never longer."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(os.environ if environ is None else environ),
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
