"""Bugs planted on purpose, one at a time: how many seeds does the swarm need for each?

    python -m tests.swarm.planted               all of them, as a table
    python -m tests.swarm.planted leaked_probe  one, with the history that shows it

Each bug is a change of a few words, made in a private copy of the package; the swarm is
run there. The package itself is never touched. Where a line that a bug replaces is not
found any more, the code has moved on and the tests fail: write the bug anew for it.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

HOUSE: Final = Path(__file__).parents[2]
SEEDS_MAX: Final = 500
# As `worlds` names them.
_TARGET: Final = re.compile(r"\bt[0-9]+/[mn]\b")


@dataclass(frozen=True, slots=True)
class Change:
    """Some words of a file, and what a careless hand makes of them."""

    file: str  # in trio_gateway
    old: str
    new: str

    def make(self, house: Path) -> None:
        """Change a copy of the package."""
        path = house / "trio_gateway" / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert text.count(self.old) == 1, (
            "the code has moved on, plant this bug anew: "
            f"{self.file} has not exactly once: {self.old}"
        )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug."""

    name: str
    what: str
    found_by: int | None  # the first seed that finds it; None: beyond the first sixty
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a bug fared: the seed that found it (None: none did), and what that said."""

    bug: Bug
    seed: int | None
    said: str

    @property
    def rule(self) -> str:
        """What it broke first, whichever target it was."""
        _, _, rule = self.said.partition("\n")[0].partition(" breaks: ")
        return _TARGET.sub("a target", rule)


def bug(
    name: str, what: str, found_by: int | None, *changes: tuple[str, str, str]
) -> Bug:
    return Bug(name, what, found_by, tuple(Change(*change) for change in changes))


_FORGOTTEN_LOSER: Final = (
    "failover/engine.py",
    'drops = self.attempts.drop_all("another attempt won", now, but=winner)',
    "drops: tuple[Command, ...] = ()",
)

BUGS: Final = (
    bug(
        "one_attempt_more",
        "off by one in `attempts.max`",
        0,
        (
            "failover/candidates.py",
            "return self._route.attempts.max - self._attempts.counted",
            "return self._route.attempts.max - self._attempts.counted + 1",
        ),
    ),
    bug(
        "never_closes",
        "a breaker that never closes again",
        3,
        (
            "failover/breaker.py",
            "if self._successes == PROBE_SUCCESSES:",
            "if self._successes < 0:",
        ),
    ),
    bug(
        "never_opens",
        "a breaker that never opens",
        3,
        (
            "failover/breaker.py",
            "        self._trips = min(self.trips(now) + 1, self._trips_max)\n",
            "        return\n",
        ),
    ),
    bug("forgotten_loser", "the loser is not cancelled", 0, _FORGOTTEN_LOSER),
    bug(
        "second_winner",
        "a late loser becomes a second winner",
        0,
        _FORGOTTEN_LOSER,
        (
            "failover/engine.py",
            "raise self._misuse(event)\n\n    def _left(",
            "return (Commit(event.attempt),)\n\n    def _left(",
        ),
    ),
    bug(
        "hint_ignored",
        "Retry-After is not heeded",
        30,
        (
            "failover/health.py",
            "cooldown.hint(now, hint_s,",
            "cooldown.hint(now, None,",
        ),
    ),
    bug(
        "hint_shrinks",
        "a later, shorter hint replaces a longer one",
        55,
        (
            "failover/cooldown.py",
            "self.until = max(self.until, until) if was_active else until",
            "self.until = until",
        ),
    ),
    bug(
        "free_duplicates",
        "overlaps and hedges are not paid for",
        0,
        (
            "failover/doubling.py",
            ".extras.try_withdraw(now)",
            ".extras.left(now) >= 1.0",
        ),
    ),
    bug(
        "free_failures",
        "a target is not charged for what it fails",
        0,
        (
            "failover/budget.py",
            "self.tokens = max(0.0, self.tokens - cost)",
            "self.tokens = max(0.0, self.tokens - 0 * cost)",
        ),
    ),
    bug(
        "deadline_restarts",
        "the deadline is not shortened by what earlier attempts took",
        0,
        (
            "failover/engine.py",
            "            now,\n        )\n        timeouts = ",
            "            self.attempts[0].started_at,\n        )\n        timeouts = ",
        ),
        (
            "failover/engine.py",
            "connect_by = now",
            "commit_by += now - self.attempts[0].started_at\n        connect_by = now",
        ),
    ),
    bug(
        "no_reserve",
        "an attempt takes the time that later targets need",
        0,
        (
            "failover/candidates.py",
            "return self.targets[: self.attempts_left()]",
            "return []",
        ),
    ),
    bug(
        "client_error_moves",
        "a client's own error is tried elsewhere",
        14,
        (
            "failover/engine.py",
            "elif verdict is Verdict.STOP and not moves:",
            "elif verdict is Verdict.STOP and not moves and self._candidates.is_alone:",
        ),
    ),
    bug(
        "billed_twice",
        "what may have been processed is sent again to the same target",
        1,
        (
            "failover/retry.py",
            "return meaning_of(result).verdict is Verdict.RETRY",
            "return meaning_of(result).verdict in (Verdict.RETRY, Verdict.MOVE)",
        ),
    ),
    bug(
        "leaked_probe",
        "a probe that ends neutrally keeps its slot",
        17,
        (
            "failover/breaker.py",
            "        self._give_back(sent)\n        if sent.era == self._era:\n",
            "        if sent.era == self._era:\n",
        ),
    ),
    bug(
        "leaked_waiter",
        "who stops waiting for a cooldown is still counted",
        0,
        (
            "failover/waiting.py",
            "self._case.fleet.health(wait.target, now).cooldown.leave()",
            "pass",
        ),
    ),
    bug(
        "departures_blamed",
        "a client who leaves counts against the target",
        2,
        (
            "failover/classify.py",
            "FailureClass.CANCELLED: Meaning(Verdict.STOP, Blame.NOBODY),",
            "FailureClass.CANCELLED: Meaning(Verdict.STOP, Blame.TARGET),",
        ),
    ),
    bug(
        "waits_for_one_of_several",
        "a backoff before the same target, while another could be asked",
        8,
        (
            "failover/candidates.py",
            "self.is_alone = len(targets) == 1",
            "self.is_alone = len(targets) <= 2",
        ),
    ),
    bug(
        "unbounded_last_resort",
        "any number of requests may try an open target",
        0,
        (
            "failover/fleet.py",
            "if not panic.has_room(now):",
            "if panic.live >= 1_000_000:",
        ),
    ),
    bug(
        "unseen_lateness",
        "the soft limit rings no alarm",
        0,
        (
            "failover/engine.py",
            "                at = attempt.soft_at\n",
            "                at = attempt.soft_at + 3600.0\n",
        ),
    ),
    bug(
        "too_costly",
        "duplicates may cost more than `max_cost_multiplier`",
        8,
        (
            "failover/spend.py",
            "return paid + 1 <= route.max_cost_multiplier",
            "return paid <= route.max_cost_multiplier",
        ),
    ),
    bug(
        "overdue_alarm",
        "a hedge that fell due during a wait strikes what comes after it",
        2,
        (
            "failover/engine.py",
            "        self._hedge_at = self._move_at = inf  # were",
            "        pass  # were",
        ),
    ),
    bug(
        "refused_probe",
        "a target that was healed is not probed, for its budget is spent",
        None,
        (
            "failover/fleet.py",
            "if is_spent and not is_probe and not health.is_well(now):",
            "if is_spent and not health.is_well(now):",
        ),
    ),
    bug(
        "haste_blamed",
        "a client whose own timeout is short counts against the target",
        22,
        (
            "failover/health.py",
            "return now - self.started_at < self.patience.p95_s(now)",
            "return False",
        ),
    ),
)


def hunt(bug: Bug, seeds: str = f"0:{SEEDS_MAX}") -> Hunt:
    """Plant a bug in a copy, and play seeds there until one finds it."""
    with TemporaryDirectory(prefix="trio-gateway-planted-") as directory:
        house = Path(directory)
        for part in ("trio_gateway", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(HOUSE / part, house / part, ignore=ignored)
        for change in bug.changes:
            change.make(house)
        ran = subprocess.run(
            [sys.executable, "-m", "tests.swarm", "--stop", seeds],
            cwd=house,
            capture_output=True,
            text=True,
            check=False,
        )
    first, _, _ = ran.stdout.partition(" by ")
    if ran.returncode == 1 and first.startswith("seed "):
        return Hunt(bug, int(first.removeprefix("seed ")), ran.stdout)
    assert ran.returncode == 0, ran.stderr
    return Hunt(bug, None, ran.stdout)


def hunt_all(bugs: Sequence[Bug], seeds: str = f"0:{SEEDS_MAX}") -> Iterator[Hunt]:
    """Hunt them, as many at once as there are cores."""
    with ThreadPoolExecutor(cpu_count()) as crew:
        yield from crew.map(lambda each: hunt(each, seeds), bugs)


def main() -> int:
    wanted = sys.argv[1:]
    bugs = [each for each in BUGS if not wanted or each.name in wanted]
    missed = 0
    print("| bug | seeds until it is found | what it breaks |")
    print("| --- | --- | --- |")
    for found in hunt_all(bugs):
        missed += found.seed is None
        seeds = "**not found**" if found.seed is None else found.seed + 1
        print(
            f"| {found.bug.what} | {seeds} | {found.rule.split(':')[0]} |", flush=True
        )
        if wanted:
            print(found.said)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
