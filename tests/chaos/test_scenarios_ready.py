"""Every scenario that we ship holds for its policy, and fails for a worse one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from trio_gateway.chaos.scenarios.expect import MEASURES
from trio_gateway.chaos.scenarios.forecast import FAULTS, PRESETS
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import (
    changed,
    make_policy,
    read_policy_document,
)
from trio_gateway.chaos.scenarios.run import Run, run_decisions
from trio_gateway.chaos.scenarios.texts import run_text
from trio_gateway.policy.files.document import Document

FOLDER = Path(__file__).parents[2] / "policies" / "scenarios"
READY = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
README = (FOLDER / "README.md").read_text()

# Changes that make a policy worse, each as a key and its value.
NO_BREAKER = (
    "defaults.circuit_breaker={consecutive: 1000000, share: 100%, min_samples: 1000000}"
)
NO_HURRY = (
    "defaults.timeouts={connect: 10s, first_token: 60s, precommit: 120s}",
    "defaults.overlap=off",
)
WORSE = {
    "auth-storm": (NO_BREAKER,),
    "black-hole": (NO_BREAKER, *NO_HURRY),
    "brown-out": ("defaults.attempts.max=1",),
    "busy-day": ("defaults.attempts.max=1",),
    "flapping": (NO_BREAKER,),
    "hard-outage": (NO_BREAKER,),
    "ordinary-day": ("defaults.attempts.max=1",),
    "recovery-stampede": (NO_BREAKER,),
    "region-down": ("models.chat.targets=[{provider: east-a, model: large}]",),
    "reset-wave": (NO_BREAKER,),
    "retry-storm": (NO_BREAKER, *NO_HURRY),
    "slow-down": (NO_BREAKER, *NO_HURRY),
    "throttle-storm": (
        "defaults.attempts.same_target=2",
        "defaults.retry={retry_after: {prefer: wait, max_wait: 30s}}",
    ),
}


def scenario(name: str) -> Scenario:
    loaded = load_scenario(READY[name])
    # The rest of the day is for people; what it shows, two hours at noon show as well.
    return replace(loaded, duration_s=min(loaded.duration_s, 7200.0))


def run(played: Scenario, document: Document) -> Run:
    return run_decisions(played, make_policy(document), seed=played.seed)


@pytest.mark.parametrize("name", READY)
def test_a_ready_scenario_holds_and_fails_for_a_worse_policy(name: str) -> None:
    played = scenario(name)
    if name == "ordinary-day":
        played = noon_of(played)
    document = read_policy_document(played.policy)
    good = run(played, document)
    assert good.holds, [v for v in good.verdicts if not v.holds]

    for change in WORSE[name]:
        document = changed(document, *change.split("=", 1))
    # What is wrong shows while the fault lasts.
    worse = run(replace(played, duration_s=min(played.duration_s, 300.0)), document)
    assert not worse.holds
    assert worse.witness.broken is None


def noon_of(day: Scenario) -> Scenario:
    """A day in which the bad hours come at once."""
    (all_targets, first) = day.weather
    early = tuple(
        replace(entry, from_s=600.0, until_s=1500.0) for entry in first.entries
    )
    weather = (all_targets, replace(first, entries=early))
    return replace(day, weather=weather, duration_s=6000.0)


@pytest.mark.parametrize("name", READY)
def test_a_ready_scenario_says_what_it_teaches_and_how_to_run_it(name: str) -> None:
    text = READY[name].read_text()
    assert load_scenario(READY[name]).teaches
    assert f"#   trio-gateway simulate policies/scenarios/{name}.yaml\n" in text
    assert re.search(rf"\[`{name}`\]\({name}\.yaml\)", README)


def test_the_format_in_the_readme_is_one_that_loads(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"^```yaml\n(version: 1\n(?:.*\n)*?)```", README, re.MULTILINE
    )
    policy = FOLDER.parent / "two-providers.yaml"
    file = tmp_path / "play.yaml"
    file.write_text(block.replace("../two-providers.yaml", str(policy)))
    played = load_scenario(file)
    document = read_policy_document(played.policy)
    assert run(replace(played, duration_s=20.0), document).result.total.answered > 100


def test_the_readme_knows_every_word_of_the_format() -> None:
    words = {*FAULTS, *PRESETS, *(measure.key.split(".")[0] for measure in MEASURES)}
    rows = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    assert words <= rows
    assert rows - words == set()


def test_the_numbers_that_the_readmes_show_are_those_of_the_run() -> None:
    played = scenario("hard-outage")
    said = run_text(run(played, read_policy_document(played.policy)), "")
    for readme in (FOLDER.parents[1] / "README.md", FOLDER.parent / "README.md"):
        shown = (
            readme.read_text().partition("hard-outage: holds")[2].partition("```")[0]
        )
        rows = re.findall(r"^.+  ok$", shown, re.MULTILINE)
        assert len(rows) >= 5
        assert set(rows) <= set(said.splitlines())
