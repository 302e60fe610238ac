"""What Linux says about processes: their CPU time, and the memory that they hold.

Read from /proc; a process is always meant with all that it has started.
"""

import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def is_known() -> bool:
    """Whether this system can tell."""
    return (_PROC / "self" / "stat").exists()


def cpu_s(pid: int) -> float:
    """The seconds that a process tree has computed, for itself and in the kernel."""
    ticks = 0
    for fields in _tree(pid):
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def rss_bytes(pid: int) -> int:
    """The memory that a process tree holds; what is shared counts for each."""
    return sum(int(fields[21]) for fields in _tree(pid)) * _PAGE_BYTES


def _tree(pid: int) -> list[list[str]]:
    """The fields of `stat` after the name, from the state on, of each process."""
    known: dict[int, list[str]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:  # it has just ended
                continue
            # The name stands in brackets, and may hold spaces and brackets.
            known[int(folder.name)] = stat.rpartition(")")[2].split()
    if pid not in known:
        raise ProcessLookupError(f"there is no process {pid}")
    family = {pid}
    while more := {p for p, f in known.items() if int(f[1]) in family} - family:
        family |= more
    return [known[each] for each in family]
