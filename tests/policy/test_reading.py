"""YAML read with places, by whichever parser there is."""

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.policy.test_load import REFUSED
from trio_gateway.policy.files.reading import _QuickComposer, compose, read_document

COMPLETE = Path(__file__).with_name("complete.yaml").read_text()


def tree(node: yaml.Node | None) -> Any:
    """A node with the places of all that is in it."""
    if node is None:
        return None
    start, end = node.start_mark, node.end_mark
    at = (node.tag, start.line, start.column)
    match node:
        case yaml.ScalarNode():
            return (*at, end.line, end.column, node.value)
        case yaml.MappingNode():
            return (*at, [(tree(key), tree(value)) for key, value in node.value])
        case _:
            return (*at, [tree(item) for item in node.value])


def read(text: str, *, is_quick: bool) -> Any:
    try:
        return tree(compose(text, is_quick=is_quick))
    except RecursionError:
        return "an alias inside of itself"
    except yaml.YAMLError as error:
        return str(error)


@pytest.mark.skipif(_QuickComposer is None, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize(
    "text",
    [COMPLETE, *(content for name, content, _ in REFUSED if "alias" not in name)],
)
def test_libyaml_sees_the_same_at_the_same_places(text: str) -> None:
    assert read(text, is_quick=True) == read(text, is_quick=False)


@pytest.mark.skipif(_QuickComposer is None, reason="PyYAML was built without libyaml")
def test_libyaml_refuses_what_pyyaml_refuses() -> None:
    for seed in range(150):
        dice = random.Random(f"quick/{seed}")
        text = list(COMPLETE)
        for _ in range(dice.randrange(1, 4)):
            text[dice.randrange(len(text))] = dice.choice("\n :{}[]\"'$-#\t0é")
        mutilated = "".join(text)
        quick = read(mutilated, is_quick=True)
        plain = read(mutilated, is_quick=False)
        assert without_nothings(quick) == without_nothings(plain), f"seed {seed}"


def without_nothings(seen: Any) -> Any:
    """Without the places of values that are not written: parsers differ in them."""
    match seen:
        case ("tag:yaml.org,2002:null", *_):
            return None
        case tuple() | list():
            return [without_nothings(each) for each in seen]
        case _:
            return seen


def test_a_place_ends_behind_its_value_or_where_its_line_ends() -> None:
    text = b"version: 1\nproviders: {a: {base_url: x}}  # here\nmodels:\n  m: {}\n"
    document, _ = read_document("f.yaml", text)
    assert document is not None
    ends = {path: place.end_column for path, place in document.places.items()}
    assert ends["providers",] == 30
    assert ends["providers", "a"] == 29
    assert ends["models",] == 7
