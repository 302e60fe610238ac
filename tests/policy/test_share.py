"""What each of several workers gets of a policy's limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import a_policy, a_route, a_target, an_account
from trio_gateway.failover.budget import (
    BURST,
    PANIC_MIN,
    RETRY_RESERVE_PER_S,
    RouteBudgets,
)
from trio_gateway.policy.judgement.divisible import undividable
from trio_gateway.policy.load import load, load_policy
from trio_gateway.policy.route import Policy, Queue, Route, Target
from trio_gateway.policy.share import Share, divided

COUNTS = (1, 2, 3, 4, 7, 16)


def shares(count: int) -> list[Share]:
    return [Share(index, count) for index in range(count)]


def limited() -> Policy:
    """A policy with every limit that there is, on a tier and a context chain, too."""
    account = replace(an_account("a"), max_concurrency=33)
    target = a_target("a", account=account, max_concurrency=17)
    beside = a_target("b", weight=2.0)
    chained = a_target("a", model="long", account=account, max_concurrency=19)
    route = a_route([target], chain=[chained], queue=Queue(1001, 2.0))
    route = replace(route, tiers=((target, beside),))
    policy = a_policy(route)
    return replace(
        policy, accounts={"a": account, "b": beside.account}, routes={"chat": route}
    )


def limits_of(policy: Policy) -> list[int | None]:
    route = policy.routes["chat"]
    return [
        policy.gateway.max_in_flight,
        policy.accounts["a"].max_concurrency,
        route.queue.max,
        *(t.max_concurrency for t in (*route.targets, *route.context_chain)),
    ]


@pytest.mark.parametrize("count", COUNTS)
def test_all_shares_of_a_limit_add_up_to_it_and_differ_by_one_at_most(
    count: int,
) -> None:
    for limit in range(100):
        parts = [share.of(limit) for share in shares(count)]
        assert sum(parts) == limit
        assert max(parts) - min(parts) <= 1


def test_ten_among_four_are_three_three_two_and_two() -> None:
    assert [share.of(10) for share in shares(4)] == [3, 3, 2, 2]


@pytest.mark.parametrize("count", COUNTS)
def test_no_limit_is_exceeded_by_all_workers_together(count: int) -> None:
    parts = [limits_of(divided(limited(), share)) for share in shares(count)]
    for whole, *each in zip(limits_of(limited()), *parts, strict=True):
        if whole is None:
            assert set(each) == {None}
        else:
            assert sum(part for part in each if part is not None) == whole


def test_a_target_is_limited_by_the_share_of_its_account() -> None:
    policy = divided(limited(), Share(0, 4))
    target = policy.routes["chat"].targets[0]
    assert target.account is policy.accounts["a"]
    assert target.account.max_concurrency == 9


def test_nothing_but_limits_differs_between_workers() -> None:
    first, last = (divided(limited(), share) for share in (Share(0, 3), Share(2, 3)))
    assert limits_of(first) != limits_of(last)
    assert without_limits(first) == without_limits(last) == without_limits(limited())


def without_limits(policy: Policy) -> Policy:
    """All that is about one request, or learned by each worker."""
    accounts = {
        name: replace(account, max_concurrency=None)
        for name, account in policy.accounts.items()
    }

    def target(one: Target) -> Target:
        account = accounts[one.account.name]
        return replace(one, account=account, max_concurrency=None)

    def route(one: Route) -> Route:
        return replace(
            one,
            tiers=tuple(tuple(map(target, tier)) for tier in one.tiers),
            context_chain=tuple(map(target, one.context_chain)),
            queue=replace(one.queue, max=0),
        )

    return replace(
        policy,
        gateway=replace(policy.gateway, max_in_flight=0),
        accounts=accounts,
        routes={slug: route(one) for slug, one in policy.routes.items()},
    )


def test_one_worker_has_the_policy_itself() -> None:
    policy = limited()
    assert divided(policy, Share(0, 1)) is policy


POLICY = """
version: 1
gateway: {max_in_flight: 3}
providers: {a: {base_url: "http://x.test/v1", max_concurrency: 2}}
access_keys: [{name: t, sha256: "%064d"}]
models:
  chat: {targets: [[{provider: a, model: m, max_concurrency: 4}]],
         context_length_fallback: [{provider: a, model: n, max_concurrency: 1}]}
"""


def test_a_limit_below_the_number_of_workers_is_named_with_place_and_remedy(
    tmp_path: Path,
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(POLICY % 1)
    loaded = load(path, environ={})

    said = [str(problem) for problem in undividable(loaded, 4)]

    assert [line.split(": ")[1] for line in said] == [
        "gateway.max_in_flight",
        "providers.a.max_concurrency",
        "models.chat.context_length_fallback[0].max_concurrency",
    ]
    assert said[1] == (
        f"{path}:4:47: providers.a.max_concurrency: 2 cannot be divided among 4 "
        "workers: some of them could never send anything. Raise it to 4 at least, or "
        "serve with --workers 2."
    )
    assert undividable(loaded, 1) == []


@pytest.mark.parametrize("count", COUNTS)
def test_what_budgets_grant_without_requests_is_divided(count: int) -> None:
    budgets = RouteBudgets.of(a_route(), workers=count)
    assert budgets.retries.left(0.0) * count == pytest.approx(BURST)
    assert budgets.extras.left(0.0) * count == pytest.approx(BURST)
    assert budgets.panic.limit(0.0) * count <= max(PANIC_MIN, count)


@pytest.mark.parametrize("count", COUNTS)
def test_the_retry_that_a_second_grants_is_divided(count: int) -> None:
    retries = RouteBudgets.of(a_route(), workers=count).retries
    while retries.try_withdraw(0.0):
        pass
    before = retries.left(0.0)
    assert (retries.left(6.0) - before) * count == pytest.approx(
        6.0 * RETRY_RESERVE_PER_S
    )


def test_ten_requests_of_its_own_earn_a_worker_a_retry_and_twenty_an_extra() -> None:
    budgets = RouteBudgets.of(a_route(), workers=4)
    for budget, requests in ((budgets.retries, 10), (budgets.extras, 20)):
        while budget.try_withdraw(0.0):
            pass
        before = budget.left(0.0)
        for _ in range(requests):
            budget.deposit(0.0)
        assert budget.left(0.0) - before == pytest.approx(1.0)


def test_a_worker_asks_by_its_own_peak_in_panic() -> None:
    panic = RouteBudgets.of(a_route(), workers=4).panic
    panic.note_in_flight(200, 0.0)
    assert panic.limit(0.0) == 20


def test_each_worker_may_try_at_least_once_however_many_there_are() -> None:
    budgets = RouteBudgets.of(a_route(), workers=64)
    assert budgets.retries.try_withdraw(0.0)
    assert budgets.extras.try_withdraw(0.0)
    assert budgets.panic.has_room(0.0)


def test_a_policy_with_defaults_can_be_divided(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        'version: 1\nproviders: {a: {base_url: "http://x.test/v1"}}\n'
        "models: {chat: {targets: [{provider: a, model: m}]}}\n"
    )
    assert undividable(load(path, environ={}), 64) == []
    assert load_policy(path, environ={}).gateway.max_in_flight == 2000
