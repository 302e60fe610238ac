"""The benchmark itself, as short as can be: it starts, it counts, it judges."""

import json
from pathlib import Path

from click.testing import CliRunner

from trio_gateway.bench.loads import LOADS
from trio_gateway.bench.run import SCENARIOS
from trio_gateway.cli import main

QUICK = ["--seconds", "0.2", "--rounds", "1"]


def test_product_and_yardstick_are_measured_and_compared(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    only = ["--only", "failover,requests", "--json", str(file)]

    result = CliRunner().invoke(
        main, ["bench", *only, *QUICK, "--assert-ratio", "1000"]
    )

    assert result.exit_code == 1
    assert "error: the ratio is " in result.output
    assert "CPU per request, 32 at once" in result.output
    told = json.loads(file.read_text())
    assert told["bad"] == {"product": 0, "yardstick": 0}
    for system in ("product", "yardstick"):
        for load in ("requests", "failover"):
            (sample,) = told["samples"][system][load]
            assert sample["answers"] > 0
            assert sample["cpu_s"] > 0
    assert told["samples"]["direct"]["requests"][0]["answers"] > 0


def test_streams_are_measured_and_each_chunk_of_them_counted() -> None:
    only = ["--only", "chunks-burst,prompt-1m", "--compare", "", "--json", "-"]

    result = CliRunner().invoke(main, ["bench", *only, *QUICK])

    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["bad"] == {"product": 0}
    assert set(told["figures"]["product"]) == {"chunks-burst", "prompt-1m"}


def test_the_profiler_tells_what_an_answer_takes(tmp_path: Path) -> None:
    file = tmp_path / "requests.prof"
    command = ["bench", "--only", "requests", "--seconds", "0.5"]

    result = CliRunner().invoke(main, [*command, "--profile", str(file)])

    assert result.exit_code == 0, result.output
    assert file.stat().st_size > 0
    assert "trio_gateway.failover" in result.stdout


def test_a_product_that_does_not_start_is_told() -> None:
    result = CliRunner().invoke(
        main, ["bench", "--only", "requests", "--serve-args", "--no-such-option"]
    )

    assert result.exit_code == 2
    assert "the gateway did not start" in result.output
    assert "--no-such-option" in result.output


def test_wrong_usage_is_2() -> None:
    for wrong in (
        ["--only", "everything"],
        ["--compare", "https://elsewhere.invalid"],
        ["--only", "failover", "--assert-ratio", "10"],
    ):
        assert CliRunner().invoke(main, ["bench", *wrong]).exit_code == 2


def test_every_scenario_is_made_of_known_loads() -> None:
    assert {load for loads in SCENARIOS.values() for load in loads} == set(LOADS)
