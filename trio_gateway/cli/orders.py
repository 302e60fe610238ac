"""What the supervisor tells the workers of a gateway."""

from collections.abc import Mapping
from dataclasses import dataclass

from trio_gateway.cli.house import Options
from trio_gateway.policy.route import Policy
from trio_gateway.policy.share import Share
from trio_gateway.serving.tls import Certificate
from trio_gateway.web.gateway import PolicyNews
from trio_gateway.web.targets import Action


@dataclass(frozen=True, slots=True)
class Serve:
    """Begin: what, as which of how many, and what operators have done so far."""

    options: Options
    share: Share
    policy: Policy  # undivided
    news: PolicyNews
    deeds: Mapping[str, Action]  # by target
    certificate: Certificate | None = None  # with which to speak TLS to clients


@dataclass(frozen=True, slots=True)
class Adopt:
    """Go on under another policy."""

    policy: Policy  # undivided
    news: PolicyNews


@dataclass(frozen=True, slots=True)
class Act:
    """An operator has done this with a target."""

    target: str
    action: Action


@dataclass(frozen=True, slots=True)
class Renew:
    """New connections get another certificate."""

    certificate: Certificate
