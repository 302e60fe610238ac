"""The operators' pages are JSON, and a person can read them without a tool."""

import json

import pytest

from trio_gateway.web.page import in_lines

PAGE = {"targets": [{"id": "a/m", "speeds": [1, 2]}, {"id": "b/m"}], "workers": []}


@pytest.mark.parametrize("depth", range(6))
def test_in_however_many_lines_it_is_the_same_json(depth: int) -> None:
    assert json.loads(in_lines(PAGE, depth)) == PAGE


def test_to_its_depth_everything_has_a_line_of_its_own() -> None:
    assert in_lines(PAGE, 2).splitlines() == [
        "{",
        '  "targets": [',
        '    {"id": "a/m", "speeds": [1, 2]},',
        '    {"id": "b/m"}',
        "  ],",
        '  "workers": []',
        "}",
    ]


@pytest.mark.parametrize("value", [{}, [], (), None, "x\ny", 1.5, True])
def test_what_has_no_entries_is_one_line(value: object) -> None:
    assert in_lines(value, 3) == json.dumps(value)
