"""Scenario files: the exact words of every report, and the schema that editors use.

The schema is looked at by an independent validator.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from tests.policy.test_load import refused
from tests.policy.test_schema import HOW_TO_WRITE, data, keys
from tests.policy.write_reference import schema_text
from trio_gateway.chaos.scenarios.forecast import FAULTS
from trio_gateway.chaos.scenarios.load import load_scenario
from trio_gateway.chaos.scenarios.schema import scenario_schema
from trio_gateway.policy.files.problems import PolicyError, Problem
from trio_gateway.policy.files.report import as_text

FOLDER: Final = Path(__file__).parents[2] / "policies" / "scenarios"
READY: Final = sorted(FOLDER.glob("*.yaml"))
SCHEMA: Final = scenario_schema()
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)
COMPLETE: Final = Path(__file__).with_name("complete_scenario.yaml")

# `...` in a refused scenario.
NEEDED: Final = """\
version: 1
policy: ../two-providers.yaml
duration: 10m
clients: {rate: 20/s}
"""

# What no schema can see: what numbers mean together.
BEYOND_A_SCHEMA: Final = {
    "a rate beyond all bounds",
    "an end before its beginning",
    "a distribution that descends",
}


REFUSED: Final = [
    (name, content.replace("...\n", NEEDED), report)
    for name, content, report in refused(
        Path(__file__).with_name("refused_scenarios.txt")
    )
]


def problems_of(file: Path) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load_scenario(file)
    return caught.value


@pytest.mark.parametrize(
    ("content", "report"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_a_refused_scenario_has_exactly_this_report(
    tmp_path: Path, content: str, report: str
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(content)
    error = problems_of(file)
    *said, count = as_text(error).replace(f"{tmp_path}/", "").split("\n")
    assert "\n".join(said) == report
    assert int(count.split()[0]) == len(error.problems)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("path", [*READY, COMPLETE], ids=lambda path: path.name)
def test_every_scenario_that_we_ship_is_valid(path: Path) -> None:
    VALIDATOR.validate(data(path.read_text()))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.name)
def test_a_scenario_names_the_schema_in_its_first_line(path: Path) -> None:
    first = path.read_text().partition("\n")[0]
    assert first == "# yaml-language-server: $schema=scenario.schema.json"


READABLE: Final = [(name, data(content)) for name, content, _ in REFUSED]


@pytest.mark.parametrize(
    ("name", "said"),
    [case for case in READABLE if case[1] is not None],
    ids=[name for name, said in READABLE if said is not None],
)
def test_a_refused_scenario_is_invalid_unless_no_schema_could_see_why(
    name: str, said: Any
) -> None:
    assert VALIDATOR.is_valid(said) == (name in BEYOND_A_SCHEMA)


def test_a_policy_inside_of_a_scenario_is_held_to_the_policies_schema() -> None:
    region = data((FOLDER / "region-down.yaml").read_text())
    assert VALIDATOR.is_valid(region)
    del region["policy"]["models"]["chat"]["targets"]
    assert not VALIDATOR.is_valid(region)


def test_the_file_that_editors_read_is_this_schema() -> None:
    written = (FOLDER / "scenario.schema.json").read_text()
    assert written == schema_text(SCHEMA), HOW_TO_WRITE


def test_every_key_is_explained_with_an_example_that_is_valid() -> None:
    explained = list(keys(SCHEMA))
    assert len(explained) > 120
    for key in explained:
        assert re.fullmatch(r"[A-Z].*[.]", key["description"]), key
        for value in (
            *key["examples"],
            *([key["default"]] if "default" in key else []),
        ):
            VALIDATOR.evolve(schema={**key, "$defs": SCHEMA["$defs"]}).validate(value)


# What stands in `complete_scenario.yaml`, by the section that the schema has for it.
SECTIONS: Final = {
    (): SCHEMA,
    **{
        path: SCHEMA["$defs"][name]
        for path, name in {
            ("targets", "first"): "Target",
            ("targets", "first", "capacity"): "Capacity",
            ("clients",): "Clients",
            ("clients", "library"): "Library",
            ("clients", "daily"): "Daily",
            ("clients", "bursts"): "Bursts",
            ("expect",): "Expect",
            ("expect", "first_token"): "Quantiles",
            ("weather", "first", 0, "flaps"): "Flaps",
        }.items()
    },
}


def known_to_the_loader(folder: Path, path: tuple[str | int, ...]) -> set[str]:
    """The keys of a section, as the loader lists them when it meets another one."""
    scenario: Any = yaml.safe_load(COMPLETE.read_text())
    section = scenario
    for step in path:
        section = section[step]
    section["§"] = 1
    file = folder / "s.yaml"
    file.write_text(yaml.safe_dump(scenario, allow_unicode=True))
    (problem,) = problems_of(file).problems
    return listed_in(problem)


def listed_in(problem: Problem) -> set[str]:
    assert problem.message == "is not a known key"
    words = re.fullmatch(r"Known are (.*)\.", problem.remedy)
    assert words is not None
    return set(re.split(r", | and ", words[1]))


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: ".".join(map(str, path)))
def test_the_schema_has_exactly_the_keys_that_the_loader_knows(
    tmp_path: Path, path: tuple[str | int, ...]
) -> None:
    assert known_to_the_loader(tmp_path, path) == set(SECTIONS[path]["properties"])


def weathers() -> Iterator[dict[str, Any]]:
    yield {"preset": "calm"}
    needed: dict[str, dict[str, Any]] = {
        "slow": {"factor": 8},
        "capacity": {"left": "20%"},
        "throttled": {"retry_after": "5s"},
    }
    for fault in FAULTS:
        yield {"fault": fault, **needed.get(fault, {})}


@pytest.mark.parametrize(
    "weather", list(weathers()), ids=lambda weather: next(iter(weather.values()))
)
def test_a_weather_may_have_what_the_loader_knows_of_it_and_nothing_else(
    tmp_path: Path, weather: dict[str, Any]
) -> None:
    file = tmp_path / "s.yaml"
    strange = yaml.safe_dump({"first": {**weather, "§": 1}}, allow_unicode=True)
    file.write_text(NEEDED + "weather:\n  " + strange.replace("\n", "\n  "))
    (problem,) = problems_of(file).problems
    known = listed_in(problem) - {"fault" if "preset" in weather else "preset"}

    properties = SCHEMA["$defs"]["Weather"]["properties"]
    validator = VALIDATOR.evolve(
        schema={"$ref": "#/$defs/Weather", "$defs": SCHEMA["$defs"]}
    )
    for key, explained in properties.items():
        written = {**weather, key: weather.get(key, explained["examples"][0])}
        assert validator.is_valid(written) == (key in known), key
