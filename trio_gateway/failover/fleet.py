"""The health of all targets: one value that every engine asks and informs.

It has no memory yet: every target counts as well, and the policy's order stands. The
questions and the news are those that health, budgets and throttles will need.
"""

from collections.abc import Sequence

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Target


class Fleet:
    """All targets, whichever routes use them."""

    def order(self, targets: Sequence[Target], *, now: float) -> tuple[Target, ...]:
        """The targets that may be tried now, the best first."""
        return tuple(targets)

    def dialled(self, target: Target, reason: Reason, *, now: float) -> None:
        """An attempt starts. `opened` may follow; `ended` always does, once."""

    def opened(self, target: Target, *, after_s: float, now: float) -> None:
        """An attempt reached its commit point, so long after it started."""

    def ended(self, target: Target, failure: Failure | None, *, now: float) -> None:
        """An attempt ended: well (None), or with a failure, cancellation included."""
