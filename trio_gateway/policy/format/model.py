"""The format of a policy file: every key that may be written, and where.

What a key means when it is absent is not said here but in `defaults`: an absent key is
None, so that `resolve` can tell what was written and inherit the rest.
"""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Tag,
    model_validator,
)

from trio_gateway.policy.format.defaults import ATTEMPTS_CEILING
from trio_gateway.policy.format.fields import (
    COUNT_MAX,
    LIST,
    MAPPING,
    NUMBER,
    TOKENS_MAX,
    WORD,
    BaseUrl,
    Count,
    Credential,
    Duration,
    HeaderName,
    HeaderText,
    Label,
    Moment,
    Mover,
    Overrides,
    ProviderName,
    ProxyUrl,
    Sha256,
    Share,
    Size,
    Slug,
    Switch,
    Word,
    by_shape,
    hard_alone,
    off_is_a_word,
)
from trio_gateway.policy.format.texts import TextError


class Section(BaseModel):
    """A mapping of the file. Unknown keys and near-miss types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


SectionT = TypeVar("SectionT", bound=Section)


def _ordered(
    section: SectionT, first: float | None, name: str, most: float | None
) -> SectionT:
    if first is not None and most is not None and first > most:
        raise TextError(f"{name} is longer than max", f"Lower {name}, or raise max.")
    return section


class GatewaySection(Section):
    """`gateway:` bounds on the whole process."""

    max_in_flight: Count | None = None
    max_body: Size | None = None
    drain: Duration | None = None


class OpenSection(Section):
    """How long a broken target is left alone."""

    base: Duration | None = None
    max: Duration | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        return _ordered(self, self.base, "base", self.max)


class BreakerSection(Section):
    """`circuit_breaker:` when a target counts as broken."""

    consecutive: Count | None = None
    share: Share | None = None
    window: Duration | None = None
    min_samples: Count | None = None
    open: OpenSection | None = None


class ProviderSection(Section):
    """An entry of `providers:`, one vendor's endpoint and our credential there."""

    kind: Literal["openai", "azure"] = "openai"
    base_url: BaseUrl
    api_key: Credential | None = None
    failure_domain: ProviderName | None = None
    headers: dict[HeaderName, HeaderText] | None = None
    max_concurrency: Count | None = None
    proxy: ProxyUrl | None = None
    ca_file: Label | None = None
    api_version: Word | None = None
    circuit_breaker: BreakerSection | None = None


class AccessKeySection(Section):
    """An entry of `access_keys:`, a client and what it may use."""

    name: Label
    org: Label | None = None
    project: Label | None = None
    key: Credential | None = None
    sha256: Sha256 | None = None
    models: Annotated[list[str], Field(min_length=1)] | None = None
    expires: Moment | None = None


class PatienceSection(Section):
    """Two limits on one wait. A duration in its place is the hard one alone."""

    soft: Duration | None = None
    hard: Duration | None = None


Patience = Annotated[PatienceSection, BeforeValidator(hard_alone)]


class TargetTimeouts(Section):
    """`timeouts:` of one attempt, which a target may have of its own."""

    connect: Duration | None = None
    first_token: Patience | None = None
    answer: Patience | None = None
    idle: Duration | None = None


class Timeouts(TargetTimeouts):
    """`timeouts:` of one attempt and of the whole request."""

    precommit: Duration | None = None
    total: Duration | None = None
    client_stall: Duration | None = None


SameTarget = Annotated[
    Annotated[Literal["auto"], Tag(WORD)]
    | Annotated[int, Field(ge=0, le=ATTEMPTS_CEILING - 1), Tag(NUMBER)],
    by_shape(number=int, otherwise=WORD),
]


class AttemptsSection(Section):
    """`attempts:` how often to try."""

    max: Annotated[int, Field(ge=1, le=ATTEMPTS_CEILING)] | None = None
    same_target: SameTarget | None = None


class BackoffSection(Section):
    """`retry.backoff:` our own wait before the same target is tried again."""

    initial: Duration | None = None
    max: Duration | None = None
    jitter: Literal["full", "equal", "none"] | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        return _ordered(self, self.initial, "initial", self.max)


class RetryAfterSection(Section):
    """`retry.retry_after:` what to make of a target's own hint."""

    prefer: Literal["fallback", "wait"] | None = None
    max_wait: Duration | None = None
    cap: Duration | None = None


class RetrySection(Section):
    """`retry:` how long to wait before the same target is tried again."""

    backoff: BackoffSection | None = None
    retry_after: RetryAfterSection | None = None


class CommitTokens(Section):
    """`commit: {tokens: 20}`."""

    tokens: Annotated[int, Field(ge=1, le=COUNT_MAX)]


class HedgeSection(Section):
    """`hedge:` a second attempt beside a first one that is slow but not yet late."""

    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    min_delay: Duration | None = None
    max_extra: Share | None = None


class QueueSection(Section):
    """`queue:` waiting for a slot at a target that is at its `max_concurrency`."""

    max: Count | None = None
    max_wait: Duration | None = None


Commit = Annotated[
    Annotated[Literal["first_token", "complete"], Tag(WORD)]
    | Annotated[CommitTokens, Tag(MAPPING)],
    by_shape(mapping=dict, otherwise=WORD),
]
Movers = Annotated[
    Annotated[Literal["default"], Tag(WORD)] | Annotated[list[Mover], Tag(LIST)],
    by_shape(list=list, otherwise=WORD),
]
Hedge = Annotated[
    Annotated[Literal["off"], Tag(WORD)] | Annotated[HedgeSection, Tag(MAPPING)],
    by_shape(mapping=dict, otherwise=WORD),
    BeforeValidator(off_is_a_word),
]


class Settings(Section):
    """What may stand under `defaults:` and under a model."""

    commit: Commit | None = None
    attempts: AttemptsSection | None = None
    timeouts: Timeouts | None = None
    retry: RetrySection | None = None
    fallback_on: Movers | None = None
    max_cost_multiplier: Annotated[float, Field(ge=1, le=10)] | None = None
    overlap: Switch | None = None
    hedge: Hedge | None = None
    queue: QueueSection | None = None


class DefaultsSection(Settings):
    """`defaults:` what holds for every model that does not say otherwise."""

    circuit_breaker: BreakerSection | None = None


class TargetSection(Section):
    """An entry of `targets:`, one provider's model and how to treat it."""

    provider: str
    model: Label
    weight: Annotated[float, Field(gt=0, le=COUNT_MAX)] | None = None
    context_tokens: Annotated[int, Field(ge=1, le=TOKENS_MAX)] | None = None
    timeouts: TargetTimeouts | None = None
    max_concurrency: Count | None = None
    circuit_breaker: BreakerSection | None = None
    overrides: Overrides | None = None

    @property
    def id(self) -> str:
        """The name of its health, whichever models use it."""
        return f"{self.provider}/{self.model}"


Tier = Annotated[list[TargetSection], Field(min_length=1)]
TargetOrTier = Annotated[
    Annotated[TargetSection, Tag(MAPPING)] | Annotated[Tier, Tag(LIST)],
    by_shape(list=list, otherwise=MAPPING),
]


class ModelSection(Settings):
    """An entry of `models:`, a slug and the targets behind it."""

    name: Label | None = None
    reasoning: bool | None = None
    targets: Annotated[list[TargetOrTier], Field(min_length=1)]
    context_length_fallback: list[TargetSection] | None = None

    @property
    def tiers(self) -> tuple[tuple[TargetSection, ...], ...]:
        """The targets, with each one outside of a tier in a tier of its own."""
        return tuple(
            tuple(entry) if isinstance(entry, list) else (entry,)
            for entry in self.targets
        )


class PolicySection(Section):
    """A whole policy, as one file or as the files of a folder merged."""

    version: Literal[1] = 1
    gateway: GatewaySection | None = None
    providers: dict[ProviderName, ProviderSection] = Field(default_factory=dict)
    access_keys: list[AccessKeySection] = Field(default_factory=list)
    defaults: DefaultsSection | None = None
    models: dict[Slug, ModelSection] = Field(default_factory=dict)


def overlay(upper: Section | None, lower: SectionT) -> SectionT:
    """What `lower` says, where `upper` does not say otherwise, key by key.

    `upper` may be of a class that `lower`'s has grown from: a target's timeouts over a
    model's.
    """
    if upper is None:
        return lower
    update: dict[str, object] = {}
    for name in upper.model_fields_set & set(type(lower).model_fields):
        mine, below = getattr(upper, name), getattr(lower, name)
        if isinstance(mine, Section) and isinstance(below, Section):
            mine = overlay(mine, below)
        update[name] = mine
    return lower.model_copy(update=update)
