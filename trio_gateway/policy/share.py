"""What one of several worker processes may use of a policy's limits.

Workers do not talk about load. So what a policy bounds for all of them together is
divided beforehand, and the shares never add up to more than what was written:

    gateway.max_in_flight                 divided: it is for one machine's memory
    max_concurrency                       divided: of a provider, and of a target
    queue.max                             divided; a share of 0 means that nobody waits
    a model's retry and extra budgets     by themselves: a share of the worker's own
                                          requests; what may be saved up is divided
    last resorts, while no target is well divided, but one for each worker at least
    timeouts, attempts, hedge, breakers   not: about one request, or learned by each

10 among 4 are 3, 3, 2, 2. A limit below the number of workers cannot be divided: some
workers could never send anything there, and their clients would get errors that the
others' do not. `divisible` says so, and such a policy is refused.
"""

from dataclasses import dataclass, replace
from typing import Final

from trio_gateway.policy.route import Account, Policy, Queue, Route, Target


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part of what is there for `count` of them; `index` is from 0."""

    index: int
    count: int

    def of(self, limit: int) -> int:
        """A part of a limit; all parts add up to it exactly."""
        whole, rest = divmod(limit, self.count)
        return whole + (self.index < rest)

    def of_or_none(self, limit: int | None) -> int | None:
        """A part of a limit, where there is one."""
        return None if limit is None else self.of(limit)


WHOLE: Final = Share(0, 1)


def divided(policy: Policy, share: Share) -> Policy:
    """The policy as one worker lives by it."""
    if share.count == 1:
        return policy
    accounts = {name: _account(one, share) for name, one in policy.accounts.items()}

    def target(one: Target) -> Target:
        return replace(
            one,
            account=accounts[one.account.name],
            max_concurrency=share.of_or_none(one.max_concurrency),
        )

    def route(one: Route) -> Route:
        return replace(
            one,
            tiers=tuple(tuple(map(target, tier)) for tier in one.tiers),
            context_chain=tuple(map(target, one.context_chain)),
            queue=Queue(share.of(one.queue.max), one.queue.max_wait_s),
        )

    most = share.of(policy.gateway.max_in_flight)
    return replace(
        policy,
        gateway=replace(policy.gateway, max_in_flight=most),
        accounts=accounts,
        routes={slug: route(one) for slug, one in policy.routes.items()},
    )


def _account(account: Account, share: Share) -> Account:
    return replace(account, max_concurrency=share.of_or_none(account.max_concurrency))
