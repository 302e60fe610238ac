"""What each of several workers gets of a policy's limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.factories import a_policy, a_route, a_target, an_account
from trio_gateway.failover.budget import BURST, PANIC_MIN, RouteBudgets
from trio_gateway.policy.divisible import undividable
from trio_gateway.policy.load import load, load_policy
from trio_gateway.policy.route import Policy, Queue
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
    route = first.routes["chat"]
    assert route.timeouts == last.routes["chat"].timeouts
    assert [t.id for t in route.targets] == ["a/m", "b/m"]
    assert [t.weight for t in route.targets] == [1.0, 2.0]
    assert (first.revision, first.access_keys) == (last.revision, last.access_keys)


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


def test_each_worker_may_try_at_least_once_however_many_there_are() -> None:
    budgets = RouteBudgets.of(a_route(), workers=64)
    assert budgets.retries.try_withdraw(0.0)
    assert budgets.extras.try_withdraw(0.0)
    assert budgets.panic.enter(0.0)


def test_a_policy_with_defaults_can_be_divided(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        'version: 1\nproviders: {a: {base_url: "http://x.test/v1"}}\n'
        "models: {chat: {targets: [{provider: a, model: m}]}}\n"
    )
    assert undividable(load(path, environ={}), 64) == []
    assert load_policy(path, environ={}).gateway.max_in_flight == 2000
