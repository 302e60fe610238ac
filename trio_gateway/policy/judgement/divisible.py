"""Whether a policy's limits can be divided among workers; see `share`."""

from collections.abc import Iterator

from trio_gateway.policy.files.document import KeyPath
from trio_gateway.policy.files.problems import Problem
from trio_gateway.policy.judgement.judged import Judged
from trio_gateway.policy.load import Loaded


def undividable(loaded: Loaded, count: int) -> list[Problem]:
    """Every limit of a policy that is smaller than the number of workers."""
    return [
        loaded.document.problem(
            path,
            f"{limit} cannot be divided among {count} workers: some of them could "
            "never send anything",
            f"Raise it to {count} at least, or serve with --workers {limit}.",
        )
        for path, limit in _limits(loaded)
        if limit < count
    ]


def _limits(loaded: Loaded) -> Iterator[tuple[KeyPath, int]]:
    policy = loaded.policy
    yield ("gateway", "max_in_flight"), policy.gateway.max_in_flight
    for name, account in policy.accounts.items():
        if account.max_concurrency is not None:
            yield ("providers", name, "max_concurrency"), account.max_concurrency
    judged = Judged(policy, loaded.document, wall_now=0.0)
    for route in policy.routes.values():
        for path, target in (*judged.targets(route), *judged.chain(route)):
            if target.max_concurrency is not None:
                yield (*path, "max_concurrency"), target.max_concurrency
