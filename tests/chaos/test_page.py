import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trio_gateway.chaos.page.document import render
from trio_gateway.chaos.page.filling import page_run_of
from trio_gateway.chaos.page.scales import durations, rates, shares, time_ticks
from trio_gateway.chaos.page.values import (
    Bands,
    FaultWindow,
    Load,
    Measured,
    PageAttempt,
    PageRequest,
    PageRun,
    PageTarget,
    StateSpan,
)
from trio_gateway.chaos.page.words import seconds_text, share_text
from trio_gateway.chaos.scenarios.expect import MEASURES
from trio_gateway.chaos.scenarios.load import load_scenario
from trio_gateway.chaos.scenarios.policies import make_policy, read_policy_document
from trio_gateway.chaos.scenarios.run import run_decisions
from trio_gateway.chaos.scenarios.texts import percent
from trio_gateway.failover.breaker import BreakerState

VOID = {"meta", "br", "hr", "link", "img", "input"}
BYTES_MAX = 1_500_000
EVIL = """<script>alert("1")</script>'&"""


class Reader(HTMLParser):
    """Reads a page as strictly as XML: whatever is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.captions = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.captions -= 1
        if tag == "caption":
            self.captions += 1
            assert self.open[-1] == "table"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def a_run(questions: int = 1200, buckets: int = 60, name: str = "two") -> PageRun:
    each = questions // buckets if buckets else 0
    states = (
        StateSpan(BreakerState.CLOSED, 0.0, 20.0),
        StateSpan(BreakerState.OPEN, 20.0, 40.0),
        StateSpan(BreakerState.RAMP, 40.0, 60.0),
    )
    return PageRun(
        title="an-outage",
        teaches="It teaches.",
        policy=name,
        seed=1,
        depth="decisions",
        digest="abc",
        duration_s=60.0,
        holds=True,
        verdict="Held: all is well.",
        questions=questions,
        answered=questions,
        failed=0,
        left=0,
        measures=tuple(Measured(measure, 0.5, 0.4) for measure in MEASURES),
        violations=(),
        load=Load(
            60.0 / max(1, buckets),
            (each,) * buckets,
            (each,) * buckets,
            tuple(None if at % 7 == 0 else 0.99 for at in range(buckets)),
        ),
        first_token=Bands(
            60.0 / max(1, buckets),
            (None, *(0.5,) * (buckets - 1)),
            (None, *(1.0,) * (buckets - 1)),
            (None, *(3.0,) * (buckets - 1)),
        ),
        targets=(
            PageTarget(
                id=f"{name}/model",
                attempts=questions,
                first_attempts=questions,
                failures=(("connect", 3),),
                peak=7,
                opened=1,
                over_time=(each,) * buckets,
                firsts=(each,) * buckets,
                states=states,
            ),
        ),
        faults=(FaultWindow(f"{name}/model", "connect", 20.0, 40.0, 0.25, (2.0, 3.0)),),
        worst=(
            PageRequest(
                21.0,
                4.0,
                "completed",
                (
                    PageAttempt("a", "first", 0.0, None, 2.0, "connect: refused", True),
                    PageAttempt("b", "failover", 2.0, 4.0, None, "answered", False),
                ),
            ),
        ),
    )


def an_empty_run() -> PageRun:
    return replace(
        a_run(),
        questions=0,
        answered=0,
        measures=tuple(Measured(measure, None) for measure in MEASURES),
        load=Load(60.0, (), (), ()),
        first_token=Bands(60.0, (), (), ()),
        targets=(),
        faults=(),
        worst=(),
        teaches="",
    )


def pages() -> dict[str, str]:
    run, other = a_run(), a_run(questions=10, buckets=12, name="three")
    failed = replace(
        other,
        holds=False,
        verdict="Failed: it did.",
        violations=("one winner for ever: 3",),
        evidence=("start", "refuse"),
        measures=tuple(replace(each, ok=False) for each in other.measures),
        policy_changes=("attempts.max: 3 -> 2",),
    )
    return {
        "one": render([run]),
        "few": render([other]),
        "failed": render([failed]),
        "empty": render([an_empty_run()]),
        "compared": render([run, failed]),
        "compared with nothing": render([run, an_empty_run()]),
        "many": render([run, failed, run, other]),
    }


@pytest.mark.parametrize("kind", list(pages()))
def test_every_page_is_well_formed(kind: str) -> None:
    reader = read(pages()[kind])

    assert reader.captions == 0, "every table has a caption"
    assert {"main", "h1", "table", "style"} <= {tag for tag, _ in reader.tags}


@pytest.mark.parametrize("kind", list(pages()))
def test_no_page_wants_anything_from_elsewhere(kind: str) -> None:
    page = pages()[kind]

    assert not re.search(r"https?:|[\"'(]//|fetch|@import|url\(|<link|<img|src=", page)


@pytest.mark.parametrize("kind", list(pages()))
def test_pictures_have_words_and_tables_have_heads(kind: str) -> None:
    tags = read(pages()[kind]).tags

    assert all(attrs.get("aria-label") for tag, attrs in tags if tag == "svg")
    assert all(
        attrs.get("scope") in ("row", "col") for tag, attrs in tags if tag == "th"
    )


def test_the_verdict_comes_first() -> None:
    page = render([a_run()])

    assert page.index("all is well") < page.index("<table")
    assert page.index("all is well") < page.index("<svg")


def test_whatever_is_written_in_files_is_text_only() -> None:
    run = a_run(name=EVIL)
    evil = replace(
        run,
        title=EVIL,
        teaches=EVIL,
        depth=EVIL,
        digest=EVIL,
        verdict=f"Failed: {EVIL}",
        holds=False,
        violations=(EVIL,),
        evidence=(EVIL,),
        command=EVIL,
        policy_changes=(EVIL,),
        targets=(replace(run.targets[0], failures=((EVIL, 1),)),),
        faults=(replace(run.faults[0], what=EVIL),),
        worst=(
            PageRequest(
                1.0, 2.0, EVIL, (PageAttempt(EVIL, EVIL, 0, None, 1, EVIL, True),)
            ),
        ),
    )
    for runs in ([evil], [evil, evil], [evil] * 3):
        reader = read(render(runs))
        scripts = [attrs for tag, attrs in reader.tags if tag == "script"]
        assert scripts == [{}], "its own, and no other"
        assert EVIL in reader.text
        assert {key for _, attrs in reader.tags for key in attrs} <= ATTRIBUTES


ATTRIBUTES = {
    *("lang", "charset", "name", "content", "class", "style", "title", "role", "id"),
    *("aria-label", "aria-labelledby", "aria-hidden", "tabindex", "scope", "colspan"),
    "data-duration",
    *("viewbox", "preserveaspectratio", "x", "y", "width", "height", "d"),
    *("x1", "x2", "y1", "y2"),
}


def test_a_page_stays_small_however_much_there_is_to_say() -> None:
    run = a_run(questions=100_000_000, buckets=240, name="n" * 80)
    states = tuple(
        StateSpan(
            BreakerState.OPEN if at % 2 else BreakerState.PROBE, at / 4, at / 4 + 0.25
        )
        for at in range(240)
    )
    targets = tuple(
        replace(run.targets[0], id=f"{'t' * 80}{at}", states=states)
        for at in range(100)
    )
    faults = tuple(
        FaultWindow(target.id, f"{kind} is wrong", at / 7, at / 7 + 0.001)
        for target in targets[:10]
        for kind in range(3)
        for at in range(420)
    )
    attempts = run.worst[0].attempts * 50
    worst = (replace(run.worst[0], attempts=attempts),) * 10
    huge = replace(run, targets=targets, faults=faults, worst=worst)

    page = render([huge, huge])

    read(page)
    assert len(page.encode()) < BYTES_MAX
    assert len(render([huge] * 2000).encode()) < BYTES_MAX


def test_a_target_with_many_faults_shows_those_at_its_end_as_well() -> None:
    run = a_run()
    faults = tuple(FaultWindow("t", "down", at / 7, at / 7 + 0.01) for at in range(400))

    page = render([replace(run, faults=faults)])

    assert "0:00 to 0:57" in read(page).text


def test_a_target_struck_in_many_ways_has_them_told_as_one() -> None:
    run = a_run()
    faults = tuple(FaultWindow("t", f"{at} slower", at, at + 0.5) for at in range(50))

    assert "50 kinds of faults" in read(render([replace(run, faults=faults)])).text


def test_a_target_that_another_policy_lacks_is_said_to_be_none_of_it() -> None:
    page = read(render([a_run(), a_run(name="three")]))

    assert page.text.count("Not a target of this policy.") == 2


def test_what_another_policy_changes_is_marked_better_or_worse() -> None:
    one = a_run()
    other = replace(one, measures=tuple(Measured(measure, 0.9) for measure in MEASURES))

    text = read(render([one, other])).text

    assert "▲ better" in text, "a greater availability is better"
    assert "▼ worse" in text, "a longer wait is worse"


def test_a_page_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        render([])


SCENARIO = """
version: 1
policy:
  version: 1
  providers:
    one: {kind: openai, base_url: "https://one.example/v1", api_key: "${ONE}"}
    two: {kind: openai, base_url: "https://two.example/v1", api_key: "${TWO}"}
  models:
    chat: {targets: [{provider: one, model: m}, {provider: two, model: m}]}
duration: %s
clients: {rate: %s}
weather:
  first: {fault: down, from: 10s, for: 20s}
expect: {availability: %s}
"""


def a_simulated(
    tmp_path: Path, *, rate: str, duration: str = "1m", availability: str = "90%"
) -> PageRun:
    file = tmp_path / "a-scenario.yaml"
    file.write_text(SCENARIO % (duration, rate, availability))
    scenario = load_scenario(file)
    policy = make_policy(read_policy_document(scenario.policy))
    run = run_decisions(scenario, policy, seed=1, label="a.yaml")
    return page_run_of(run, "trio-gateway simulate a-scenario.yaml")


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    one, other = (render([a_simulated(tmp_path, rate="5/s")]) for _ in range(2))

    assert one == other


def test_a_run_of_ten_requests_has_a_dozen_buckets(tmp_path: Path) -> None:
    run = a_simulated(tmp_path, rate="10/m")

    assert 10 <= len(run.load.offered) <= 13
    assert sum(run.load.offered) == run.questions
    read(render([run]))


def test_a_day_has_no_more_buckets_than_a_picture_has_room_for(tmp_path: Path) -> None:
    run = a_simulated(tmp_path, rate="5/m", duration="24h")

    assert len(run.load.offered) <= 240
    assert len(run.first_token.p99) <= 120
    assert len(render([run])) < BYTES_MAX


def test_a_run_tells_its_outage(tmp_path: Path) -> None:
    run = a_simulated(tmp_path, rate="20/s")
    first, second = run.targets

    assert run.verdict.startswith("Held: ")
    assert [(each.target, each.from_s, each.until_s) for each in run.faults] == [
        ("one/m", 10.0, 30.0)
    ]
    assert first.opened > 0
    assert [each.state for each in second.states] == [BreakerState.CLOSED]
    assert first.states[0].from_s == 0.0
    assert first.states[-1].until_s == run.duration_s
    assert sum(first.over_time) == first.attempts
    assert len(run.worst) == 10
    assert run.command.endswith("--seed 1")


def test_a_run_that_fails_says_by_how_much(tmp_path: Path) -> None:
    run = a_simulated(tmp_path, rate="1/m")
    (first, *rest) = run.measures
    failing = (replace(first, value=0.5, bound=0.9, ok=False), *rest)

    page = render([replace(run, measures=failing, holds=False)])

    assert "✗ failed" in page


def test_shares_are_rounded_down() -> None:
    assert share_text(1.0) == "100\u202f%"
    assert share_text(0.999) == "99.9\u202f%"
    assert share_text(0.99999) == "99.999\u202f%"
    assert share_text(0.999_999_999_9) != "100\u202f%"


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0.0, "0.00"),
        (0.99775, "99.77"),
        (0.999, "99.90"),
        (0.99999, "99.999"),
        (0.999_999_999_9, "99.999999"),
        (1.0, "100.00"),
    ],
)
def test_a_terminal_does_not_flatter_either(share: float, written: str) -> None:
    assert percent(share) == written


def test_durations_are_written_in_their_own_units() -> None:
    written = [seconds_text(each) for each in (0, 0.724, 1.0, 12.0, 300.0, 90000.0)]

    assert written == [
        *("0\u202fs", "724\u202fms", "1.00\u202fs", "12.0\u202fs", "5:00"),
        "25.0\u202fh",
    ]


@pytest.mark.parametrize("duration_s", [0.5, 7.0, 60.0, 601.0, 86_400.0, 1e7])
def test_an_axis_of_time_has_few_marks_in_order(duration_s: float) -> None:
    ticks = time_ticks(duration_s)

    assert ticks[0].place == 0.0
    assert len(ticks) <= 8
    assert all(0 <= tick.place <= 1 + 1e-9 for tick in ticks)


@pytest.mark.parametrize("highest", [0.0, 0.0001, 0.3, 1.0, 19.9, 1e6])
def test_every_value_has_its_place_on_its_axis(highest: float) -> None:
    rate, factor = rates([highest])
    wait = durations([highest, highest / 100])

    assert 0 <= rate.place(highest * factor) <= 1
    assert highest * factor <= rate.high * (1 + 1e-9)
    assert 0 <= wait.place(highest) <= 1
    assert shares([0.97]).low == 0.95
