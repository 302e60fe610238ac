"""Whom next? The targets that one exchange may still try, the best first.

`lineup` orders them when the exchange begins, by their health. From then on each is
looked at again when it is its turn, for meanwhile others have learned something: it may
be full, cooling or broken by now. Whoever was tried, or waited for in vain, is out.
"""

from trio_gateway.failover.attempts import Attempts
from trio_gateway.failover.fleet import Denied, Fleet
from trio_gateway.policy.route import Route, Target


class Candidates:
    """Those of one route that are left.

    Args:
        fleet: the health of all targets.
        route: whose targets they are.
        attempts: what has been tried so far; kept by the engine.
        targets: in which order to try them.
        is_client_retry: whether the client asks again, and will do so once more.
    """

    __slots__ = (
        "_attempts",
        "_fleet",
        "_is_client_retry",
        "_is_context_chain",
        "_route",
        "is_alone",
        "targets",
    )

    def __init__(
        self,
        fleet: Fleet,
        route: Route,
        attempts: Attempts,
        targets: list[Target],
        *,
        is_client_retry: bool,
    ) -> None:
        self._fleet = fleet
        self._route = route
        self._attempts = attempts
        self._is_client_retry = is_client_retry
        self._is_context_chain = False
        self.targets = targets
        """Those who were not tried yet."""
        self.is_alone = len(targets) == 1
        """Whether there was one only, from the beginning."""

    def choice(self, now: float, *, in_despair: bool = False) -> Target | None:
        """The first target that may be dialled now.

        One that is known not to work is tried in despair alone, when nobody else can
        be tried or waited for; and once, as a second time would feed an outage.
        """
        fleet, attempts = self._fleet, self._attempts
        is_spared = not in_despair or attempts.has_despaired
        for target in self.targets:
            if fleet.is_free(target, now):
                return target
            is_last_resort = fleet.is_last_resort(target, now)
            if is_spared and is_last_resort:
                continue
            denied = fleet.hindrance(
                self._route, target, is_first=not attempts, now=now
            )
            if denied is None:
                return target
            if is_last_resort is in_despair:  # so that none is counted in both rounds
                fleet.passed_over[target.id, denied] += 1
        return None

    def why_not(
        self, target: Target, now: float, *, repeats_first: bool = False
    ) -> Denied | None:
        """What speaks against dialling a target now; None if nothing does.

        `repeats_first`: what is dialled is the first attempt again, since nothing of it
        was processed; it has its rights.
        """
        is_first = repeats_first or not self._attempts
        return self._fleet.why_not(self._route, target, is_first=is_first, now=now)

    def attempts_left(self) -> int:
        """How many more attempts there may be."""
        if self._is_client_retry and self._attempts.has_despaired:
            return 0  # its client will ask again anyway
        return self._route.attempts.max - self._attempts.counted

    def later(self) -> list[Target]:
        """Those who can still have a turn."""
        return self.targets[: self.attempts_left()] if self.targets else []

    def remove(self, target: Target) -> None:
        """It had its chance."""
        if target in self.targets:
            self.targets.remove(target)

    def enter_context_chain(self) -> None:
        """The prompt is too long for all of them: go on with who can read it."""
        if not self._is_context_chain:
            self._is_context_chain = True
            self.targets = list(self._route.context_chain)
