"""The rules of the house, read from the syntax trees: who may import whom, and that
the floor of pure decisions has no clock, no chance, no tasks and no world."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest

import trio_gateway

HOUSE = Path(trio_gateway.__file__).parent

# From the ground up. Modules directly under trio_gateway count as the command line's.
ROOMS = (
    {"policy", "failover", "wire", "providers"},
    {"relay", "telemetry", "access"},
    {"upstream", "chaos"},
    {"web", "serving", "bench", "cli"},
)
# Within a room that is large, what imports only from those before it.
STAIRS = {
    "policy": (
        *("files", "format", "route", "resolve", "check", "load", "share", "change"),
        *("litellm", "judgement", "explanation"),
    ),
    "chaos": (
        *("vocabulary", "worlds", "clock", "network", "simulation", "provider"),
        *("scenarios", "page", "upstream"),
    ),
}
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
THIRD_PARTY = {
    "policy": {"pydantic", "pydantic_core", "yaml"},
    "failover": {"tenacity"},
    "wire": {"pydantic_core"},
    "providers": set[str](),
    "relay": {"trio"},
    "telemetry": {"trio"},
    "access": {"trio"},
    "upstream": {"trio", "httpx", "httpcore", "httptools"},
    "chaos": {"trio", "httpx", "httpcore", "httptools", "trustme"},
}  # floor 3: everything
OPEN_TO_NEIGHBOURS = re.compile(r"relay\.(port|record)\b")

IMPURE = re.compile(
    r"(_thread|asyncio|builtins|concurrent|contextvars|ctypes|fcntl|glob|http|importlib"
    r"|io|logging|mmap|multiprocessing|os|pathlib|queue|resource|sched|secrets|select"
    r"|selectors|shutil|signal|socket|socketserver|ssl|subprocess|sys|syslog|tempfile"
    r"|threading|time|traceback|urllib\.request|warnings)(\.|$)"
)
PURE_PART = {"random": {"Random"}, "uuid": {"UUID"}}  # the only names to be had
CLOCK = re.compile(r"(datetime|date)\.(now|utcnow|today)")
TASKS = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def test_the_house_keeps_its_rules() -> None:
    files = sorted(HOUSE.rglob("*.py"))
    assert files
    found = [
        violation
        for file in files
        for violation in violations(file.relative_to(HOUSE), file.read_text())
    ]
    assert not found, "\n" + "\n".join(found)


# More modules than a newcomer looks into one by one.
MAPPED_FROM = 10


def test_a_map_has_all_modules_of_a_large_package() -> None:
    """Its own, or that of the package around it."""
    missing = []
    for package in sorted(file.parent for file in HOUSE.rglob("__init__.py")):
        modules = [file.stem for file in package.glob("[!_]*.py")]
        if len(modules) >= MAPPED_FROM:
            drawn = f"{map_of(package)}{map_of(package.parent)}"
            missing += [
                f"{package.relative_to(HOUSE)}: {module}"
                for module in modules
                if not re.search(rf"\b{module}\b", drawn)
            ]
    assert not missing


def map_of(package: Path) -> str:
    """What a package says of itself."""
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""


def violations(file: PurePath, source: str) -> Iterator[str]:
    """Each as `file:line: rule`; `file` is relative to the house."""
    tree = ast.parse(source)
    room = file.parts[0] if len(file.parts) > 1 else "cli"
    if room not in FLOORS:
        yield f"{file}:1: {room} has no floor"
        return
    if not ast.get_docstring(tree):
        yield f"{file}:1: a module opens with a docstring"
    for node in ast.walk(tree):
        rules = (
            *_import_rules(room, node),
            *_stair_rules(file, node),
            *_word_rules(room, node),
        )
        for rule in rules:
            yield f"{file}:{getattr(node, 'lineno', 1)}: {rule}"


def _import_rules(room: str, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            imported = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names, level=0):
            imported = [f"{module}.{alias.name}" for alias in names]
        case ast.ImportFrom():
            yield "imports are absolute"
            return
        case _:
            return
    for name in imported:
        top, _, rest = name.partition(".")
        if top == "trio_gateway":
            if not _may_know(room, rest):
                yield f"{room} may not import {name}"
        elif top not in sys.stdlib_module_names:
            if top not in THIRD_PARTY.get(room, {top}):
                yield f"{room} may not import {top}"
        elif FLOORS[room] == 0 and not _is_pure(room, name):
            yield f"{name} is not for the pure floor"
        if name == "time.sleep":
            yield "nobody sleeps in a thread"


def _stair_rules(file: PurePath, node: ast.AST) -> Iterator[str]:
    room, step = file.parts[0], file.with_suffix("").parts[1:2]
    stairs = STAIRS.get(room, ())
    if not isinstance(node, ast.ImportFrom) or not node.module or not stairs:
        return
    home, _, inside = node.module.removeprefix("trio_gateway.").partition(".")
    if home != room or step == ("__init__",):
        return
    own, other = step[0], inside.split(".")[0]
    if {own, other} - set(stairs) or stairs.index(other) > stairs.index(own):
        yield f"{own} may not import {node.module}"


def _may_know(room: str, name: str) -> bool:
    other = name.split(".")[0]
    other = other if other in FLOORS else "cli"
    if FLOORS[other] == FLOORS[room] == 0 or room in (other, "cli"):
        return True
    return FLOORS[other] < FLOORS[room] or (
        FLOORS[other] == FLOORS[room] and bool(OPEN_TO_NEIGHBOURS.match(name))
    )


def _is_pure(room: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    if top in PURE_PART:
        return rest in PURE_PART[top]
    if (room, top) == ("policy", "pathlib"):
        return True  # policies are files
    return not IMPURE.match(name)


def _word_rules(room: str, node: ast.AST) -> Iterator[str]:
    is_pure = FLOORS[room] == 0
    if is_pure and isinstance(node, TASKS):
        yield "the pure floor does not await"
    if is_pure and isinstance(node, ast.Attribute) and CLOCK.search(ast.unparse(node)):
        yield "the pure floor has no clock"
    match node:
        case ast.Call(func=ast.Name("Random"), args=[]) if is_pure:
            yield "randomness comes from a named seed"
        case ast.Call(func=ast.Name("open" | "input" | "__import__")) if is_pure:
            yield "the pure floor does not reach into the world"
        case ast.Call(func=ast.Name("print")) if room != "cli":
            yield "only the command line prints"
        case ast.Attribute(value=ast.Name("time"), attr="sleep"):
            yield "nobody sleeps in a thread"
        case _:
            pass


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("relay/a.py", "from trio_gateway.web.app import App", "may not import"),
        ("relay/a.py", "from trio_gateway import upstream", "may not import"),
        ("relay/a.py", "from trio_gateway.telemetry.log import x", "may not import"),
        ("relay/a.py", "import trio_gateway.demo", "may not import"),
        ("relay/a.py", "def f():\n    import httpx", "relay may not import httpx"),
        ("relay/a.py", "from . import port", "absolute"),
        ("telemetry/a.py", "from trio_gateway.relay.pump import x", "may not import"),
        ("web/a.py", "from trio_gateway.serving.server import x", "may not import"),
        ("upstream/a.py", "from trio_gateway.chaos import script", "may not import"),
        (
            "chaos/worlds/a.py",
            "from trio_gateway.chaos.provider.door import Door",
            "worlds may not import",
        ),
        ("chaos/b.py", "from trio_gateway.chaos.clock import x", "b may not import"),
        ("upstream/a.py", "import quart", "upstream may not import quart"),
        ("wire/a.py", "import pydantic", "wire may not import pydantic"),
        ("failover/a.py", "import trio_gateway.relay.record", "may not import"),
        ("failover/a.py", "import trio", "failover may not import trio"),
        ("failover/a.py", "import time", "not for the pure floor"),
        ("failover/a.py", "from time import monotonic", "not for the pure floor"),
        ("failover/a.py", "import random", "not for the pure floor"),
        ("failover/a.py", "from random import uniform", "not for the pure floor"),
        ("failover/a.py", "r = Random()", "named seed"),
        ("failover/a.py", "from uuid import uuid4", "not for the pure floor"),
        ("failover/a.py", "import os.path", "not for the pure floor"),
        ("failover/a.py", "from urllib import request", "not for the pure floor"),
        ("failover/a.py", "from pathlib import Path", "not for the pure floor"),
        ("policy/a.py", "import datetime\ndatetime.datetime.now()", "no clock"),
        ("policy/a.py", "today = date.today", "no clock"),
        ("policy/a.py", "open('x')", "reach into the world"),
        ("policy/a.py", "async def f(): ...", "does not await"),
        ("web/a.py", "import time\ntime.sleep(1)", "nobody sleeps"),
        ("web/a.py", "from time import sleep", "nobody sleeps"),
        ("web/a.py", "print('hello')", "only the command line prints"),
        ("utils/a.py", "", "utils has no floor"),
    ],
)
def test_a_planted_violation_is_found(file: str, line: str, rule: str) -> None:
    (found,) = violations(PurePath(file), f'"""A module."""\n{line}\n')
    assert re.match(rf"{re.escape(file)}:\d+: ", found)
    assert rule in found


def test_a_module_without_a_docstring_is_found() -> None:
    assert list(violations(PurePath("web/a.py"), "x = 1\n")) == [
        "web/a.py:1: a module opens with a docstring"
    ]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("failover/a.py", "from random import Random\nr = Random('seed/1')"),
        ("failover/a.py", "from trio_gateway.policy.route import Target"),
        ("failover/a.py", "def f(random):\n    return random.uniform(0, 1)"),
        ("failover/a.py", "from urllib.parse import urlsplit\nimport tenacity"),
        (
            "policy/a.py",
            "from datetime import datetime, time\nfrom pathlib import Path",
        ),
        ("telemetry/a.py", "from trio_gateway.relay.record import ExchangeRecord"),
        ("telemetry/a.py", "from trio_gateway.relay import port\nimport threading"),
        ("upstream/a.py", "import httpx, trio\nfrom trio_gateway.relay import pump"),
        ("demo.py", "import rich\nfrom trio_gateway.web.app import x\nprint(x)"),
    ],
)
def test_what_is_allowed_is_not_reported(file: str, line: str) -> None:
    assert not list(violations(PurePath(file), f'"""A module."""\n{line}\n'))
