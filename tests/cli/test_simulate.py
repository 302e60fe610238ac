import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from trio_gateway.cli import main

TWO = str(Path(__file__).parents[2] / "policies" / "two-providers.yaml")
NO_FAILOVER = """\
version: 1
providers:
  groq: {base_url: https://groq.test/v1, api_key: "${A}"}
access_keys: [{name: app, key: "${APP}"}]
models:
  llama: {targets: [{provider: groq, model: m}]}
"""


@pytest.fixture
def play(tmp_path: Path) -> Path:
    file = tmp_path / "play.yaml"
    file.write_text(
        f"version: 1\nteaches: It is a test.\npolicy: {TWO}\nduration: 30s\n"
        # What breaks is never a stream that has begun.
        "clients: {rate: 5/s, answer_tokens: 1}\n"
        "weather: {first: {fault: down, from: 10s, for: 10s}}\n"
        "expect: {availability: 100%, first_token: {p99: 5s}}\n"
    )
    return file


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    file = tmp_path / "worse.yaml"
    file.write_text(NO_FAILOVER)
    return file


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)])


def measured(*arguments: object) -> Any:
    result = simulate(*arguments, "--json", "-")
    return json.loads(result.stdout)["runs"]


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_file_that_cannot_be_written_is_wrong_usage_before_anything_runs(
    option: str, play: Path, tmp_path: Path
) -> None:
    result = simulate(play, option, tmp_path / "gone" / "file")
    assert result.exit_code == 2
    assert "gone/file cannot be written" in result.stderr
    assert not result.stdout


def test_the_verdict_comes_first_and_numbers_stand_beside_their_bounds(
    play: Path,
) -> None:
    result = simulate(play)
    assert result.exit_code == 0
    assert result.stdout.startswith("play: holds  (two-providers.yaml, seed 1, dec")
    assert "It is a test." in result.stdout
    assert "availability      >= 100.00 %  100.00 %  ok\n" in result.stdout
    assert re.search(r"^invariants +all +all hold  ok$", result.stdout, re.MULTILINE)
    assert "groq/llama-3.3-70b-versatile" in result.stdout
    assert " requests in 30.0 s of virtual time" in result.stdout
    assert "question" not in result.stdout, "the page says requests, too"
    assert result.stderr == ""


def test_a_failure_shows_the_shortest_history_and_the_command_that_repeats_it(
    play: Path, worse: Path
) -> None:
    result = simulate(play, "--policy", worse, "--seed", 7)
    assert result.exit_code == 1
    assert result.stdout.startswith("play: FAILS")
    assert "the shortest history of a request that was refused" in result.stdout
    assert "-> dial 1 groq/m (first)" in result.stdout
    command = f"again: trio-gateway simulate {play} --policy {worse} --seed 7\n"
    assert result.stdout.endswith(command)


def test_the_history_of_a_refusal_says_what_kept_it_from_each_target(
    play: Path, tmp_path: Path
) -> None:
    throttled = tmp_path / "throttled.yaml"
    weather = "all: {fault: throttled, retry_after: 60s, from: 1s, for: 29s}"
    document = yaml.safe_load(play.read_text())
    document["weather"] = yaml.safe_load(weather)
    document["expect"] = {"availability": "100%"}
    throttled.write_text(yaml.safe_dump(document))
    result = simulate(throttled)
    assert result.exit_code == 1
    assert "-> refuse: rate_limited\n" in result.stdout
    assert re.search(r"^ +not asked: groq/\S+: cooling, ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("depth", ["decisions", "wire"])
def test_the_same_seed_is_the_same_run_in_any_process(play: Path, depth: str) -> None:
    arguments = [str(play), "--depth", depth, "--json", "-"]
    digests = set()
    for hash_seed in ("1", "2"):
        program = "from trio_gateway.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, "simulate", *arguments],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        digests.add(json.loads(done.stdout)["runs"][0]["digest"])
    assert len(digests) == 1
    (other,) = measured(play, "--depth", depth, "--seed", 2)
    assert other["digest"] not in digests


def test_both_depths_tell_the_same_story(play: Path) -> None:
    (quick,), (whole,) = measured(play), measured(play, "--depth", "wire")
    assert quick["totals"]["requests"] == whole["totals"]["requests"]
    assert whole["measured"]["availability"] == 1.0
    for key in ("first_token.p50", "first_token.p95"):
        near = pytest.approx(quick["measured"][key], rel=0.1)
        assert whole["measured"][key] == near
    assert whole["targets"][0]["failures"] == quick["targets"][0]["failures"]
    assert whole["violations"] is None


def test_several_seeds_are_summed_up(play: Path, worse: Path) -> None:
    result = simulate(play, "--seeds", 3)
    assert result.stdout.startswith("play: holds, 3 of 3 seeds hold")
    result = simulate(play, "--seeds", 3, "--policy", worse)
    assert result.exit_code == 1
    assert result.stdout.startswith("play: FAILS, 0 of 3 seeds hold")
    assert "--seed 1\n" in result.stdout


def test_two_policies_are_shown_side_by_side(play: Path, worse: Path) -> None:
    result = simulate(play, "--compare", worse)
    assert result.exit_code == 1
    assert "two-providers.yaml beside worse.yaml" in result.stdout
    assert "worse\n" in result.stdout
    assert "worse.yaml: the shortest history" in result.stdout


def test_a_sweep_has_a_row_for_each_value(play: Path) -> None:
    key = "defaults.timeouts.first_token.soft"
    result = simulate(play, "--sweep", f"{key}=1s,8s")
    rows = result.stdout.splitlines()
    assert [row.split()[0] for row in rows if row.startswith(("1s", "8s"))] == [
        "1s",
        "8s",
    ]
    one, other = measured(play, "--sweep", f"{key}=1s,8s")
    assert one["digest"] != other["digest"]
    assert one["policy_revision"] != other["policy_revision"]


def test_json_has_what_a_picture_needs(play: Path) -> None:
    (run,) = measured(play)
    assert sum(run["timeline"]["offered"]) == run["totals"]["requests"]
    (fault,) = run["faults"]
    assert (fault["what"], fault["from_s"], fault["until_s"]) == ("connect", 10.0, 20.0)
    sick, _ = run["targets"]
    assert sum(sick["over_time"]) == sick["attempts"]
    states = sick["breaker"]
    assert [states[0]["state"], states[1]["state"]] == ["closed", "open"]
    assert states[0]["from_s"] == 0.0
    assert all(a["until_s"] == b["from_s"] for a, b in pairwise(states))
    assert len(run["worst"]) == 10
    assert run["worst"][0]["attempts"][0]["from_s"] == 0.0


def test_a_scenario_that_cannot_be_used_is_2(play: Path) -> None:
    play.write_text(play.read_text().replace("down", "dwon"))
    result = simulate(play)
    assert result.exit_code == 2
    assert f"{play}:6:" in result.stderr
    assert "Did you mean down?" in result.stderr
    assert result.stdout == ""


def test_a_name_that_the_policy_lacks_is_told_with_its_line(play: Path) -> None:
    play.write_text(play.read_text().replace("first:", "frist:"))
    result = simulate(play)
    assert result.exit_code == 2
    assert "is no target of these models" in result.stderr
    assert "^^^^" in result.stderr


def test_a_policy_that_is_not_there_is_told_where_it_is_named(
    play: Path, tmp_path: Path
) -> None:
    play.write_text(play.read_text().replace(TWO, "nowhere.yaml"))
    result = simulate(play)
    assert result.exit_code == 2
    assert f"{play}:3:1: policy: there is no {tmp_path / 'nowhere.yaml'}" in (
        result.stderr
    )
    assert " 3 | policy: nowhere.yaml\n" in result.stderr
    assert simulate(play, "--policy", TWO).exit_code == 0


def test_what_is_wrong_with_the_policy_is_told_with_its_line(
    play: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "wrong.yaml"
    policy.write_text("version: 1\nproviders: {a: {bas_url: https://a.test}}\n")
    result = simulate(play, "--policy", str(policy))
    assert result.exit_code == 2
    assert f"{policy}:2:17: providers.a.bas_url" in result.stderr
    assert " 2 | providers: {a: {bas_url: https://a.test}}\n" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sweep", "defaults.overlap"),
        ("--seeds", "2", "--sweep", "a=b"),
        ("--depth", "deep"),
    ],
)
def test_wrong_usage_is_2(play: Path, arguments: tuple[str, ...]) -> None:
    assert simulate(play, *arguments).exit_code == 2


def test_a_sweep_of_what_is_no_key_is_told(play: Path) -> None:
    result = simulate(play, "--sweep", "defaults.overlapp=on,off")
    assert result.exit_code == 2
    assert "Did you mean overlap?" in result.stderr
