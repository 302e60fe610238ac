"""What a policy has names for: what is counted under others ends with a reload."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trio_gateway.failover.view import targets_of
from trio_gateway.policy.route import Policy

UNKNOWN_MODEL: Final = "unknown"

_NOBODY: Final = ("", "")  # who showed no key


@dataclass(frozen=True, slots=True)
class Names:
    """The values that labels may have."""

    models: frozenset[str]
    targets: frozenset[str]
    owners: frozenset[tuple[str, str]]  # org and project

    @classmethod
    def of(cls, policy: Policy) -> "Names":
        """Those of a policy, and those that hold under any."""
        owners = ((key.org or "", key.project or "") for key in policy.access_keys)
        return cls(
            models=frozenset({UNKNOWN_MODEL, *policy.routes}),
            targets=frozenset(targets_of(policy.routes.values())),
            owners=frozenset({_NOBODY, *owners}),
        )

    def have(self, labels: Mapping[str, str]) -> bool:
        """Whether whatever a sample is about is among them."""
        if "org" in labels and (labels["org"], labels["project"]) not in self.owners:
            return False
        if "model" in labels and labels["model"] not in self.models:
            return False
        return "target" not in labels or labels["target"] in self.targets
