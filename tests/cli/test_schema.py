"""`trio-gateway schema`: what editors read."""

from click.testing import CliRunner

from tests.cli.processes import POLICIES
from trio_gateway.cli import main


def test_the_schema_of_policies_is_printed() -> None:
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0
    assert result.stdout == (POLICIES / "policy.schema.json").read_text()
    assert CliRunner().invoke(main, ["schema", "policy"]).stdout == result.stdout


def test_the_schema_of_scenarios_is_printed() -> None:
    result = CliRunner().invoke(main, ["schema", "scenario"])
    assert result.exit_code == 0
    written = POLICIES / "scenarios" / "scenario.schema.json"
    assert result.stdout == written.read_text()
