from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_gateway.failover.limiter import Limiter, WaitingLine
from trio_gateway.policy.route import Queue

# --- a target's limit -------------------------------------------------------------


def fill(limiter: Limiter, *, now: float = 0.0, at_most: int = 1000) -> int:
    """Let in as many as there is room for."""
    while limiter.in_flight < at_most and limiter.has_room(now):
        limiter.in_flight += 1
    return limiter.in_flight


def test_nothing_is_limited_before_the_target_says_so() -> None:
    limiter = Limiter(most=None)

    assert limiter.limit(0.0) is None
    assert fill(limiter) == 1000


def test_the_policy_limit_holds() -> None:
    limiter = Limiter(most=3)

    assert limiter.limit(0.0) == 3
    assert fill(limiter) == 3
    limiter.leave()
    assert limiter.has_room(0.0)
    assert fill(limiter) == 3


def test_asking_for_room_takes_none() -> None:
    limiter = Limiter(most=1)

    assert limiter.has_room(0.0)
    assert limiter.has_room(0.0)
    assert fill(limiter) == 1
    assert not limiter.has_room(0.0)


def test_a_slot_is_given_back_once() -> None:
    with pytest.raises(AssertionError):
        Limiter(most=None).leave()


@pytest.mark.parametrize(
    ("in_flight", "limit"), [(1, 14.0), (20, 14.0), (100, 70.0), (1000, 700.0)]
)
def test_the_first_overload_limits_to_less_than_was_in_flight(
    in_flight: int, limit: float
) -> None:
    limiter = Limiter(most=None)
    fill(limiter, at_most=in_flight)
    limiter.overloaded(0.0)

    assert limiter.limit(0.0) == pytest.approx(limit)
    assert not limiter.has_room(0.0) or in_flight < limit


def test_a_limit_lets_in_as_many_as_it_says() -> None:
    limiter = Limiter(most=None)
    limiter.overloaded(0.0)

    assert fill(limiter) == 14


def test_the_lower_of_both_limits_holds() -> None:
    limiter = Limiter(most=10)
    fill(limiter)
    limiter.overloaded(0.0)
    assert limiter.limit(0.0) == 10

    limiter.overloaded(1.0)
    assert limiter.limit(1.0) == pytest.approx(9.8)
    assert not limiter.has_room(1.0)
    limiter.leave()
    assert not limiter.has_room(1.0)
    limiter.leave()
    assert limiter.has_room(1.0)


@pytest.mark.parametrize(
    ("answer_s", "counts_at"), [(0.0, 1.0), (0.3, 1.0), (4.0, 4.0)]
)
def test_a_burst_of_refusals_is_one_piece_of_news(
    answer_s: float, counts_at: float
) -> None:
    limiter = Limiter(most=None)
    for _ in range(50):
        limiter.overloaded(0.0, answer_s=answer_s)
    limiter.overloaded(counts_at - 0.01, answer_s=answer_s)
    assert limiter.limit(0.0) == pytest.approx(14.0)

    limiter.overloaded(counts_at, answer_s=answer_s)
    assert limiter.limit(counts_at) == pytest.approx(9.8)


def test_a_limit_does_not_fall_below_four() -> None:
    limiter = Limiter(most=None)
    for second in range(100):
        limiter.overloaded(float(second))

    assert limiter.limit(99.0) == 4.0


def test_a_round_of_answers_raises_a_limit_in_use_by_one() -> None:
    limiter = Limiter(most=None)
    limiter.overloaded(0.0)
    fill(limiter)
    for _ in range(14):
        limiter.succeeded(0.0)

    assert limiter.limit(0.0) == pytest.approx(15.0, abs=0.05)


@pytest.mark.parametrize(("in_flight", "grows"), [(6, False), (7, True)])
def test_a_limit_less_than_half_used_does_not_grow(
    in_flight: int, *, grows: bool
) -> None:
    limiter = Limiter(most=None)
    limiter.overloaded(0.0)
    fill(limiter, at_most=in_flight)
    limiter.succeeded(0.0)

    limit = limiter.limit(0.0)
    assert limit is not None
    assert (limit > 14.0) is grows


def test_success_limits_nothing() -> None:
    limiter = Limiter(most=None)
    limiter.succeeded(0.0)

    assert limiter.limit(0.0) is None


def test_an_overload_is_forgotten_after_five_minutes_without_one() -> None:
    limiter = Limiter(most=None)
    limiter.overloaded(0.0)
    limiter.overloaded(0.5)  # too soon to count as another, and yet the last one
    fill(limiter)

    assert not limiter.has_room(300.4)
    assert limiter.limit(300.4) == pytest.approx(14.0)
    assert limiter.has_room(300.5)
    assert limiter.limit(300.5) is None
    assert fill(limiter, now=300.5, at_most=100) == 100

    limiter.overloaded(400.0)  # and what comes then is a first one
    assert limiter.limit(400.0) == pytest.approx(70.0)


def test_a_limit_finds_the_capacity_of_its_target() -> None:
    """A hundred want in all the time; the target serves 30 at once and refuses more."""
    random, limiter = Random("capacity"), Limiter(most=None)
    served = refused = 0
    for tick in range(6_000):  # of 50 ms
        now = tick / 20
        fill(limiter, now=now, at_most=100)
        for _ in range(limiter.in_flight):
            if limiter.in_flight > 30:
                limiter.overloaded(now, answer_s=1.0)
                limiter.leave()
                refused += tick > 600
            elif random.random() < 0.05:  # an answer takes a second
                limiter.succeeded(now)
                limiter.leave()
                served += tick > 600

    assert served / 270 > 0.75 * 30
    assert refused < 0.05 * served


def test_a_spell_of_refusals_leaves_no_mark() -> None:
    """A hundred want in, and answers take six seconds; for half a minute it is ill."""
    random, limiter = Random("spell"), Limiter(most=None)
    well_from = None
    for tick in range(6_000):  # of 50 ms
        now = tick / 20
        fill(limiter, now=now, at_most=100)
        for _ in range(limiter.in_flight):
            if random.random() >= 1 / 120:  # an answer takes six seconds
                continue
            if now < 30.0 and random.random() < 0.3:
                limiter.overloaded(now, answer_s=1.0)
            else:
                limiter.succeeded(now)
            limiter.leave()
        if now >= 30.0 and well_from is None and limiter.in_flight >= 99:
            well_from = now
    assert well_from is not None
    assert well_from < 65.0


def test_a_limit_comes_back_to_where_it_was_refused_and_stays_there_a_while() -> None:
    limiter = Limiter(most=None)
    fill(limiter, at_most=100)
    limiter.overloaded(0.0)
    limits = []
    for second in range(1, 25):
        limiter.in_flight = round(limiter.limit(float(second)) or 0)
        limiter.succeeded(float(second))
        limits.append(limiter.limit(float(second)))
    back_at = limits.index(next(limit for limit in limits if limit and limit > 98.0))
    assert 5 < back_at < 12
    assert (limits[back_at + 5] or 0.0) < 104.0
    assert (limits[-1] or 0.0) > 110.0


# --- the line ---------------------------------------------------------------------

FAR = 1e9


def held(line: WaitingLine[str], now: float, *tickets: str) -> list[str]:
    """Who of them still has a place."""
    return [ticket for ticket in tickets if line.holds(ticket, now)]


def a_line(*, most: int = 1000, max_wait_s: float = 2.0) -> WaitingLine[str]:
    return WaitingLine(Queue(max=most, max_wait_s=max_wait_s))


def test_first_come_first_served() -> None:
    line = a_line()
    for at, ticket in enumerate("abc"):
        assert line.join(ticket, at / 10, FAR)

    assert [line.next(0.5) for _ in range(4)] == ["a", "b", "c", None]
    assert not any(line.give_up(ticket) for ticket in "abc")


def test_a_full_line_takes_nobody() -> None:
    line = a_line(most=2)
    assert line.join("a", 0.0, FAR)
    assert line.join("b", 0.0, FAR)
    assert not line.join("c", 0.0, FAR)
    line.next(0.0)

    assert line.join("c", 0.0, FAR)
    assert len(line) == 2


def test_those_whose_wait_is_over_take_up_room_until_they_look_and_leave() -> None:
    line = a_line(most=1)
    line.join("a", 0.0, FAR)
    assert not line.join("b", 9.0, FAR)
    assert not line.holds("a", 9.0)
    assert not line.join("b", 9.0, FAR)
    assert line.give_up("a")

    assert line.join("b", 9.0, FAR)


def test_models_that_share_a_line_wait_each_by_its_own_rules() -> None:
    line = a_line(most=2, max_wait_s=1.0)
    patient, brief = Queue(max=3, max_wait_s=9.0), Queue(max=1, max_wait_s=1.0)
    assert line.join("a", 0.0, FAR)
    assert not line.join("b", 0.0, FAR, rules=brief)
    assert line.join("c", 0.0, FAR, rules=patient)
    assert not line.join("d", 0.0, FAR)
    assert line.join("e", 0.0, FAR, rules=patient)

    assert held(line, 5.0, "a", "c", "e") == ["c", "e"]
    assert held(line, 8.9, "c", "e") == ["c", "e"]
    assert not line.holds("c", 9.0)


def test_nobody_joins_past_their_deadline() -> None:
    assert not a_line().join("a", 1.0, 1.0)


def test_nobody_waits_past_their_deadline() -> None:
    line = a_line()
    line.join("patient", 0.0, FAR)
    line.join("hurried", 0.0, 0.5)

    assert held(line, 0.49, "patient", "hurried") == ["patient", "hurried"]
    assert held(line, 0.5, "patient", "hurried") == ["patient"]
    assert line.next(0.5) == "patient"


def test_nobody_waits_longer_than_the_policy_says() -> None:
    line = a_line(max_wait_s=0.8)
    line.join("a", 0.0, FAR)

    assert line.holds("a", 0.79)
    assert not line.holds("a", 0.8)


def test_a_slot_is_not_given_to_one_whose_wait_is_over() -> None:
    line = a_line()
    line.join("late", 0.0, 0.5)
    line.join("b", 0.0, FAR)

    assert line.next(0.6) == "b"
    assert line.next(0.6) is None
    assert not line.holds("late", 0.6)


def test_who_gives_up_is_not_called_and_leaves_once() -> None:
    line = a_line()
    for ticket in ("a", "b", "late"):
        line.join(ticket, 0.0, 0.5 if ticket == "late" else FAR)

    assert line.give_up("a")
    assert not line.give_up("a")
    assert line.next(0.6) == "b"
    assert line.give_up("late")
    assert not line.give_up("late")
    assert line.next(0.6) is None
    assert len(line) == 0


def keep_waiting(line: WaitingLine[str], *, until: float) -> None:
    """One joins every tenth of a second, and nobody is served."""
    for tenth in range(round(until * 10)):
        line.join(f"t{tenth}", tenth / 10, FAR)


def test_who_joins_a_line_that_was_not_empty_for_a_second_waits_a_quarter() -> None:
    line = a_line()
    keep_waiting(line, until=1.2)

    # t10 and t11 came when it was busy, the others were promised two seconds.
    everybody = [f"t{tenth}" for tenth in range(12)]
    assert held(line, 1.24, *everybody) == everybody
    assert held(line, 1.25, *everybody) == [*everybody[:10], "t11"]
    assert held(line, 1.35, *everybody) == everybody[:10]
    assert held(line, 1.99, *everybody) == everybody[:10]
    assert held(line, 2.0, *everybody) == everybody[1:10]


def test_a_busy_line_serves_the_newest_first() -> None:
    line = a_line()
    keep_waiting(line, until=1.2)

    assert line.next(1.2) == "t11"
    assert line.next(1.2) == "t10"


def test_a_line_that_was_empty_within_the_second_is_patient_and_fair() -> None:
    line = a_line()
    line.join("first", 0.0, FAR)
    assert line.next(0.5) == "first"  # empty
    line.join("a", 0.6, FAR)
    line.join("b", 1.5, FAR)

    assert held(line, 1.59, "a", "b") == ["a", "b"]
    assert line.next(1.59) == "a"


def test_a_line_of_those_who_left_unnoticed_counts_as_empty() -> None:
    line = a_line()
    line.join("long gone", 0.0, FAR)
    line.join("a", 9.0, FAR)

    assert held(line, 9.5, "long gone", "a") == ["a"]


def test_who_gives_up_takes_nobody_elses_end_along() -> None:
    line = a_line()
    line.join("hurried", 0.0, 0.5)
    line.join("patient", 0.0, FAR)
    line.give_up("patient")

    assert line.holds("hurried", 0.49)
    assert not line.holds("hurried", 0.5)


def test_a_waiting_line_sheds_those_who_wait_and_keeps_those_who_come() -> None:
    line = a_line(most=50)
    waiting: dict[str, float] = {}  # since when
    refused = shed = 0
    for tick in range(1_000):  # 100 a second come, 20 a second are served
        now, ticket = tick / 100, f"t{tick}"
        if line.join(ticket, now, FAR):
            waiting[ticket] = now
        else:
            refused += 1
        if tick % 5 == 0:
            called = line.next(now)
            assert called is not None
            del waiting[called]
        for ticket in waiting.keys() - held(line, now, *waiting):
            assert line.give_up(ticket)
            shed += 1
            waited_s = now - waiting.pop(ticket)
            assert tick < 320 or waited_s <= 0.27

    assert len(line) <= 25
    assert refused < 200  # before it was busy
    assert shed > 500


class ALine(RuleBasedStateMachine):
    """Every ticket leaves in exactly one way, at a time that the rules allow."""

    def __init__(self) -> None:
        super().__init__()
        self.line: WaitingLine[int] = WaitingLine(Queue(max=5, max_wait_s=2.0))
        self.now = 0.0
        self.joined: dict[int, tuple[float, float]] = {}
        self.made = 0

    @rule(patience_s=st.sampled_from([0.0, 0.1, 0.5, 3.0, FAR]))
    def join(self, patience_s: float) -> None:
        self.made += 1
        if self.line.join(self.made, self.now, self.now + patience_s):
            self.joined[self.made] = (self.now, self.now + patience_s)

    @rule(after_s=st.sampled_from([0.05, 0.2, 0.4, 1.0, 5.0]))
    def wait(self, after_s: float) -> None:
        self.now += after_s

    @rule()
    def serve(self) -> None:
        ticket = self.line.next(self.now)
        if ticket is not None:
            at, deadline = self.joined.pop(ticket)
            assert self.now < min(deadline, at + 2.0)

    @rule()
    def look(self) -> None:
        for ticket, (at, deadline) in tuple(self.joined.items()):
            if self.line.holds(ticket, self.now):
                assert self.now < min(deadline, at + 2.0)
                continue
            assert self.now >= min(deadline, at + 0.25)
            assert self.line.give_up(ticket)
            del self.joined[ticket]

    @precondition(lambda self: self.joined)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.joined)))
        assert self.line.give_up(ticket)
        del self.joined[ticket]

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.line) <= len(self.joined) <= 5


TestALine = ALine.TestCase
TestALine.settings = settings(max_examples=100, stateful_step_count=40)
