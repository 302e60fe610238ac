"""The operators' pages are JSON, and a person can read them without a tool."""

import json
from collections.abc import Iterator

import pytest
import trio

from trio_gateway.telemetry.exposition import Families, show_number
from trio_gateway.web.page import in_lines, metrics_response, page_response

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


async def test_others_run_while_a_long_page_is_written() -> None:
    page = {"targets": [{"id": f"a/{number}"} for number in range(2_000)]}
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        response = await page_response(page, depth=2)
        nursery.cancel_scope.cancel()

    assert turns >= 5
    assert json.loads(await response.get_data()) == page


async def test_others_run_between_the_parts_of_the_metrics() -> None:
    heard: list[str] = []

    def parts() -> Iterator[Families]:
        for name in ("one", "two", "three"):
            heard.append(name)
            part: Families = {}
            show_number(part, "gauge", name, "A number.", 1)
            yield part

    async def another() -> None:
        while "three" not in heard:
            heard.append("another")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        response = await metrics_response(parts())

    assert heard.index("one") < heard.index("another") < heard.index("three")
    assert (await response.get_data(as_text=False)).count(b"# TYPE") == 3
