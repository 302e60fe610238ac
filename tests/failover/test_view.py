"""What operators see of the fleet, and what they do to it."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.factories import TIMEOUTS, a_route, a_target, an_account, with_timeouts
from trio_gateway.failover.commands import Command, Dial, Drop, Reason, Refuse, WakeAt
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Denied, Fleet
from trio_gateway.failover.health import Kind
from trio_gateway.failover.view import (
    LimitsView,
    TargetState,
    TargetView,
    describe,
    describe_target,
    targets_of,
)
from trio_gateway.policy.route import Hedge, Patience, Queue, Route

SICK = Failure(FailureClass.SERVER_ERROR, "status 500", 500)


@dataclass
class House:
    """One fleet, its routes, and exchanges on the first of them."""

    routes: list[Route]
    fleet: Fleet = field(default_factory=lambda: Fleet(Random("test")))
    number: int = 0

    def an_exchange(self) -> Engine:
        self.number += 1
        return Engine(
            self.routes[0],
            self.fleet,
            Wish(is_stream=True),
            ticket=self.number,
            random_for=lambda actor: Random(f"{self.number}/{actor}"),
        )

    def see(self, target_id: str = "a/m", *, now: float) -> TargetView:
        seen = describe_target(self.fleet, self.routes, target_id, now)
        assert seen is not None
        return seen

    def answer(self, now: float, *, after_s: float) -> None:
        engine = self.an_exchange()
        engine.start(now)
        engine.advance(Opened(1), now + after_s)
        engine.advance(AnswerEnded(1), now + after_s)

    def fail(self, failure: Failure, now: float) -> None:
        engine = self.an_exchange()
        engine.start(now)
        engine.advance(AttemptFailed(1, failure), now)


def dialled(commands: tuple[Command, ...]) -> list[str]:
    return [command.target.id for command in commands if isinstance(command, Dial)]


def a_house(*routes: Route) -> House:
    return House(list(routes) or [a_route("a", attempts_max=1)])


def test_a_target_that_was_never_asked_is_closed_from_the_beginning() -> None:
    seen = a_house().see(now=5.0)
    standing = seen.standing
    assert (standing.state, standing.why) == (TargetState.CLOSED, None)
    assert (standing.since, standing.until) == (None, None)
    assert (seen.load.in_flight, seen.load.limit, seen.waiting) == (0, None, 0)
    assert seen.tokens == 20
    assert seen.speeds == ()


def test_an_open_target_says_why_since_when_and_until_when() -> None:
    house = a_house()
    for second in range(5):
        house.fail(SICK, 10.0 + second)

    standing = house.see(now=15.0).standing
    assert standing.state is TargetState.OPEN
    assert standing.why == "5 in a row: status 500"
    assert standing.since == 14.0
    assert standing.until is not None
    assert 14.0 + 2.5 <= standing.until <= 14.0 + 5.0

    probing = house.see(now=20.0).standing
    assert (probing.state, probing.since) == (TargetState.PROBE, standing.until)


def test_a_target_that_fails_now_and_then_is_degraded() -> None:
    house = a_house()
    for second in range(12):
        if second % 3:
            house.answer(float(second), after_s=0.1)
        else:
            house.fail(SICK, float(second))

    standing = house.see(now=12.0).standing
    assert standing.state is TargetState.DEGRADED
    assert standing.why == "15% of first attempts go elsewhere"


def test_a_cooldown_goes_before_the_breaker_and_a_disablement_before_both() -> None:
    house = a_house()
    throttled = Failure(FailureClass.RATE_LIMIT, "status 429", 429, retry_after_s=7.0)
    house.fail(throttled, 100.0)

    seen = house.see(now=101.0)
    assert seen.standing.state is TargetState.COOLDOWN
    assert (seen.standing.since, seen.standing.until) == (100.0, 107.0)
    assert seen.cooldown_until == 107.0
    assert seen.breaker.state == "closed"

    house.fleet.disable(targets_of(house.routes)["a/m"], Disabled.DRAINED, 102.0)
    standing = house.see(now=103.0).standing
    assert standing.state is TargetState.DISABLED
    assert standing.why == "drained by an operator"
    assert (standing.since, standing.until) == (102.0, None)
    assert house.see(now=103.0).cooldown_until == 107.0


def test_a_refused_credential_is_seen_at_its_targets() -> None:
    house = a_house()
    house.fail(Failure(FailureClass.AUTH, "status 401", 401), 50.0)

    standing = house.see(now=51.0).standing
    assert standing.state is TargetState.DISABLED
    assert standing.why == "provider: the credential was refused"
    assert (standing.since, standing.until) == (50.0, 650.0)


def test_quantiles_are_those_of_the_target_and_limits_those_of_each_model() -> None:
    quick = with_timeouts(first_token=Patience(3.0, 4.0, is_hard_written=True))
    house = a_house(
        a_route("a", slug="slow"),
        a_route("a", slug="usual"),
        a_route([a_target("a", timeouts=quick)], slug="quick"),
    )
    for n in range(60):
        house.answer(float(n), after_s=4.0 if n % 10 == 0 else 1.0)

    (speed,) = house.see(now=65.0).speeds
    assert (speed.is_whole, speed.prompt, speed.samples) == (False, "<1k", 60)
    assert speed.p50_s == pytest.approx(1.0, rel=0.05)
    assert speed.p99_s == pytest.approx(4.0, rel=0.05)
    slow, other = speed.limits
    assert slow.models == ("slow", "usual")
    assert slow.soft_s == pytest.approx(4.0, rel=0.05)
    assert slow.hard_s == pytest.approx(8.0, rel=0.05)
    assert other == LimitsView(("quick",), other.soft_s, 4.0)


def test_a_picture_has_every_target_once_with_all_its_models() -> None:
    house = a_house(
        a_route("ab", slug="one"), a_route("bc", slug="two", chain="d"), a_route("a")
    )
    seen = describe(house.fleet, house.routes, 0.0)
    assert [(target.id, target.models) for target in seen.targets] == [
        ("a/m", ("one", "chat")),
        ("b/m", ("one", "two")),
        ("c/m", ("two",)),
        ("d/m", ("two",)),
    ]
    assert [route.slug for route in seen.routes] == ["one", "two", "chat"]
    assert describe_target(house.fleet, house.routes, "e/m", 0.0) is None


def test_what_is_under_way_and_who_waits_is_seen() -> None:
    account = replace(an_account("a"), max_concurrency=9)
    target = a_target("a", account=account, max_concurrency=1)
    house = a_house(a_route([target]))
    first, second = house.an_exchange(), house.an_exchange()
    first.start(0.0)
    second.start(0.0)

    seen = house.see(now=0.0)
    assert (seen.load.in_flight, seen.load.limit, seen.waiting) == (1, 1, 1)
    assert (seen.account_load.in_flight, seen.account_load.limit) == (1, 9)
    (route,) = describe(house.fleet, house.routes, 0.0).routes
    assert route.in_flight == 2
    assert house.fleet.outlook(house.routes[0], 0.0).is_full
    assert house.fleet.passed_over == {("a/m", Denied.FULL): 1}


def test_who_waits_waits_by_the_rules_of_its_own_model() -> None:
    full = a_target("a", max_concurrency=1)
    brief = a_route([full], slug="brief", queue=Queue(max=1, max_wait_s=1.0))
    patient = a_route([full], slug="patient", queue=Queue(max=9, max_wait_s=20.0))
    house = a_house(brief, patient)
    for _ in range(3):  # the first is served, the second waits, the third may not
        house.an_exchange().start(0.0)
    assert house.see(now=0.0).waiting == 1

    house.routes.reverse()
    house.an_exchange().start(0.0)

    assert house.see(now=0.9).waiting == 2
    house.fleet.lines.holds(full.id, "nobody", 2.0)  # the line looks at the time
    assert house.see(now=2.0).waiting == 1


def test_a_target_passed_over_in_two_rounds_is_counted_once() -> None:
    house = a_house(a_route([a_target("a", max_concurrency=1), a_target("b")]))
    for n in range(5):
        house.fleet.ended(
            house.routes[0],
            house.fleet.dial(
                house.routes[0],
                house.routes[0].targets[1],
                Kind(commits_whole=False, prompt_bucket=0),
                ticket=-n,
                now=0.0,
            ),
            SICK,
            0.0,
        )
    panic = house.fleet.budgets(house.routes[0]).panic
    panic.live = panic.limit(0.0)
    house.an_exchange().start(0.0)

    queue = house.routes[0].queue
    house.routes[0] = replace(house.routes[0], queue=replace(queue, max=1))
    house.an_exchange().start(0.0)
    house.an_exchange().start(0.0)

    assert house.fleet.passed_over == {
        ("a/m", Denied.FULL): 2,
        ("b/m", Denied.UNWELL): 1,
    }


def test_a_denied_budget_is_counted_for_its_model() -> None:
    limits = with_timeouts(first_token=Patience(1.0, 20.0))
    hedged = Hedge(quantile=0.9, min_delay_s=0.1, max_extra=0.0001)
    house = a_house(
        a_route("ab", is_overlap_on=True, timeouts=limits, hedge=hedged),
    )
    house.fleet.budgets(house.routes[0]).extras.try_withdraw(0.0, cost=50.0)
    engine = house.an_exchange()
    engine.start(0.0)
    engine.advance(TimeCame(), 1.0)

    (route,) = describe(house.fleet, house.routes, 1.0).routes
    assert (route.extras_denied, route.retries_denied) == (1, 0)
    assert route.extras_left < 1
    assert (route.panic_live, route.panic_limit) == (0, 5)


# Operators


@pytest.mark.parametrize("reason", [Disabled.DRAINED, Disabled.OPERATOR])
def test_nothing_new_is_sent_to_a_target_out_of_use(reason: Disabled) -> None:
    house = a_house(a_route("ab"))
    target = targets_of(house.routes)["a/m"]
    house.fleet.disable(target, reason, 0.0)

    assert dialled(house.an_exchange().start(1e6)) == ["b/m"]

    house.fleet.enable(target, 1e6)
    assert dialled(house.an_exchange().start(1e6)) == ["a/m"]


def test_a_model_whose_targets_are_all_out_of_use_is_unavailable() -> None:
    house = a_house()
    target = targets_of(house.routes)["a/m"]
    house.fleet.disable(target, Disabled.OPERATOR, 0.0)

    (refuse,) = house.an_exchange().start(0.0)

    assert isinstance(refuse, Refuse)
    assert not refuse.is_full


def test_a_drained_target_finishes_what_was_sent_to_it() -> None:
    house = a_house(a_route("ab"))
    engine = house.an_exchange()
    engine.start(0.0)
    house.fleet.disable(targets_of(house.routes)["a/m"], Disabled.DRAINED, 1.0)

    assert not house.fleet.calls
    engine.advance(Opened(1), 2.0)
    engine.advance(AnswerEnded(1), 3.0)
    assert house.see(now=3.0).load.in_flight == 0


def test_who_waits_for_a_first_token_is_called_away_from_a_disabled_target() -> None:
    house = a_house(a_route("ab"))
    engine, begun = house.an_exchange(), house.an_exchange()
    engine.start(0.0)
    begun.start(0.0)
    begun.advance(Opened(1), 5.0)
    house.fleet.disable(targets_of(house.routes)["a/m"], Disabled.OPERATOR, 5.0)

    assert list(house.fleet.calls) == [1]
    (wake,) = engine.advance(Called(), 5.0)
    assert isinstance(wake, WakeAt)
    assert 5.0 <= wake.at <= 6.0
    drop, dial, *_ = engine.advance(TimeCame(), wake.at)
    assert drop == Drop(1)
    assert isinstance(dial, Dial)
    assert (dial.target.id, dial.reason) == ("b/m", Reason.FAILOVER)


def test_who_stands_in_line_at_a_drained_target_goes_on_to_the_next() -> None:
    full = a_target("a", max_concurrency=1)
    house = a_house(a_route([full]), a_route([full, a_target("b", max_concurrency=1)]))
    house.an_exchange().start(0.0)
    house.routes.reverse()
    house.an_exchange().start(0.0)  # takes b
    waiting = house.an_exchange()
    (wake,) = waiting.start(0.0)
    assert isinstance(wake, WakeAt)
    assert house.see(now=0.0).waiting == 1

    house.fleet.disable(full, Disabled.DRAINED, 0.1)

    assert house.see(now=0.1).waiting == 0
    waiting.advance(TimeCame(), wake.at)
    assert house.see("b/m", now=wake.at).waiting == 1


def test_enabling_ends_what_we_concluded_too_but_no_cooldown() -> None:
    house = a_house(a_route("ab", attempts_max=1, timeouts=TIMEOUTS))
    target = targets_of(house.routes)["a/m"]
    hint = Failure(FailureClass.OVERLOADED, "status 429", 429, retry_after_s=30.0)
    house.fail(hint, 0.0)
    house.fleet.disable(target, Disabled.MISCONFIGURED, 0.0)
    house.fleet.account(target.account).disablement = house.fleet.health(
        target, 0.0
    ).disablement
    house.fleet.enable(target, 1.0)

    assert house.see(now=1.0).standing.state is TargetState.COOLDOWN
    assert not house.fleet.account(target.account).is_disabled(1.0)
