"""The report as people read it; its exact words are in `refused.txt`."""

import pytest

from trio_gateway.policy.files.problems import (
    PROBLEMS_SHOWN_MAX,
    PolicyError,
    Problem,
    Spot,
)
from trio_gateway.policy.files.report import Part, as_text
from trio_gateway.policy.load import read_policy


def refusal(*files: tuple[str, str]) -> PolicyError:
    sources = [(name, text.encode()) for name, text in files]
    with pytest.raises(PolicyError) as caught:
        read_policy(sources, environ={}, root="all")
    return caught.value


def test_so_many_problems_are_shown_and_the_others_counted() -> None:
    targets = "".join(f"  m{i}: {{targets: [{{provider: b}}]}}\n" for i in range(60))
    providers = "providers: {a: {base_url: https://a.test}}\n"
    error = refusal(("f.yaml", f"version: 1\n{providers}models:\n{targets}"))
    assert len(error.problems) >= 60
    more = len(error.problems) - PROBLEMS_SHOWN_MAX
    *_, said, count = as_text(error).split("\n")
    assert said == f"and {more} more"
    assert count == f"{len(error.problems)} problems"
    lines = str(error).split("\n")
    assert (len(lines), lines[-1]) == (PROBLEMS_SHOWN_MAX + 1, f"and {more} more")


def test_the_other_place_is_shown_in_its_own_file() -> None:
    provider = "version: 1\nproviders: {a: {base_url: https://a.test}}\n"
    models = "models: {m: {targets: [{provider: a, model: x}]}}\n"
    error = refusal(("a.yaml", provider + models), ("b.yaml", provider))
    assert as_text(error) == (
        "b.yaml:2:13: providers.a: is defined twice, see a.yaml:2:13. "
        "Keep one of them.\n"
        " 2 | providers: {a: {base_url: https://a.test}}\n"
        "   |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        " 2 | providers: {a: {base_url: https://a.test}}\n"
        "   |             -----------------------------\n"
        "1 problem"
    )


def test_what_has_no_place_or_no_source_has_no_excerpt() -> None:
    whole = Problem("f", None, None, "", "is gone", "Find it.")
    elsewhere = Problem("g", 3, 1, "a", "is wrong", "Mend it.", also=Spot("h", 1, 1))
    beyond = Problem("f", 9, 1, "a", "is wrong", "Mend it.")
    error = PolicyError([whole, elsewhere, beyond], [("f", b"x\n")])
    assert as_text(error).split("\n") == [
        "f: is gone. Find it.",
        "g:3:1: a: is wrong. Mend it.",
        "f:9:1: a: is wrong. Mend it.",
        "3 problems",
    ]


def test_each_part_can_look_its_part() -> None:
    seen: dict[Part, str] = {}

    def style(part: Part, text: str) -> str:
        seen.setdefault(part, text)
        return text

    twice = "version: 1\nproviders: {}\nproviders: {}\n"
    error = refusal(("f.yaml", twice))
    assert as_text(error, style=style) == as_text(error)
    assert seen[Part.MESSAGE] == "none is defined."
    assert seen[Part.PLACE] == "f.yaml:1:1: models:"
    assert seen[Part.OTHER_MARK] == "-------------"
    assert set(seen) == set(Part)


def test_a_line_that_would_steer_a_terminal_does_not() -> None:
    error = refusal(("f.yaml", "version: 1\nx: \x1b[2J\u202e\n"))
    assert " 2 | x: ?[2J?" in as_text(error)
