"""A fleet under another policy: what is kept, what begins anew, what is gone."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from tests.factories import (
    BREAKER,
    a_policy,
    a_route,
    a_target,
    an_account,
    with_timeouts,
)
from trio_gateway.failover.breaker import BreakerState
from trio_gateway.failover.commands import Command, Dial, RefusalKind, Refuse
from trio_gateway.failover.cooldown import Disabled
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine, State
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.failover.health import Kind
from trio_gateway.policy.route import Patience, Policy, Route, Secret, Target

SICK = Failure(FailureClass.SERVER_ERROR, "500", 500)
REFUSED_KEY = Failure(FailureClass.AUTH, "401", 401)
STREAM = Kind(commits_whole=False, prompt_bucket=0)


class Town:
    """A fleet, and exchanges on it."""

    def __init__(self) -> None:
        self.fleet = Fleet(Random("test"))
        self.number = 0

    def start(self, route: Route, now: float = 0.0) -> Engine:
        self.number += 1
        number = self.number
        engine = Engine(
            route,
            self.fleet,
            Wish(is_stream=True),
            ticket=number,
            random_for=lambda actor: Random(f"{number}/{actor}"),
        )
        engine.start(now)
        return engine

    def run(
        self, route: Route, events: Sequence[Event], now: float = 0.0
    ) -> tuple[Command, ...]:
        engine = self.start(route, now)
        commands: tuple[Command, ...] = ()
        for event in events:
            commands = engine.advance(event, now)
        return commands

    def open(self, route: Route, now: float = 0.0) -> None:
        """Let the first target fail until it is open."""
        target = route.targets[0]
        while self.state(target, now) is not BreakerState.OPEN:
            engine = self.start(route, now)
            if engine.attempts[0].target is target:
                engine.advance(AttemptFailed(1, SICK), now)
            last = len(engine.attempts)
            engine.advance(Opened(last), now)
            engine.advance(AnswerEnded(last), now)

    def state(self, target: Target, now: float = 0.0) -> BreakerState:
        return self.fleet.health(target, now).breaker.state(now)

    def adopt(self, policy: Policy, now: float = 0.0) -> None:
        self.fleet.adopt(policy, now)


def policy_of(*routes: Route) -> Policy:
    """With the accounts that the routes use."""
    targets = [t for r in routes for t in (*r.targets, *r.context_chain)]
    accounts = {target.account.name: target.account for target in targets}
    return replace(a_policy(*routes), accounts=accounts)


def with_target(route: Route, target: Target) -> Route:
    """The route with another first target."""
    return replace(route, tiers=((target,), *route.tiers[1:]))


def test_an_unchanged_target_keeps_its_health_under_another_policy() -> None:
    town, route = Town(), a_route("ab")
    town.open(route)
    again = a_route("ab", attempts_max=2, timeouts=with_timeouts(total_s=100.0))

    town.adopt(policy_of(again))

    assert town.state(again.targets[0]) is BreakerState.OPEN
    assert town.fleet.health(again.targets[0], 0.0).target is again.targets[0]


def test_quantiles_survive_and_limits_that_are_written_anew_hold() -> None:
    town, route = Town(), a_route("ab")
    for second in range(60):
        now = float(second)
        engine = town.start(route, now)
        engine.advance(Opened(1), now + 0.5)
        engine.advance(AnswerEnded(1), now + 0.5)
    tight = Patience(soft_s=1.0, hard_s=3.0, is_soft_written=True, is_hard_written=True)
    other = a_route("ab", timeouts=with_timeouts(first_token=tight))

    town.adopt(policy_of(other), 60.0)

    speed = town.fleet.health(other.targets[0], 60.0).speed(STREAM, 60.0)
    assert speed.quantiles.samples(60.0) == 60
    patience = town.fleet.patience(other.targets[0], STREAM, 60.0)
    assert patience.hard_s(60.0) <= 3.0


def test_two_models_with_limits_of_their_own_share_what_is_measured() -> None:
    fleet = Fleet()
    short = a_target("a", timeouts=with_timeouts(first_token=Patience(1.0, 2.0)))
    long = a_target("a", timeouts=with_timeouts(first_token=Patience(10.0, 60.0)))

    assert fleet.patience(short, STREAM, 0.0).hard_s(0.0) == 2.0
    assert fleet.patience(long, STREAM, 0.0).hard_s(0.0) == 60.0
    assert fleet.health(short, 0.0) is fleet.health(long, 0.0)


def test_other_breaker_rules_begin_closed_and_keep_the_rest() -> None:
    town, route = Town(), a_route("ab")
    town.open(route)
    rules = replace(BREAKER, consecutive=2)
    other = with_target(route, replace(route.targets[0], breaker=rules))
    health = town.fleet.health(route.targets[0], 0.0)

    town.adopt(policy_of(other))

    assert town.state(other.targets[0]) is BreakerState.CLOSED
    assert town.fleet.health(other.targets[0], 0.0) is health


@pytest.mark.parametrize(
    "other",
    [
        replace(an_account("a"), api_key=Secret("sk-new")),
        replace(an_account("a"), base_url="http://elsewhere.test/v1"),
        replace(an_account("a"), headers=(("x-org", "new"),)),
    ],
)
def test_another_place_or_credential_begins_anew(other: object) -> None:
    town, route = Town(), a_route("ab")
    town.open(route)
    account = other
    moved = with_target(
        route,
        replace(route.targets[0], account=account),  # type: ignore[arg-type]
    )

    town.adopt(policy_of(moved))

    assert town.state(moved.targets[0]) is BreakerState.CLOSED


def test_another_limit_of_an_account_is_no_other_place() -> None:
    town, route = Town(), a_route("ab")
    town.open(route)
    account = replace(an_account("a"), max_concurrency=3, failure_domain="x")
    same = with_target(route, replace(route.targets[0], account=account))

    town.adopt(policy_of(same))

    assert town.state(same.targets[0]) is BreakerState.OPEN
    assert town.fleet.account(account).limiter.most == 3


def test_a_mended_credential_is_used_at_once() -> None:
    town, route = Town(), a_route("ab")
    events: list[Event] = [AttemptFailed(1, REFUSED_KEY), Opened(2), AnswerEnded(2)]
    town.run(route, events)
    assert town.fleet.account(route.targets[0].account).is_disabled(1.0)
    account = replace(an_account("a"), api_key=Secret("sk-mended"))
    mended = with_target(route, replace(route.targets[0], account=account))

    town.adopt(policy_of(mended))

    assert not town.fleet.account(account).is_disabled(1.0)
    assert town.start(mended, 1.0).attempts[0].target.id == "a/m"


@pytest.mark.parametrize("key", ["sk-a", "sk-other"])
def test_an_operators_word_holds_whatever_changes(key: str) -> None:
    town, route = Town(), a_route("ab")
    town.fleet.disable(route.targets[0], Disabled.OPERATOR, 0.0)
    account = replace(an_account("a"), api_key=Secret(key))
    other = with_target(route, replace(route.targets[0], account=account))

    town.adopt(policy_of(other))

    assert town.fleet.health(other.targets[0], 1.0).is_disabled(1.0)


def test_what_is_gone_is_forgotten_and_begins_anew_if_it_comes_back() -> None:
    town, route = Town(), a_route("ab")
    town.open(route)
    town.adopt(policy_of(a_route("b")))
    assert not town.fleet._healths.keys() & {"a/m"}
    assert not town.fleet._accounts.keys() & {"a"}

    town.adopt(policy_of(route))

    assert town.state(route.targets[0]) is BreakerState.CLOSED


def test_what_is_gone_is_kept_while_an_exchange_uses_it() -> None:
    town, route = Town(), a_route("ab")
    engine = town.start(route)
    town.adopt(policy_of(a_route("b", slug="other")))
    assert "a/m" in town.fleet._healths

    engine.advance(Opened(1), 1.0)
    engine.advance(AnswerEnded(1), 2.0)

    assert engine.state is State.OVER
    assert town.fleet._healths["a/m"].limiter.in_flight == 0
    town.adopt(policy_of(a_route("b", slug="other")), 3.0)
    assert set(town.fleet._healths) <= {"b/m"}
    assert set(town.fleet._accounts) <= {"b"}
    assert set(town.fleet._routes) == set()


def test_attempts_under_way_are_counted_across_a_change_of_place() -> None:
    town = Town()
    target = a_target("a", max_concurrency=1)
    route = a_route([target])
    engine = town.start(route)
    account = replace(an_account("a"), base_url="http://elsewhere.test/v1")
    moved = a_route([replace(target, account=account)])

    town.adopt(policy_of(moved))

    waiting = town.start(moved, 0.5)
    assert waiting.state is State.WAITING  # the one slot is taken by the old attempt
    engine.advance(Opened(1), 1.0)
    engine.advance(AnswerEnded(1), 1.0)
    assert list(town.fleet.calls) == [2]
    commands = waiting.advance(Called(), 1.0)
    assert [type(command) for command in commands][:1] == [Dial]
    waiting.advance(Opened(1), 1.5)
    waiting.advance(AnswerEnded(1), 2.0)
    health = town.fleet.health(moved.targets[0], 2.0)
    assert health.limiter.in_flight == 0
    assert town.fleet.account(account).limiter.in_flight == 0


def test_a_raised_limit_calls_whoever_waits_in_line() -> None:
    town = Town()
    narrow = a_route([a_target("a", max_concurrency=1)])
    town.start(narrow)
    waiting = town.start(narrow, 0.1)
    assert waiting.state is State.WAITING

    town.adopt(policy_of(a_route([a_target("a", max_concurrency=2)])), 0.2)

    assert list(town.fleet.calls) == [2]
    assert isinstance(waiting.advance(Called(), 0.2)[0], Dial)


def test_who_waits_for_a_throttles_end_is_still_counted() -> None:
    town, route = Town(), a_route("a")
    throttled = Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=2.0)
    engine = town.start(route)
    engine.advance(AttemptFailed(1, throttled), 0.0)
    assert engine.state is State.WAITING
    account = replace(an_account("a"), api_key=Secret("sk-new"))
    moved = with_target(route, replace(route.targets[0], account=account))

    town.adopt(policy_of(moved), 1.0)

    assert town.fleet.health(moved.targets[0], 1.0).cooldown.waiters == 1
    engine.advance(TimeCame(), 4.0)
    assert town.fleet.health(moved.targets[0], 4.0).cooldown.waiters == 0


def test_an_account_is_kept_as_long_as_a_target_of_it_is_remembered() -> None:
    town, route = Town(), a_route("a")
    throttled = Failure(FailureClass.RATE_LIMIT, "429", 429, retry_after_s=2.0)
    waiting = town.start(route)
    waiting.advance(AttemptFailed(1, throttled), 0.0)
    assert waiting.state is State.WAITING

    town.adopt(policy_of(a_route("b")), 0.5)
    town.adopt(policy_of(route), 1.0)  # it comes back before the wait is over

    target = route.targets[0]
    account = town.fleet.account(target.account)
    assert town.fleet.health(target, 1.0).account is account
    waiting.advance(TimeCame(), 4.0)
    assert account.limiter.in_flight == 1


def test_budgets_of_a_slug_survive() -> None:
    town, route = Town(), a_route("a", same_target=2)
    town.run(route, [AttemptFailed(1, SICK)])
    left = town.fleet.budgets(route).retries.left(0.0)
    assert left < 50.0

    town.adopt(policy_of(a_route("ab")))

    assert town.fleet.budgets(route).retries.left(0.0) == left


def test_an_exchange_ends_on_the_policy_that_it_began_with() -> None:
    town, route = Town(), a_route("ab")
    engine = town.start(route)
    town.adopt(policy_of(a_route("c")))

    (dial, *_) = engine.advance(AttemptFailed(1, SICK), 0.1)
    assert isinstance(dial, Dial)
    assert dial.target is route.targets[1]
    (refuse,) = engine.advance(AttemptFailed(2, SICK), 0.2)
    assert isinstance(refuse, Refuse)
    assert refuse.kind is RefusalKind.UPSTREAM_FAILED


def test_a_hundred_changes_leave_no_more_behind_than_one() -> None:
    town = Town()
    for number in range(100):
        route = a_route([a_target(f"p{number}"), a_target("b")], slug=f"s{number}")
        town.adopt(policy_of(route), float(number))
        town.open(route, float(number))
    fleet = town.fleet

    assert set(fleet._healths) == {"p99/m", "b/m"}
    assert set(fleet._accounts) == {"p99", "b"}
    assert set(fleet._routes) == {"s99"}
    assert set(fleet.domains.opened_at) == {"p99"}
    assert set(fleet.domains.watches) <= {"p99", "b"}
    assert {name for name, _ in fleet.passed_over} <= {"p99/m", "b/m"}
