"""What the engine reads: a policy resolved into values.

The file format (`model`) says things once and inherits them; here every route and
every target carries all that applies to it, so that nobody below asks where a number
came from. Durations are seconds, sizes bytes, shares fractions of one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property
from typing import Final

from trio_gateway.failover.failures import FailureClass


class ProviderKind(StrEnum):
    """Which dialect a provider speaks: a row of `providers.PROVIDERS`."""

    OPENAI = "openai"
    AZURE = "azure"


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential that does not show itself in logs, reprs or tracebacks."""

    reveal: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Whose certificates an account's servers may show, instead of the system's.

    Args:
        file: where they stood.
        pem: what stood there when the policy was read.
    """

    file: str
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """One vendor's endpoint and our credential there: an entry of `providers:`."""

    name: str
    kind: ProviderKind
    base_url: str  # without a trailing slash
    api_key: Secret | None
    failure_domain: str
    # An operator's own fields may hold a credential.
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_concurrency: int | None = None
    proxy: Secret | None = None  # a proxy's URL may hold a password
    authorities: Authorities | None = None
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Two limits on one wait: soft starts another target, hard gives this one up.

    A written limit is a ceiling; an unwritten one may adapt to what is measured.
    """

    soft_s: float
    hard_s: float
    is_soft_written: bool = False
    is_hard_written: bool = False


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each wait may last."""

    connect_s: float
    first_token: Patience
    answer: Patience
    idle_s: float
    precommit_s: float
    total_s: float
    client_stall_s: float


class CommitMode(Enum):
    """What the client must be able to get before it gets anything."""

    FIRST_TOKEN = "first_token"
    TOKENS = "tokens"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """When an attempt becomes the winner; `tokens` counts for `TOKENS` alone."""

    mode: CommitMode = CommitMode.FIRST_TOKEN
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """How often to try: in all, and again at one target (None: `auto`)."""

    max: int
    same_target: int | None


class Jitter(Enum):
    """How a backoff is spread: over all of it, over its upper half, not at all."""

    FULL = "full"
    EQUAL = "equal"
    NONE = "none"


class OnHint(Enum):
    """What to do first when a target says when to come back."""

    FALLBACK = "fallback"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How long to wait before the same target is tried again."""

    backoff_initial_s: float
    backoff_max_s: float
    jitter: Jitter
    on_hint: OnHint
    hint_wait_max_s: float
    hint_cap_s: float


@dataclass(frozen=True, slots=True)
class FallbackOn:
    """The failures that move on to the next target; others end the exchange."""

    classes: frozenset[FailureClass]
    statuses: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second attempt beside a slow first one, before its soft limit."""

    quantile: float
    min_delay_s: float
    max_extra: float


@dataclass(frozen=True, slots=True)
class Queue:
    """Waiting for a slot at a target that is at its `max_concurrency`."""

    max: int
    max_wait_s: float


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a target counts as broken, and for how long."""

    consecutive: int
    share: float
    window_s: float
    min_samples: int
    open_base_s: float
    open_max_s: float


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream option of a route: a provider's model, and how to treat it."""

    id: str  # "provider/model": the name of its health, whichever routes use it
    account: Account
    model: str
    timeouts: Timeouts
    breaker: BreakerRules
    weight: float = 1.0
    max_concurrency: int | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    context_tokens: int | None = None  # as written; only `check` looks at it


@dataclass(frozen=True)
class Route:
    """A slug and all that was decided about it."""

    slug: str
    name: str
    tiers: tuple[tuple[Target, ...], ...]
    context_chain: tuple[Target, ...]
    commit: CommitPoint
    attempts: AttemptLimits
    timeouts: Timeouts
    retry: RetryRules
    fallback_on: FallbackOn
    max_cost_multiplier: float
    is_overlap_on: bool
    hedge: Hedge | None
    queue: Queue
    is_reasoning: bool = False

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All targets but the context chain's, in order of preference."""
        return tuple(target for tier in self.tiers for target in tier)

    @cached_property
    def is_listed(self) -> bool:
        """Whether list order alone decides: no tier has two targets to balance."""
        return len(self.tiers) == len(self.targets)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A client's key: the digest of it, and what it may use."""

    name: str
    sha256: bytes  # 32 bytes: the digest of the key, which itself is not kept
    org: str | None = None
    project: str | None = None
    models: frozenset[str] | None = None  # None: every model
    expires_at: float | None = None  # wall time, seconds since 1970 UTC


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds on the whole process."""

    max_in_flight: int
    max_body_bytes: int
    drain_s: float


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the operator asked for. A value: a reload makes a new one."""

    revision: str  # a hash of what the files said
    gateway: GatewayLimits
    accounts: Mapping[str, Account]
    access_keys: tuple[AccessKey, ...]
    routes: Mapping[str, Route]


FAILURES_THAT_MOVE: Final = frozenset(
    {
        FailureClass.CONNECT,
        FailureClass.NOT_PROCESSED,
        FailureClass.RESET,
        FailureClass.SERVER_ERROR,
        FailureClass.OVERLOADED,
        FailureClass.RATE_LIMIT,
        FailureClass.QUOTA,
        FailureClass.AUTH,
        FailureClass.NOT_FOUND,
        FailureClass.TIMEOUT,
        FailureClass.BAD_ANSWER,
        FailureClass.SHED,
    }
)
"""`fallback_on: default`."""
