import os
import subprocess
import sys

import pytest

from trio_gateway.bench import processes

# Computes for a while, says so, and waits to be told to end.
CHILD = "sum(range(10_000_000)); print('done', flush=True); input()"


def test_what_a_process_has_started_counts_for_it() -> None:
    before_s = processes.cpu_s(os.getpid())
    before_bytes = processes.rss_bytes(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child_s = processes.cpu_s(child.pid)
        assert child_s > 0.02
        both_s = processes.cpu_s(os.getpid())
        assert both_s > before_s + child_s - 0.001  # they are sums of hundredths
        assert processes.rss_bytes(os.getpid()) > before_bytes
        child.communicate(b"\n")


def test_a_process_that_is_gone_is_no_measure() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass

    with pytest.raises(ProcessLookupError):
        processes.cpu_s(child.pid)
