from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trio_gateway.failover.run import LENGTH, Run


def a_run(story: str) -> Run:
    """Requests in order of sending: `.` good, `x` failed, `s` slow, `n` neutral."""
    run = Run()
    for each in story:
        number = run.send()
        if each == "n":
            run.leave(number)
        elif each != "?":
            run.tell(number, {".": 0.0, "x": 1.0, "s": 0.5}[each])
    return run


def test_a_run_is_what_failed_without_anything_else_between() -> None:
    run = a_run(".xx?xsx")

    assert [run.around(n) for n in (1, 2)] == [2.0, 2.0]
    assert [run.around(n) for n in (4, 5, 6)] == [2.5] * 3


def test_a_run_before_a_good_one_is_over() -> None:
    for story in ("xxx.", "xxxn.", "xxx?.", "xxx?.?xx"):
        assert a_run(story).around(1) == 0.0


def test_an_older_good_one_does_not_bring_back_what_a_newer_one_ended() -> None:
    run = a_run("?x.")
    run.tell(0, 0.0)

    assert run.around(1) == 0.0


def test_a_good_one_that_fails_after_all_ends_no_run() -> None:
    run = a_run("xx.x.x.")
    for number, weight in ((6, 2.0), (4, 4.0), (2, 7.0)):
        run.tell(number, 1.0)
        assert run.around(5) == weight


def test_neutral_ends_are_skipped() -> None:
    assert a_run("nxnnxxn").around(4) == 3.0


def test_later_news_replace_earlier_ones() -> None:
    run = a_run("xs.x")
    run.tell(1, 1.0)
    run.tell(2, 1.0)

    assert run.around(3) == 4.0


def test_a_neutral_end_takes_no_news_back() -> None:
    run = a_run("xsx")
    run.leave(1)

    assert run.around(0) == 2.5


def test_it_counts_what_is_on_its_way() -> None:
    run = a_run("?x?.n?")
    assert run.unknown == 3

    run.tell(0, 1.0)
    run.leave(2)
    run.leave(2)
    run.tell(5, 0.5)
    run.tell(5, 1.0)
    assert run.unknown == 0


def test_what_is_too_old_is_forgotten() -> None:
    run = a_run("?" * (3 * LENGTH))
    assert run.unknown == LENGTH
    for number in range(2 * LENGTH):
        run.tell(number, 1.0)
        run.leave(number)
    assert run.unknown == LENGTH
    assert run.around(0) == 0.0

    for number in range(2 * LENGTH, 3 * LENGTH):
        run.tell(number, 1.0)
    assert run.unknown == 0
    assert run.around(3 * LENGTH - 1) == LENGTH


def test_numbers_begin_anew_when_it_is_cleared() -> None:
    run = a_run("xx?")
    run.clear()

    assert run.unknown == 0
    assert run.send() == 0
    run.tell(0, 1.0)
    assert run.around(0) == 1.0


@given(st.text("x.n?s", max_size=40), st.integers(0, 39))
def test_runs_are_the_pieces_without_unknown_ones_after_the_newest_good(
    story: str, at: int
) -> None:
    if at >= len(story) or story[at] not in "xs":
        return
    ends = [-1, *(n for n, each in enumerate(story) if each in ".?"), len(story)]
    (begin, end), *_ = [(a, b) for a, b in pairwise(ends) if a < at < b]
    piece = story[begin + 1 : end]
    weight = piece.count("x") + 0.5 * piece.count("s")

    assert a_run(story).around(at) == (0.0 if "." in story[at:] else weight)
