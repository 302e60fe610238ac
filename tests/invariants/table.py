"""The table in tests/README.md, read and written."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- invariants: begin -->", "<!-- invariants: end -->"
HEAD = (
    "| # | what must hold | bound | measured | proved by |\n"
    "| --- | --- | --- | --- | --- |\n"
)
NUMBERS = range(1, 26)

Ledger = Callable[..., None]
"""How a test enters a row: see the fixture."""


@dataclass(frozen=True)
class Row:
    """One line of it."""

    number: int
    what: str
    bound: str
    measured: str
    proof: str
    gap: str | None = None

    def __str__(self) -> str:
        measured = self.measured if self.gap is None else f"**{self.measured}**"
        what = self.what if self.gap is None else f"{self.what} (gap: {self.gap})"
        return (
            f"| {self.number} | {what} | {self.bound} | {measured} | `{self.proof}` |"
        )


@dataclass
class Table:
    """What the file says, and what was measured since it was read."""

    text: str
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def read(cls) -> "Table":
        return cls(README.read_text())

    def enter(self, row: Row) -> None:
        self.rows.append(row)

    def knows(self, row: Row) -> bool:
        """Whether it has this row, whatever was measured when it was written."""
        what = row.what if row.gap is None else f"{row.what} (gap: {row.gap})"
        return f"\n| {row.number} | {what} | {row.bound} | " in self.text

    def write(self) -> None:
        missing = set(NUMBERS) - {row.number for row in self.rows}
        assert not missing, f"run all of tests/invariants; missing: {missing}"
        rows = sorted(self.rows, key=lambda row: row.number)
        body = HEAD + "".join(f"{row}\n" for row in rows)
        pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
        made = f"{BEGIN}\n{body}{END}"
        README.write_text(re.sub(pattern, lambda _: made, self.text, flags=re.DOTALL))
