"""What targets of one failure domain have in common: they fall together.

Two that open close together have one cause, and the others of that vendor or region
are asked last for a while. Two credentials that are refused together are no dead keys,
but a login that is down (`cooldown.AuthWatch`). An account without money stays out of
use for its usual hour, or for a longer hint as far as such are believed.
"""

from collections.abc import Mapping
from typing import Final

from trio_gateway.failover.classify import pause_s
from trio_gateway.failover.cooldown import (
    AuthVerdict,
    AuthWatch,
    Disabled,
    Disablement,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.health import AccountHealth, Health, Lease
from trio_gateway.policy.route import Account, Target

# Two targets of one vendor or region that open this close together have one cause, and
# the others of that domain are asked last for as long.
DOMAIN_TOGETHER_S: Final = 30.0


class Domains:
    """All failure domains.

    Args:
        healths: of the targets, by id; the fleet's own.
    """

    def __init__(self, healths: Mapping[str, Health]) -> None:
        self._healths = healths
        self.opened_at: dict[str, dict[str, float]] = {}
        """When a target last opened, by domain and by the target's id."""
        self.watches: dict[str, AuthWatch] = {}
        """Over the credentials of each domain."""

    # Openings

    def opened(self, target: Target, now: float) -> None:
        """A target's breaker has opened."""
        self.opened_at.setdefault(target.account.failure_domain, {})[target.id] = now

    def is_suspect(self, target: Target, now: float) -> bool:
        """Whether others of its failure domain have just failed together."""
        opened = self.opened_at.get(target.account.failure_domain)
        if not opened or len(opened) < 2:
            return False
        recent = [at for at in opened.values() if now - at <= DOMAIN_TOGETHER_S]
        return len(recent) >= 2

    # Credentials

    def accepted(self, account: Account) -> None:
        """A credential was good for an answer."""
        self._watch(account).succeeded(account.name)

    def refused(
        self, lease: Lease, failure: Failure, *, cap_s: float, now: float
    ) -> None:
        """A credential was refused, or its money is used up.

        `cap_s` is the longest that a hint is believed.
        """
        target, account = lease.health.target, lease.health.account
        if failure.kind is FailureClass.QUOTA:
            out_s = pause_s(failure, cap_s=cap_s)
            until = None if out_s is None else now + out_s
            _disable(account, Disablement.begin(Disabled.QUOTA, now, until=until))
            return
        verdict = self._watch(target.account).refused(target.account.name, now)
        if verdict is AuthVerdict.DISABLE_KEY:
            _disable(account, Disablement.begin(Disabled.AUTH, now))
            return
        lease.health.blamed(lease, failure, now)
        self._enable_refused(target.account.failure_domain)

    def _watch(self, account: Account) -> AuthWatch:
        watch = self.watches.get(account.failure_domain)
        if watch is None:
            watch = self.watches[account.failure_domain] = AuthWatch()
        return watch

    def _enable_refused(self, domain: str) -> None:
        """Take back what was concluded before it was known to be an outage."""
        for health in self._healths.values():
            if health.target.account.failure_domain == domain:
                known = health.account.disablement
                if known is not None and known.reason is Disabled.AUTH:
                    health.account.disablement = None


def _disable(account: AccountHealth, disablement: Disablement) -> None:
    account.disablement = disablement.or_later(account.disablement)
