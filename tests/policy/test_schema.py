"""The JSON Schema, looked at by an independent validator."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from tests.policy.test_load import REFUSED
from tests.policy.write_reference import schema_text, with_table
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.format import model
from trio_gateway.policy.format.reference import TABLES, key_of
from trio_gateway.policy.format.reference_text import table
from trio_gateway.policy.format.schema import policy_schema

POLICIES = Path(__file__).parents[2] / "policies"
FILES = [*sorted(POLICIES.glob("*.yaml")), Path(__file__).with_name("complete.yaml")]
SCHEMA = policy_schema()
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)

# What no schema can see: what two places say together, what names stand for, what a
# number or an address means.
BEYOND_A_SCHEMA: Final = {
    "nothing but a version",  # it is a part of a folder, perhaps
    "the address of an operation",
    "an azure address with a path",
    "an azure address as its portal shows it",
    "a credential said twice",
    "a date for a text",
    "a literal secret in a header",
    "a header of ours",
    "a literal password of a proxy",
    "unset variables",
    "references that are none",
    "a secret file that is not there",
    "secrets with a line end",
    "a secret file whose name steers a terminal",
    "a key that no header can carry",
    "a secret in place of a duration",
    "a secret in place of a provider",
    "two access keys of one name",
    "one access key of two names",
    "access to models that do not exist",
    "a provider that does not exist",
    "a provider misspelt",
    "a provider that would steer a terminal",
    "a target twice",
    "an override that is no JSON",
    "an override that is no number",
    "an override without end",
    "no duration at all",
    "soft after hard",
    "soft after an inherited hard",
    "a limit beyond its bound",
    "a backoff that shrinks",
    "a provider in other capitals",
    "a slug misspelt in an access key",
    "wide letters do not move the mark",
    "a date that there is in its own zone alone",
}


def as_data(value: object) -> object:
    """What a file says, as editors see it: dates are texts there."""
    match value:
        case dict():
            return {key: as_data(each) for key, each in value.items()}
        case list():
            return [as_data(each) for each in value]
        case date():
            return value.isoformat()
        case _:
            return value


def data(content: str) -> Any:
    """What a file says; None if YAML itself, or what it makes of it, is the problem."""
    document, problems = read_document("f.yaml", content.encode())
    if document is None or problems:
        return None
    return as_data(document.value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_policy_that_we_ship_is_valid(path: Path) -> None:
    VALIDATOR.validate(data(path.read_text()))


READABLE: Final = [(name, data(content)) for name, content, _ in REFUSED]


@pytest.mark.parametrize(
    ("name", "said"),
    [case for case in READABLE if case[1] is not None],
    ids=[name for name, said in READABLE if said is not None],
)
def test_a_refused_policy_is_invalid_unless_no_schema_could_see_why(
    name: str, said: Any
) -> None:
    assert VALIDATOR.is_valid(said) == (name in BEYOND_A_SCHEMA)


HOW_TO_WRITE: Final = "python -m tests.policy.write_reference writes it anew"


def test_the_file_that_editors_read_is_this_schema() -> None:
    written = (POLICIES / "policy.schema.json").read_text()
    assert written == schema_text(SCHEMA), HOW_TO_WRITE


def test_the_reference_has_every_key_with_type_default_and_example() -> None:
    written = (POLICIES / "README.md").read_text()
    assert written == with_table(written), HOW_TO_WRITE
    rows = table().splitlines()[3:-1]
    assert len(rows) == sum(len(each.keys) for each in TABLES)
    assert all(len(re.split(r" \| ", row)) == 5 for row in rows)


@pytest.mark.parametrize("path", FILES[:-1], ids=lambda path: path.name)
def test_an_example_names_the_schema_in_its_first_line(path: Path) -> None:
    first = path.read_text().partition("\n")[0]
    assert first == "# yaml-language-server: $schema=policy.schema.json"


def keys(part: Any) -> Iterator[dict[str, Any]]:
    """Every key that the schema explains."""
    for section in (part, *part["$defs"].values()):
        yield from section["properties"].values()


def test_every_key_is_explained_with_an_example_that_is_valid() -> None:
    explained = list(keys(SCHEMA))
    assert len(explained) > 80
    for key in explained:
        assert re.fullmatch(r"[A-Z].*[.]", key["description"]), key
        for value in (
            *key["examples"],
            *([key["default"]] if "default" in key else []),
        ):
            VALIDATOR.evolve(schema={**key, "$defs": SCHEMA["$defs"]}).validate(value)


def test_the_reference_says_something_of_each_key_and_of_no_other() -> None:
    for section in vars(model).values():
        if isinstance(section, type) and issubclass(section, model.Section):
            for name in section.model_fields:
                assert key_of(section, name).what
    for each in TABLES:
        assert set(each.keys) <= set(each.section.model_fields), each.path


def test_what_no_section_has_is_invalid_everywhere() -> None:
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        assert part["additionalProperties"] is False
