from collections.abc import Iterable
from dataclasses import replace
from random import Random
from statistics import mean

import pytest

from tests.factories import BREAKER
from trio_gateway.failover.breaker import (
    RAMP_S,
    Breaker,
    BreakerState,
    Sent,
)
from trio_gateway.failover.view import describe_breaker
from trio_gateway.policy.route import BreakerRules

CLOSED, OPEN, PROBE, RAMP = BreakerState

# Only runs can trip it, or only shares: so that a test is about one rule.
BY_RUN = replace(BREAKER, min_samples=10**9)
BY_SHARE = replace(BREAKER, consecutive=10**9)


class Top(Random):
    """Draws the greatest: an opening lasts as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


def a_breaker(rules: BreakerRules = BREAKER) -> Breaker:
    return Breaker(rules, Top())


def good(breaker: Breaker, now: float) -> Sent:
    sent = breaker.sent()
    breaker.committed(now, sent)
    return sent


def bad(breaker: Breaker, now: float, cause: str = "HTML") -> Sent:
    sent = breaker.sent()
    breaker.failed(now, sent, cause)
    return sent


def slow(breaker: Breaker, now: float) -> Sent:
    sent = breaker.sent()
    breaker.was_slow(now, sent)
    return sent


def broken(breaker: Breaker, now: float) -> None:
    """Its answer begins well and breaks."""
    breaker.failed(now, good(breaker, now), "cut")


def play(breaker: Breaker, story: Iterable[str], now: float = 0.0) -> None:
    """Let `.` go well, `x` fail, `s` be slow, `b` break; all now, until it opens."""
    acts = {".": good, "x": bad, "s": slow, "b": broken}
    for act in story:
        acts[act](breaker, now)


def an_open(rules: BreakerRules = BY_RUN, now: float = 0.0) -> Breaker:
    breaker = a_breaker(rules)
    play(breaker, "xxxxx", now)
    assert breaker.state(now) is OPEN
    return breaker


def a_probing() -> tuple[Breaker, float]:
    breaker = an_open()
    now = breaker.open_until
    assert breaker.state(now) is PROBE
    return breaker, now


def a_ramping() -> tuple[Breaker, float]:
    breaker, now = a_probing()
    for _ in range(2):
        breaker.committed(now, breaker.take_probe(now))
    assert breaker.state(now) is RAMP
    return breaker, now


def probe_failed(breaker: Breaker) -> None:
    """Wait for its end, and fail."""
    now = breaker.open_until
    breaker.failed(now, breaker.take_probe(now), "refused")


# When it opens: in a row


def test_a_new_target_is_trusted() -> None:
    breaker = a_breaker()

    assert breaker.state(0.0) is CLOSED
    assert breaker.share(0.0) == 1.0
    assert breaker.opened_at == breaker.open_until == float("-inf")


def test_the_fifth_failure_in_a_row_opens() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xxxx")
    assert breaker.state(0.0) is CLOSED

    bad(breaker, 0.0, "HTML")

    assert breaker.state(0.0) is OPEN
    assert breaker.cause == "5 in a row: HTML"
    assert breaker.share(0.0) == 0.0
    assert breaker.opened_at == breaker.since == 0.0


def test_a_good_answer_ends_a_run() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xxxx.xxxx")

    assert breaker.state(0.0) is CLOSED


def test_the_operator_says_how_many_in_a_row() -> None:
    breaker = a_breaker(replace(BY_RUN, consecutive=1))
    bad(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_a_slow_request_weighs_half_a_failure() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "sssssssss")
    assert breaker.state(0.0) is CLOSED

    slow(breaker, 0.0)

    assert breaker.state(0.0) is OPEN
    assert breaker.cause == "5 in a row: slow"


def test_a_slow_request_that_fails_weighs_one_failure_in_all() -> None:
    breaker = a_breaker(BY_RUN)
    for _ in range(4):
        breaker.failed(0.0, slow(breaker, 0.0), "first token late")
    slow(breaker, 0.0)
    assert breaker.state(0.0) is CLOSED

    bad(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_a_slow_request_whose_answer_is_poor_weighs_no_less_for_it() -> None:
    breaker = a_breaker(BY_RUN)
    for _ in range(9):
        breaker.failed(0.0, slow(breaker, 0.0), "a trickle", weight=0.25)
    assert breaker.state(0.0) is CLOSED

    slow(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_a_late_commit_does_not_end_a_run() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xxxx")
    breaker.committed(0.0, slow(breaker, 0.0))

    slow(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_a_poor_answer_weighs_what_it_is_given() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xxxx")
    breaker.failed(0.0, breaker.sent(), "a trickle", weight=0.5)
    assert breaker.state(0.0) is CLOSED

    breaker.failed(0.0, breaker.sent(), "a trickle", weight=0.5)

    assert breaker.state(0.0) is OPEN


def test_answers_that_begin_well_and_break_are_a_run_of_failures() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "bbbb")
    assert breaker.state(0.0) is CLOSED

    broken(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_an_answer_that_breaks_adds_to_the_failures_sent_after_it() -> None:
    breaker = a_breaker(BY_RUN)
    first = good(breaker, 0.0)
    play(breaker, "xxxx")

    breaker.failed(0.0, first, "cut")

    assert breaker.state(0.0) is OPEN


def test_answers_to_what_was_sent_before_an_outage_do_not_hide_it() -> None:
    breaker = a_breaker(BY_RUN)
    before = [breaker.sent() for _ in range(10)]
    play(breaker, "xx")
    for sent in before:
        breaker.committed(0.0, sent)
    play(breaker, "xx")
    assert breaker.state(0.0) is CLOSED

    bad(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_failures_among_requests_still_on_their_way_are_no_run() -> None:
    breaker = a_breaker()
    for _ in range(100):
        for _ in range(3):
            breaker.sent()
        bad(breaker, 0.0)

    assert breaker.state(0.0) is CLOSED


def test_the_news_that_was_missing_in_a_run_completes_it() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xx")
    missing = breaker.sent()
    play(breaker, "xx")
    assert breaker.state(0.0) is CLOSED

    breaker.failed(1.0, missing, "first token late")

    assert breaker.state(1.0) is OPEN


def test_a_run_is_over_however_late_its_news_if_a_later_request_went_well() -> None:
    breaker = a_breaker(BY_RUN)
    hung = [breaker.sent() for _ in range(10)]
    good(breaker, 1.0)
    for sent in hung:
        breaker.failed(60.0, sent, "first token late")

    assert breaker.state(60.0) is CLOSED


def test_an_old_answer_that_breaks_does_not_bring_an_old_run_back() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "xxxx")
    old = good(breaker, 0.0)
    good(breaker, 1.0)

    breaker.failed(2.0, old, "cut")

    assert breaker.state(2.0) is CLOSED


# When it opens: by share


def test_half_of_ten_requests_failing_opens() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "xxxx.....")
    assert breaker.state(0.0) is CLOSED

    bad(breaker, 0.0)

    assert breaker.state(0.0) is OPEN
    assert breaker.cause == "5 of 10 failed: HTML"


def test_what_is_on_its_way_counts_among_those_of_which_half_must_fail() -> None:
    breaker = a_breaker(BY_SHARE)
    waiting = [breaker.sent() for _ in range(10)]
    play(breaker, "xxxxx")
    assert breaker.state(0.0) is CLOSED

    for sent in waiting[:4]:
        breaker.neutral(sent)  # they were not, after all
    bad(breaker, 0.0)

    assert breaker.cause == "6 of 12 failed: HTML"


def test_what_is_on_its_way_makes_a_short_window_long_enough_to_judge() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "." * 100, 0.0)
    for _ in range(5):
        breaker.sent()
    play(breaker, "xxxx", 11.0)
    assert breaker.state(11.0) is CLOSED

    bad(breaker, 11.0)

    assert breaker.cause == "5 of 10 failed: HTML"


def test_less_than_half_failing_does_not_open() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "......xxxxx")

    assert breaker.state(0.0) is CLOSED


def test_nine_requests_are_too_few_to_judge_by_share() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "xxxxxxxxx")

    assert breaker.state(0.0) is CLOSED


def test_the_share_is_that_of_the_window() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "." * 100, 0.0)
    play(breaker, ".....xxxx", 11.0)
    assert breaker.state(11.0) is CLOSED

    bad(breaker, 11.0)

    assert breaker.state(11.0) is OPEN


def test_at_low_traffic_the_share_is_that_of_a_minute() -> None:
    breaker = a_breaker(BY_SHARE)
    for n, act in enumerate(".x.x.x.x."):
        play(breaker, act, 6.0 * n)
    assert breaker.state(48.0) is CLOSED

    bad(breaker, 53.0)

    assert breaker.state(53.0) is OPEN


def test_what_is_older_than_a_minute_is_no_evidence() -> None:
    breaker = a_breaker(BY_SHARE)
    for n in range(100):
        bad(breaker, 7.0 * n)

    assert breaker.state(700.0) is CLOSED


def test_two_failures_are_an_anecdote_whatever_their_share() -> None:
    breaker = a_breaker(replace(BY_SHARE, min_samples=2))
    play(breaker, "xx")
    assert breaker.state(0.0) is CLOSED

    bad(breaker, 0.0)

    assert breaker.state(0.0) is OPEN


def test_slow_requests_count_by_half_in_the_share_and_once_each() -> None:
    breaker = a_breaker(BY_SHARE)
    for _ in range(9):
        breaker.committed(0.0, slow(breaker, 0.0))
    assert breaker.state(0.0) is CLOSED

    slow(breaker, 0.0)

    assert breaker.cause == "5 of 10 failed: slow"


def test_an_answer_that_breaks_counts_once_and_as_a_failure() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "bbbb.....")
    assert breaker.state(0.0) is CLOSED

    broken(breaker, 0.0)

    assert breaker.cause == "5 of 10 failed: cut"


# How long it stays open


def test_it_is_left_alone_twice_as_long_each_time_and_at_most_half_a_minute() -> None:
    breaker = an_open()
    lasted = []
    for _ in range(6):
        lasted.append(breaker.open_until - breaker.since)
        probe_failed(breaker)

    assert lasted == [5, 10, 20, 30, 30, 30]


@pytest.mark.parametrize("trips", range(1, 6))
def test_the_time_open_is_spread_over_its_upper_half(trips: int) -> None:
    most_s = min(30.0, 5.0 * 2 ** (trips - 1))
    lasted = []
    for seed in range(200):
        breaker = Breaker(BY_RUN, Random(f"open/{seed}"))
        play(breaker, "xxxxx")
        for _ in range(trips - 1):
            probe_failed(breaker)
        lasted.append(breaker.open_until - breaker.since)

    assert most_s / 2 <= min(lasted) < 0.55 * most_s
    assert 0.95 * most_s < max(lasted) <= most_s


def test_a_base_above_the_maximum_is_the_maximum() -> None:
    breaker = an_open(replace(BY_RUN, open_base_s=60.0))

    assert breaker.open_until == 30.0


def test_a_long_outage_is_forgotten_as_soon_as_one_that_just_reached_the_top() -> None:
    breaker = an_open()
    for _ in range(500):
        probe_failed(breaker)

    assert breaker.trips(breaker.since) == 4


def test_a_doubling_is_forgotten_for_every_five_minutes_closed() -> None:
    breaker = an_open()
    probe_failed(breaker)
    probe_failed(breaker)
    now = breaker.open_until
    for _ in range(2):
        breaker.committed(now, breaker.take_probe(now))
    closed_at = now + RAMP_S

    after = (0.0, 299.0, 300.0, 599.0, 600.0, 900.0, 1e6)
    counted = [breaker.trips(closed_at + after_s) for after_s in after]
    assert counted == [3, 3, 2, 2, 1, 0, 0]

    play(breaker, "xxxxx", closed_at + 1e6)
    assert breaker.open_until == closed_at + 1e6 + 5.0


def test_time_spent_open_forgets_nothing() -> None:
    breaker = an_open()
    probe_failed(breaker)

    assert breaker.state(1e6) is PROBE
    assert breaker.trips(1e6) == 2

    breaker, now = a_ramping()
    breaker.state(now + RAMP_S)
    play(breaker, "xxxxx", now + RAMP_S)
    assert breaker.state(1e6) is PROBE
    assert describe_breaker(breaker, 2e6).trips == 2


# Probing


def test_it_is_probed_when_its_time_is_over() -> None:
    breaker = an_open()
    assert breaker.state(4.9) is OPEN
    assert not breaker.is_probe_free(4.9)

    assert breaker.state(5.0) is PROBE
    assert breaker.is_probe_free(5.0)
    assert breaker.share(5.0) == 0.0
    assert breaker.state(1e9) is PROBE


def test_a_state_began_when_it_was_due_and_not_when_it_was_seen() -> None:
    breaker = an_open()
    assert breaker.state(100.0) is PROBE
    assert breaker.since == 5.0

    breaker, now = a_ramping()
    assert breaker.state(now + 100.0) is CLOSED
    assert breaker.since == now + 10.0


def test_there_is_one_probe_at_a_time() -> None:
    breaker, now = a_probing()
    breaker.take_probe(now)

    assert not breaker.is_probe_free(now)
    with pytest.raises(AssertionError):
        breaker.take_probe(now)


def test_a_second_good_probe_begins_the_ramp() -> None:
    breaker, now = a_probing()
    breaker.committed(now, breaker.take_probe(now))
    assert breaker.state(now) is PROBE
    assert breaker.is_probe_free(now)

    breaker.committed(now + 1, breaker.take_probe(now))

    assert breaker.state(now + 1) is RAMP
    assert breaker.since == now + 1


def test_a_failed_probe_opens_for_longer() -> None:
    breaker, now = a_probing()
    breaker.committed(now, breaker.take_probe(now))
    breaker.failed(now, breaker.take_probe(now), "refused")

    assert breaker.state(now) is OPEN
    assert breaker.trips(now) == 2
    assert breaker.cause == "probe failed: refused"

    # The success before it is forgotten.
    now = breaker.open_until
    breaker.committed(now, breaker.take_probe(now))
    assert breaker.state(now) is PROBE


def test_a_poor_answer_to_a_probe_is_no_verdict() -> None:
    breaker, now = a_probing()
    breaker.failed(now, breaker.take_probe(now), "a trickle", weight=0.5)

    assert breaker.state(now) is PROBE
    assert breaker.is_probe_free(now)


def test_a_probe_whose_answer_breaks_has_failed() -> None:
    breaker, now = a_probing()
    probe = breaker.take_probe(now)
    breaker.committed(now, probe)

    breaker.failed(now, probe, "cut")

    assert breaker.state(now) is OPEN


def test_a_slow_probe_is_no_verdict_and_keeps_its_slot() -> None:
    breaker, now = a_probing()
    probe = breaker.take_probe(now)
    breaker.was_slow(now, probe)
    assert breaker.state(now) is PROBE
    assert not breaker.is_probe_free(now)

    breaker.committed(now, probe)
    assert breaker.is_probe_free(now)
    breaker.committed(now, breaker.take_probe(now))
    assert breaker.state(now) is PROBE  # one success, not two


def test_two_slow_probes_in_a_row_have_failed() -> None:
    breaker, now = a_probing()
    first = breaker.take_probe(now)
    breaker.was_slow(now, first)
    breaker.neutral(first)

    breaker.was_slow(now, breaker.take_probe(now))

    assert breaker.state(now) is OPEN
    assert breaker.trips(now) == 2
    assert breaker.cause == "slow probes"


def test_a_good_probe_between_two_slow_ones_saves_them() -> None:
    breaker, now = a_probing()
    for is_slow in (True, False, True):
        probe = breaker.take_probe(now)
        if is_slow:
            breaker.was_slow(now, probe)
        breaker.committed(now, probe)

    assert breaker.state(now) is PROBE


def test_a_slow_probe_of_an_earlier_probing_is_forgotten() -> None:
    breaker, now = a_probing()
    breaker.was_slow(now, probe := breaker.take_probe(now))
    breaker.failed(now, probe, "first token late")
    now = breaker.open_until

    breaker.was_slow(now, breaker.take_probe(now))

    assert breaker.state(now) is PROBE


def test_a_slow_probe_that_fails_has_failed() -> None:
    breaker, now = a_probing()
    probe = breaker.take_probe(now)
    breaker.was_slow(now, probe)
    breaker.failed(now, probe, "first token late")

    assert breaker.state(now) is OPEN


def test_a_neutral_end_gives_the_slot_back_and_stays() -> None:
    breaker, now = a_probing()
    breaker.neutral(breaker.take_probe(now))

    assert breaker.state(now) is PROBE
    assert breaker.is_probe_free(now)


def test_a_probe_gives_back_its_own_slot_only() -> None:
    breaker, now = a_probing()
    first = breaker.take_probe(now)
    breaker.committed(now, first)
    second = breaker.take_probe(now)

    breaker.neutral(first)  # its client leaves in the middle of the answer

    assert not breaker.is_probe_free(now)
    breaker.neutral(second)
    assert breaker.is_probe_free(now)


def test_a_probe_that_outlives_its_state_still_holds_the_slot() -> None:
    breaker, now = a_probing()
    first = breaker.take_probe(now)
    breaker.committed(now, first)
    second = breaker.take_probe(now)
    breaker.failed(now, first, "cut")
    now = breaker.open_until
    assert breaker.state(now) is PROBE
    assert not breaker.is_probe_free(now)

    breaker.failed(now, second, "first token late")

    assert breaker.state(now) is PROBE  # it was sent before the last opening
    assert breaker.is_probe_free(now)


def test_a_good_answer_to_a_last_resort_ends_the_opening() -> None:
    breaker = an_open()
    good(breaker, 1.0)
    assert breaker.state(1.0) is PROBE
    assert breaker.since == 1.0

    breaker.committed(1.0, breaker.take_probe(1.0))

    assert breaker.state(1.0) is RAMP


def test_a_last_resort_that_fails_or_is_slow_changes_nothing() -> None:
    breaker = an_open()
    sent = [breaker.sent() for _ in range(20)]
    before = describe_breaker(breaker, 1.0)
    for one in sent:
        breaker.was_slow(1.0, one)
    for one in sent[:10]:
        breaker.failed(1.0, one, "HTML")
    assert describe_breaker(breaker, 1.0) == before

    now = breaker.open_until
    for one in sent[10:]:
        breaker.failed(now, one, "HTML")
    assert breaker.state(now) is PROBE


# Ramping


def test_a_ramp_gives_a_tenth_at_first_and_everything_after_ten_seconds() -> None:
    breaker, now = a_ramping()
    after = (0.0, 0.5, 2.5, 9.0, 10.0)

    assert [breaker.share(now + s) for s in after] == pytest.approx(
        [0.1, 0.1, 0.25, 0.9, 1.0]
    )
    assert breaker.state(now + 10.0) is CLOSED
    assert breaker.since == now + 10.0


def test_failures_during_the_ramp_are_counted_as_ever_and_open_for_longer() -> None:
    breaker, now = a_ramping()
    play(breaker, "xxxx", now + 1.0)
    assert breaker.state(now + 1.0) is RAMP

    bad(breaker, now + 1.0)

    assert breaker.state(now + 1.0) is OPEN
    assert breaker.trips(now + 1.0) == 2
    assert breaker.cause == "5 in a row: HTML"


def test_slow_requests_during_the_ramp_are_counted_as_ever() -> None:
    breaker, now = a_ramping()
    play(breaker, "s" * 9, now)
    assert breaker.state(now) is RAMP

    slow(breaker, now)

    assert breaker.state(now) is OPEN


def test_a_poor_answer_during_the_ramp_is_no_failure() -> None:
    breaker, now = a_ramping()
    breaker.failed(now, breaker.sent(), "a trickle", weight=0.5)

    assert breaker.state(now) is RAMP


def test_failures_of_before_are_forgotten_when_it_closes() -> None:
    breaker = a_breaker()
    play(breaker, "xxxxx")
    for _ in range(2):
        good(breaker, 1.0)
    assert breaker.state(11.0) is CLOSED
    assert breaker.skip_share(11.0) == 0.0

    play(breaker, "xxxx", 11.0)

    assert breaker.state(11.0) is CLOSED


# Old news


@pytest.mark.parametrize("news", ["slow", "failed", "committed"])
def test_requests_of_before_the_opening_tell_nothing_new(news: str) -> None:
    breaker = a_breaker(BY_RUN)
    old = [breaker.sent() for _ in range(100)]
    play(breaker, "xxxxx")
    tell = {
        "slow": breaker.was_slow,
        "failed": lambda now, sent: breaker.failed(now, sent, "late"),
        "committed": breaker.committed,
    }[news]

    before = describe_breaker(breaker, 1.0)
    tell(1.0, old[0])
    tell(1.0, old[1])
    assert describe_breaker(breaker, 1.0) == before

    for _ in range(2):
        breaker.committed(5.0, breaker.take_probe(5.0))
    for one in old[2:50]:
        tell(6.0, one)
    assert breaker.state(6.0) is RAMP
    for one in old[50:]:
        tell(16.0, one)
    assert breaker.state(16.0) is CLOSED
    assert breaker.share(16.0) == 1.0


def test_what_hung_before_the_opening_is_not_on_its_way_after_it() -> None:
    breaker = a_breaker()
    for _ in range(100):
        breaker.sent()
    play(breaker, "xxxxx")
    play(breaker, "..", 1.0)
    assert breaker.state(1.0) is RAMP

    play(breaker, ".x.x.x.x.x", 1.0)

    assert breaker.cause == "5 of 10 failed: HTML"


def test_a_neutral_end_of_before_the_opening_is_not_taken_for_a_newer_ones() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "..")
    old = breaker.sent()
    play(breaker, "xxxxx")
    play(breaker, "..", 1.0)
    play(breaker, "xx", 1.0)
    breaker.sent()

    breaker.neutral(old)
    play(breaker, "xxx", 1.0)

    assert breaker.state(1.0) is RAMP


def test_a_last_resort_that_hangs_does_not_fail_the_ramp() -> None:
    breaker = an_open()
    hung = breaker.sent()
    now = breaker.open_until
    for _ in range(2):
        breaker.committed(now, breaker.take_probe(now))

    breaker.failed(now + 1.0, hung, "first token late")

    assert breaker.state(now + 1.0) is RAMP


# Neutral


def test_neutral_ends_move_nothing() -> None:
    breaker = a_breaker()
    play(breaker, "xxxx..xxx")
    before = describe_breaker(breaker, 0.0)
    for _ in range(500):
        breaker.neutral(breaker.sent())
    assert describe_breaker(breaker, 0.0) == before

    play(breaker, "xx")
    assert breaker.state(0.0) is OPEN


# Degraded


def test_above_four_fifths_good_nothing_is_skipped() -> None:
    breaker = a_breaker()
    for n in range(500):
        play(breaker, "....x", n / 10)

    assert breaker.state(50.0) is CLOSED
    assert breaker.skip_share(50.0) == 0.0


def test_below_four_fifths_the_share_falls_as_the_formula_says() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "..x" * 30)

    assert breaker.skip_share(0.0) == pytest.approx((90 - 1.25 * 60) / 91)
    assert breaker.share(0.0) == 1.0 - breaker.skip_share(0.0)


def test_a_fifth_is_never_skipped() -> None:
    breaker = a_breaker(replace(BY_RUN, consecutive=10**9))
    play(breaker, "x" * 1000)

    assert breaker.skip_share(0.0) == 0.8


def test_two_failures_of_two_skip_nothing() -> None:
    breaker = a_breaker()
    play(breaker, "xx")
    assert breaker.skip_share(0.0) == 0.0

    bad(breaker, 0.0)
    assert breaker.skip_share(0.0) == 0.75


def test_slowness_degrades_as_failures_do() -> None:
    breaker = a_breaker(BY_RUN)
    for _ in range(20):
        good(breaker, 0.0)
        breaker.committed(0.0, slow(breaker, 0.0))

    assert breaker.skip_share(0.0) == pytest.approx((40 - 1.25 * 20) / 41)


def test_answers_that_break_degrade_as_failures_do() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "b..." * 10 + "b" * 4)

    assert breaker.skip_share(0.0) == pytest.approx((44 - 1.25 * 30) / 45)


def test_answers_that_break_after_their_minute_do_not_confuse_the_share() -> None:
    breaker = a_breaker(BY_SHARE)
    streams = [good(breaker, 0.0) for _ in range(50)]
    for stream in streams:
        breaker.failed(100.0, stream, "cut")
    assert breaker.state(100.0) is CLOSED
    assert breaker.skip_share(100.0) == 0.0

    assert 0.0 < breaker.skip_share(100.0) + breaker.share(100.0) <= 1.0


def test_a_burst_on_its_way_is_not_a_failure_yet() -> None:
    breaker = a_breaker()
    for _ in range(1000):
        breaker.sent()

    assert breaker.share(0.0) == 1.0


def test_a_degraded_target_is_well_again_after_a_minute() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "x.xx.xx.x")
    assert breaker.skip_share(59.9) > 0.3

    assert breaker.skip_share(60.0) == 0.0


def test_good_answers_heal_a_degraded_target() -> None:
    breaker = a_breaker(BY_RUN)
    play(breaker, "x.xx.xx.x")
    play(breaker, "." * 30, 1.0)

    assert breaker.skip_share(1.0) == 0.0


# Plain


def is_plain(breaker: Breaker, now: float) -> bool:
    return now < breaker.plain_until


def test_a_target_is_plain_while_it_is_closed_and_skips_nothing() -> None:
    breaker = a_breaker()
    assert is_plain(breaker, 1e9)
    play(breaker, "..xx")
    assert is_plain(breaker, 1e9)
    play(breaker, ".x")
    assert not is_plain(breaker, 0.0)

    good(breaker, 61.0)
    assert is_plain(breaker, 1e9)


def test_a_busy_target_that_fails_little_is_plain_until_good_ones_are_forgotten() -> (
    None
):
    breaker = a_breaker(BY_RUN)
    play(breaker, "." * 30)
    play(breaker, "x.x.x.", 6.0)
    assert is_plain(breaker, 11.9)
    assert not is_plain(breaker, 12.0)

    assert breaker.skip_share(12.0) == 0.0
    assert is_plain(breaker, 17.9)
    # Now the thirty are forgotten, and half of what is left has failed.
    assert breaker.skip_share(60.0) > 0.3
    assert not is_plain(breaker, 60.0)


def test_an_opened_target_is_plain_as_soon_as_it_is_closed() -> None:
    breaker, now = a_ramping()
    assert not is_plain(breaker, now)
    breaker.state(now + RAMP_S - 1.0)
    assert not is_plain(breaker, now + RAMP_S - 1.0)

    breaker.state(now + RAMP_S)
    assert is_plain(breaker, now + RAMP_S)


# What an operator sees


def test_an_operator_sees_each_state_by_its_name() -> None:
    breaker = a_breaker(BY_RUN)
    seen = [describe_breaker(breaker, 0.0)]
    play(breaker, "x..x..x..x")
    seen.append(describe_breaker(breaker, 0.0))
    play(breaker, "xxxx")
    seen.append(describe_breaker(breaker, 1.0))
    seen.append(describe_breaker(breaker, 5.0))
    for _ in range(2):
        breaker.committed(6.0, breaker.take_probe(6.0))
    seen.append(describe_breaker(breaker, 6.0))

    assert [(one.state, one.since, one.until) for one in seen] == [
        ("closed", None, None),
        ("degraded", None, None),
        ("open", 0.0, 5.0),
        ("probe", 5.0, None),
        ("ramp", 6.0, 16.0),
    ]
    assert [one.cause for one in seen] == ["", "", *["5 in a row: HTML"] * 3]
    assert seen[1].share == 1.0 - seen[1].skip_share < 0.95
    assert seen[2].trips == 1


def test_a_little_skipping_is_not_called_degraded() -> None:
    breaker = a_breaker()
    play(breaker, "...x" * 8 + "..")
    view = describe_breaker(breaker, 0.0)

    assert 0.0 < view.skip_share < 0.05
    assert view.state == "closed"


# A clock that steps back


def test_an_opening_of_the_future_is_over() -> None:
    breaker = an_open(now=1000.0)

    assert breaker.state(10.0) is PROBE
    assert breaker.since == 10.0


def test_a_ramp_of_the_future_is_over() -> None:
    breaker = an_open(now=1000.0)
    for _ in range(2):
        good(breaker, 1001.0)
    assert breaker.state(1001.0) is RAMP

    assert breaker.state(10.0) is CLOSED
    assert breaker.share(10.0) == 1.0


def test_counts_go_on_after_a_step_back() -> None:
    breaker = a_breaker(BY_SHARE)
    play(breaker, "." * 100, 1000.0)
    play(breaker, ".....xxxxx", 10.0)

    assert breaker.state(10.0) is OPEN


# Against the figures of independent errors, ten requests a second


def requests_to_trip(p: float, *, rules: BreakerRules, seed: int, most: int) -> int:
    random = Random(f"errors/{p}/{seed}")
    breaker = Breaker(rules, random)
    for n in range(most):
        now = n / 10
        (bad if random.random() < p else good)(breaker, now)
        if breaker.state(now) is OPEN:
            return n + 1
        assert breaker.skip_share(now) <= 0.8
    return most


@pytest.mark.parametrize(
    ("p", "rules", "at_least", "at_most"),
    [
        (1.0, BREAKER, 5, 5),
        (0.9, BY_RUN, 6, 8),  # (1 - p^5) / (p^5 (1 - p)) = 6.9
        (0.5, BY_RUN, 50, 75),  # 62
        (0.5, BREAKER, 10, 30),  # the share sees it sooner
    ],
)
def test_so_many_requests_are_lost_before_it_opens(
    p: float, rules: BreakerRules, at_least: float, at_most: float
) -> None:
    seen = [requests_to_trip(p, rules=rules, seed=n, most=2000) for n in range(200)]

    assert at_least <= mean(seen) <= at_most


def test_five_percent_of_errors_do_not_open_it() -> None:
    seen = [requests_to_trip(0.05, rules=BREAKER, seed=n, most=1000) for n in range(10)]

    assert seen == [1000] * 10


def test_a_quarter_of_errors_degrades_and_seldom_opens() -> None:
    opened = 0
    for seed in range(20):
        random = Random(f"quarter/{seed}")
        breaker = Breaker(BREAKER, random)
        skipped = []
        for n in range(1000):
            (bad if random.random() < 0.25 else good)(breaker, n / 10)
            if breaker.state(n / 10) is not CLOSED:
                opened += 1
                break
            skipped.append(breaker.skip_share(n / 10))
        # Once a minute of traffic is known, the share hardly moves.
        assert all(0.0 <= share < 0.3 for share in skipped[100:])
        assert len(skipped) < 600 or 0.01 < mean(skipped[100:]) < 0.12

    # Five in a row by chance: 0.73 times in 1,000 requests; never by share.
    assert 2 <= opened <= 16


def test_every_fourth_request_failing_never_opens_it() -> None:
    breaker = a_breaker()
    for n in range(1000):
        play(breaker, "...x"[n % 4], n / 10)

    assert breaker.state(100.0) is CLOSED
    assert 0.0 < breaker.skip_share(100.0) < 0.3
