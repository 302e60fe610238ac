import json
import re

from click.testing import CliRunner

from trio_gateway.cli import main


def test_every_departure_is_noticed_and_its_delay_printed() -> None:
    command = ["bench", "departures", "--clients", "20", "--seed", "1"]

    result = CliRunner().invoke(main, command)

    assert result.exit_code == 0
    assert re.match(r"departures at random moments +20   \(seed 1\)\n", result.stdout)
    assert re.search(r"^  not noticed within 5 s +0$", result.stdout, re.MULTILINE)
    names, values = result.stdout.splitlines()[-2:]
    assert names.split() == ["p50", "p90", "p99", "max"]
    assert len(values.split()) == 4


def test_programs_get_the_same_as_one_line_of_json() -> None:
    command = ["bench", "departures", "--clients", "20", "--json"]

    result = CliRunner().invoke(main, command)

    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert found["clients"] == found["noticed"] + found["early"] == 20
    assert (found["seed"], found["unnoticed"]) == (0, 0)
    delays = [found["milliseconds"][name] for name in ("p50", "p90", "p99", "max")]
    assert delays == sorted(delays)
    assert 0.0 < delays[-1] < 1000.0
