import json
import re

from click.testing import CliRunner

from trio_gateway.cli import main


def test_the_engines_share_is_told_as_a_multiple() -> None:
    result = CliRunner().invoke(main, ["bench", "engine"])

    assert result.exit_code == 0
    assert re.search(r"^multiple +\d+\.\d\d$", result.stdout, re.MULTILINE)


def test_programs_get_the_multiple_as_one_line_of_json() -> None:
    result = CliRunner().invoke(main, ["bench", "engine", "--json"])

    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    # Two at home; what it is made of is counted in tests/failover/test_cost.
    assert 0.0 < found["multiple"] < 2.5
    assert found["deciding_us"] > 0.0
