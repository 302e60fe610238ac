"""The ledger of what must hold: each number that was measured, beside its bound."""

from collections.abc import Iterator

import pytest

from tests.invariants.table import Ledger, Row, Table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-table",
        action="store_true",
        help="write what was measured into tests/README.md (a run of all of them)",
    )


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """What is written down, and what this run has measured."""
    table = Table.read()
    yield table
    if request.config.getoption("--write-table"):
        assert not request.session.testsfailed, "a table of failures is not written"
        table.write()


@pytest.fixture
def ledger(request: pytest.FixtureRequest, table: Table) -> Ledger:
    """Enter one row, and hold it to its bound.

    A `gap` says why a bound is known not to hold. A gap that has closed fails too, so
    that it does not stay in the table.
    """
    is_writing = request.config.getoption("--write-table")

    def enter(
        number: int,
        what: str,
        *,
        bound: str,
        measured: str,
        holds: bool,
        gap: str | None = None,
        proof: str | None = None,
    ) -> None:
        proof = proof or request.node.nodeid.removeprefix("tests/").split("[")[0]
        row = Row(number, what, bound, measured, proof, gap)
        table.enter(row)
        if gap is None:
            assert holds, f"{what}: {measured}, but the bound is {bound}"
        else:
            assert not holds, f"{what}: the bound holds now; delete its gap"
        if not is_writing:
            assert table.knows(row), (
                "tests/README.md lacks this row; "
                "run: pytest tests/invariants --write-table"
            )

    return enter
