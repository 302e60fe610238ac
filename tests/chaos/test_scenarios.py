from collections.abc import Iterable
from pathlib import Path

import pytest

from trio_gateway.chaos.scenarios.forecast import FAULTS, PRESETS
from trio_gateway.chaos.scenarios.load import Scenario, load_scenario
from trio_gateway.chaos.scenarios.policies import (
    changed,
    make_policy,
    read_policy_document,
)
from trio_gateway.chaos.scenarios.run import Run, run_decisions
from trio_gateway.chaos.scenarios.worlds import setting_of
from trio_gateway.chaos.vocabulary.script import UnderWay
from trio_gateway.chaos.worlds import presets as upstream_presets
from trio_gateway.chaos.worlds.outline import Fails, Hangs
from trio_gateway.chaos.worlds.world import Slows, Spell
from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.route import Policy

HEAD = """\
version: 1
duration: 30s
clients: {rate: 10/s}
policy:
  version: 1
  providers:
    a: {base_url: "https://a.test/v1", api_key: "${A}", failure_domain: one}
    b: {base_url: "https://b.test/v1", api_key: "${file:/run/b}", failure_domain: one}
    c: {base_url: "https://c.test/v1", api_key: "${C}"}
  access_keys: [{name: app, key: "${APP}"}]
  models:
    chat:
      targets:
        - {provider: a, model: m}
        - {provider: b, model: m}
        - {provider: c, model: m}
"""


def load(folder: Path, text: str) -> Scenario:
    file = folder / "play.yaml"
    file.write_text(HEAD + text)
    return load_scenario(file)


def policy_of(scenario: Scenario) -> Policy:
    return make_policy(read_policy_document(scenario.policy))


def run(scenario: Scenario, *, seed: int = 1) -> Run:
    return run_decisions(scenario, policy_of(scenario), seed=seed)


def struck(folder: Path, weather: str) -> set[str]:
    """The targets that a weather strikes."""
    scenario = load(folder, f"weather: {weather}\n")
    world = setting_of(scenario, policy_of(scenario), "1").world
    return {target_id for target_id, spec in world.targets.items() if spec.spells}


def test_a_policy_in_a_scenario_needs_no_secrets(tmp_path: Path) -> None:
    policy = policy_of(load(tmp_path, ""))
    assert [target.id for target in policy.routes["chat"].targets] == [
        "a/m",
        "b/m",
        "c/m",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("a", "a"),
        ("b/m", "b"),
        ("one", "ab"),
        ("first", "a"),
        ("third", "c"),
        ("others", "bc"),
        ("all", "abc"),
    ],
)
def test_weather_is_given_by_name_domain_or_place(
    tmp_path: Path, name: str, meant: str
) -> None:
    assert struck(tmp_path, f"{{{name}: {{fault: down}}}}") == {
        f"{each}/m" for each in meant
    }


PROBLEMS = [
    ("weather: {a: {fault: dwon}}", ":18:", "Did you mean down?"),
    ("weather: {a: {fault: down, frmo: 2m}}", ":18:", "Did you mean from?"),
    ("weather: {a: {fault: slow}}", ":18:", "factor: is missing"),
    ("weather: {a: {fault: down, from: 2m, until: 1m}}", ":18:", "not after `from`"),
    ("weather: {a: {fault: down, for: 30}}", ":18:", "Write 30s."),
    ("weather: {a: {fault: errors, share: 25}}", ":18:", "Write 25%."),
    ("weather: {a: {preset: brown_out}}", ":18:", "Did you mean brownout?"),
    ("weather: {a: down}", ":18:", "must be a mapping"),
    ("expect: {availabilty: 99%}", ":18:", "Did you mean availability?"),
    ("expect: {first_token: {p90: 1s}}", ":18:", "is not a known key"),
    ("expect: {amplification: 0.5}", ":18:", "is below 1"),
    ("targets: {a: {first_token: gpt-4}}", ":18:", "Did you mean gpt-4o?"),
    ("targets: {a: {capacity: {}}}", ":18:", "slots: is missing"),
    ("wether: {}", ":18:", "Did you mean weather?"),
    ("seed: 1.5", ":18:", "must be a whole number"),
]


@pytest.mark.parametrize(("line", "place", "said"), PROBLEMS)
def test_a_problem_is_told_with_its_place_and_a_remedy(
    tmp_path: Path, line: str, place: str, said: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, f"\n{line}\n")
    (problem,) = caught.value.problems
    assert place in str(problem)
    assert said in str(problem)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, "weather: {a: {fault: dwon}}\nexpect: {x: 1}\nsed: 1\n")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("weather: {aa: {fault: down}}", "is no target of these models"),
        ("targets: {elsewhere: {}}", "Write a/m, a, one, b/m, b, c/m and c"),
    ],
)
def test_a_name_that_the_policy_lacks_is_told(
    tmp_path: Path, text: str, said: str
) -> None:
    scenario = load(tmp_path, text)
    with pytest.raises(PolicyError, match=said):
        setting_of(scenario, policy_of(scenario), "1")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("down", FailureClass.CONNECT),
        ("errors, status: 500", FailureClass.SERVER_ERROR),
        ("throttled, retry_after: 7s, hint: google", FailureClass.RATE_LIMIT),
        ("auth", FailureClass.AUTH),
        ("quota", FailureClass.QUOTA),
    ],
)
def test_an_error_is_read_as_its_bytes_would_be(
    tmp_path: Path, fault: str, kind: FailureClass
) -> None:
    scenario = load(tmp_path, f"weather: {{a: {{fault: {fault}}}}}")
    world = setting_of(scenario, policy_of(scenario), "1").world
    (spell,) = world.targets["a/m"].spells
    assert isinstance(spell.effect, Fails)
    assert spell.effect.failure.kind is kind
    if kind is FailureClass.RATE_LIMIT:
        assert spell.effect.failure.retry_after_s == 7.0


def test_a_preset_can_be_begun_later_and_run_faster(tmp_path: Path) -> None:
    text = "weather: {a: {preset: blackout, from: 10s, speed: 3600}}"
    scenario = load(tmp_path, text)
    world = setting_of(scenario, policy_of(scenario), "1").world
    (spell,) = world.targets["a/m"].spells
    assert isinstance(spell.effect, Hangs)
    assert (spell.from_s, spell.until_s) == (10.0, 14.0)


def spells_of(folder: Path, weather: str) -> list[list[Spell]]:
    """Each target's, under a weather."""
    scenario = load(folder, f"weather: {{{weather}}}\n")
    world = setting_of(scenario, policy_of(scenario), "1").world
    return [list(target.spells) for target in world.targets.values()]


def fates_of(spells: Iterable[Spell]) -> set[UnderWay]:
    return {spell.under_way for spell in spells}


NEEDED = {"slow": ", factor: 8", "capacity": ", left: 20%"}
TAKEN_ALONG = {"down": UnderWay.RESET, "black_hole": UnderWay.SILENT}


@pytest.mark.parametrize("fault", FAULTS)
def test_whoever_is_gone_takes_open_answers_along_unless_it_is_said_otherwise(
    tmp_path: Path, fault: str
) -> None:
    text = f"fault: {fault}, from: 9s{NEEDED.get(fault, '')}"
    (usual, *_) = spells_of(tmp_path, f"a: {{{text}}}")
    assert fates_of(usual) == {TAKEN_ALONG.get(fault, UnderWay.GOES_ON)}
    for fate in UnderWay:
        (said, *_) = spells_of(tmp_path, f"a: {{{text}, under_way: {fate}}}")
        assert fates_of(said) == {fate}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_takes_along_what_the_same_one_of_an_upstream_does(
    tmp_path: Path, name: str
) -> None:
    (spells, *_) = spells_of(tmp_path, f"a: {{preset: {name}, from: 9s}}")
    faults = upstream_presets.PRESETS[name].faults
    assert fates_of(spells) == {fault.under_way for fault in faults}


def test_a_domain_that_goes_down_takes_along_what_is_open_at_each_of_its_targets(
    tmp_path: Path,
) -> None:
    flaps = "{down: 2s, up: 3s}"
    a, b, c = spells_of(tmp_path, f"one: {{fault: down, from: 9s, flaps: {flaps}}}")
    assert fates_of(a) == fates_of(b) == {UnderWay.RESET}
    assert not c


def test_weather_of_a_failure_domain_is_the_same_for_its_targets(
    tmp_path: Path,
) -> None:
    scenario = load(tmp_path, "weather: {one: {preset: partial25}}")
    world = setting_of(scenario, policy_of(scenario), "1").world
    assert world.targets["a/m"].spells == world.targets["b/m"].spells


def test_a_daily_load_is_lowest_at_night_and_bursts_come_on_top(
    tmp_path: Path,
) -> None:
    scenario = load(tmp_path, "")
    text = (tmp_path / "play.yaml").read_text()
    load_words = "{rate: 10/s, daily: {lowest: 20%, day: 48s}, "
    load_words += "bursts: {factor: 5, every: 10s, for: 1s}}"
    (tmp_path / "play.yaml").write_text(text.replace("{rate: 10/s}", load_words))
    scenario = load_scenario(tmp_path / "play.yaml")
    crowds = setting_of(scenario, policy_of(scenario), "1").world.clients
    rates = {crowd.from_s: crowd.rate_per_s for crowd in crowds}
    assert rates[1.0] < 2.5
    assert 9.5 < rates[24.0] <= 10.0
    assert rates[20.0] > 30.0
    assert sum(crowd.until_s - crowd.from_s for crowd in crowds) == 30.0


def test_an_expectation_that_is_not_met_names_its_number(tmp_path: Path) -> None:
    scenario = load(
        tmp_path,
        "weather: {all: {fault: down, from: 10s, for: 10s}}\n"
        "expect: {availability: 99%, first_token: {p50: 5s}}\n",
    )
    ran = run(scenario)
    assert [verdict.holds for verdict in ran.verdicts] == [False, True]
    assert 0.5 < (ran.verdicts[0].measured or 0) < 0.9
    assert not ran.holds
    assert ran.witness.broken is None


def test_the_ten_slowest_are_kept_with_their_attempts(tmp_path: Path) -> None:
    scenario = load(tmp_path, "weather: {a: {fault: slow, factor: 30, from: 5s}}")
    worst = run(scenario).witness.worst
    waits = [each.wait_s for each in worst]
    assert len(worst) == 10
    assert waits == sorted(waits, reverse=True)
    assert any(len(each.attempts) > 1 for each in worst)


def test_a_change_of_the_policy_is_as_if_it_had_been_written(tmp_path: Path) -> None:
    document = read_policy_document(load(tmp_path, "").policy)
    key = "defaults.timeouts.first_token.soft"
    policy = make_policy(changed(document, key, "2s"))
    assert policy.routes["chat"].timeouts.first_token.soft_s == 2.0
    tier = make_policy(changed(document, "models.chat.targets[1].model", "n"))
    assert tier.routes["chat"].targets[1].id == "b/n"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("defaults.timeout.total", "2s"),
        ("models.chat.targets[9].model", "x"),
        ("defaults.timeouts.total", "2"),
    ],
)
def test_a_change_that_cannot_be_is_a_problem(
    tmp_path: Path, key: str, value: str
) -> None:
    document = read_policy_document(load(tmp_path, "").policy)
    with pytest.raises(PolicyError):
        make_policy(changed(document, key, value))


def test_slows_strike_while_they_last(tmp_path: Path) -> None:
    scenario = load(tmp_path, "weather: {a: {fault: slow, factor: 8, share: 50%}}")
    world = setting_of(scenario, policy_of(scenario), "1").world
    (spell,) = world.targets["a/m"].spells
    assert spell.effect == Slows(8.0)
    assert spell.share == 0.5
