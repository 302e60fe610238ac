"""Where the product's time goes: what Python's profiler has written, as a table.

By package, and by function, for each answer. What is built in counts for the package
that called it. The profiler itself charges every call, so that small functions look
dearer than they are; the order is right.
"""

import pstats
import re
from collections import Counter
from pathlib import Path
from typing import Final

_TOP: Final = 25
_OURS: Final = re.compile(r"/trio_gateway/(\w+)/")
_INSTALLED: Final = re.compile(r"/site-packages/(\w+)")
_BUILT_IN: Final = "~"  # pstats' name for the file of what is not written in Python
_WAITING: Final = "<method 'poll' of 'select.epoll' objects>"

Function = tuple[str, int, str]
"""A function as pstats names it: file, line, name."""


def table(file: Path, answers: int, unit: str = "answer") -> list[str]:
    """Own time by package, then the functions that take the most of it."""
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]  # not in its stub
    own_s: dict[Function, float] = {name: of[2] for name, of in stats.items()}
    packages: Counter[str] = Counter()
    for function, (*_, callers) in stats.items():
        if function[2] == _WAITING:
            packages["waiting, and epoll itself"] += _ns(own_s[function])
        elif function[0] == _BUILT_IN:
            # What is built in works for whoever called it.
            for caller, (_, _, by_caller_s, _) in callers.items():
                packages[_package(caller)] += _ns(by_caller_s)
        else:
            packages[_package(function)] += _ns(own_s[function])
    whole = sum(packages.values())
    lines = [
        f"own time under the profiler, in microseconds for each of {answers} {unit}s:",
        *(
            f"{own_ns / 1000 / answers:9.1f} {own_ns / whole:6.1%}  {package}"
            for package, own_ns in packages.most_common(_TOP)
        ),
        "",
        f"{'us':>9} {'calls':>7}  the {_TOP} functions that take the most",
    ]
    for function in sorted(own_s, key=own_s.__getitem__, reverse=True)[:_TOP]:
        own_us = 1e6 * own_s[function] / answers
        calls = stats[function][1] / answers
        lines.append(f"{own_us:9.1f} {calls:7.1f}  {_name(function)}")
    return lines


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _package(function: Function) -> str:
    path = function[0]
    if ours := _OURS.search(path):
        return f"trio_gateway.{ours.group(1)}"
    if installed := _INSTALLED.search(path):
        return installed.group(1)
    return "built in" if path == _BUILT_IN else "standard library"


def _name(function: Function) -> str:
    path, line, name = function
    if path == _BUILT_IN:
        return name
    return f"{_package(function)}  {Path(path).name}:{line}  {name}"
