"""Groups of deployments and their fallbacks, as models with lists of targets."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.format import defaults
from trio_gateway.policy.format.quantities import DURATION_MAX_S
from trio_gateway.policy.litellm.deployments import SHARES, Deployment
from trio_gateway.policy.litellm.reading import Notes
from trio_gateway.policy.litellm.settings import Settings
from trio_gateway.policy.route import FAILURES_THAT_MOVE

Target = dict[str, object]

_NO_SHARE: Final = (
    "has no {name} beside others that have, and gets as many requests here as the "
    "least of them: write its `weight`"
)
_REPEATED: Final = (
    "is the same target as one before it, and written once: `attempts.same_target` "
    "tries it again"
)


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """Which groups come after which; `*` stands for every group without its own."""

    general: Mapping[str, Sequence[str]]
    context: Mapping[str, Sequence[str]]
    content: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Named:
    """A deployment, and the name that its endpoint has as a provider."""

    deployment: Deployment
    provider: str

    @property
    def target_id(self) -> str:
        """The target's name; what is the same target has the same."""
        return f"{self.provider}/{self.deployment.model}"


Tier = list[Named]


class ModelWriter:
    """Makes an entry of `models:` of each group."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Named]],
        fallbacks: Fallbacks,
        settings: Settings,
        notes: Notes,
    ) -> None:
        self._groups = groups
        self._fallbacks = fallbacks
        self._settings = settings
        self._notes = notes
        self._concurrency: dict[str, int] = {}
        for named in (named for group in groups.values() for named in group):
            self._note_concurrency(named)

    def _note_concurrency(self, named: Named) -> None:
        """A target has one limit here, whichever groups it is in: the first that is."""
        own = named.deployment.max_concurrency or self._settings.max_concurrency
        if own and self._concurrency.setdefault(named.target_id, own) != own:
            text = f"{named.target_id} has another max_parallel_requests elsewhere"
            self._notes.add(named.deployment.path, text)

    def model(self, group: str) -> dict[str, object]:
        """The entry of one group."""
        own = self._once(_tiers(self._groups[group]))
        behind = [t for g in self._after(group, self._fallbacks.general) for t in g]
        tiers = self._once([*own, *behind])
        context = [
            named
            for tier in self._once(
                [t for g in self._after(group, self._fallbacks.context) for t in g]
            )
            for named in tier
        ]
        model: dict[str, object] = {"targets": [self._entry(tier) for tier in tiers]}
        if context:
            model["context_length_fallback"] = [self._target(n, None) for n in context]
        model |= self._fallback_on(group, tiers)
        model |= self._attempts(own, tiers)
        return model | self._timeouts([n for tier in tiers for n in tier] + context)

    def _after(
        self, group: str, fallbacks: Mapping[str, Sequence[str]]
    ) -> list[list[Tier]]:
        """The tiers of each group that comes after this one."""
        names = fallbacks.get(group, fallbacks.get("*", ()))
        return [_tiers(self._groups[name]) for name in names if name != group]

    def _once(self, tiers: Iterable[Tier]) -> list[Tier]:
        """The tiers without targets that stand in one before."""
        seen: set[str] = set()
        kept: list[Tier] = []
        for tier in tiers:
            new: Tier = []
            for named in tier:
                if named.target_id in seen:
                    self._notes.add(named.deployment.path, _REPEATED)
                    continue
                seen.add(named.target_id)
                new.append(named)
            if new:
                kept.append(new)
        return kept

    def _entry(self, tier: Tier) -> Target | list[Target]:
        if len(tier) == 1:
            return self._target(tier[0], None)
        weights = self._weights(tier)
        return [self._target(n, w) for n, w in zip(tier, weights, strict=True)]

    def _weights(self, tier: Tier) -> Sequence[float | None]:
        """The parts of a tier's requests, in small numbers."""
        names = SHARES if self._settings.is_shared_by_rates else SHARES[:1]
        written = [[n.deployment.shares.get(name) for n in tier] for name in names]
        name, shares = next(
            ((n, s) for n, s in zip(names, written, strict=True) if any(s)),
            ("", [None] * len(tier)),
        )
        for named, share in zip(tier, shares, strict=True):
            if name and share is None:
                self._notes.add(named.deployment.path, _NO_SHARE.format(name=name))
        known = [share for share in shares if share]
        if len(set(known)) < 2 and len(known) == len(tier):
            return [None] * len(tier)  # all equal
        whole = [round(share * 1000) for share in known]
        divisor = math.gcd(*whole) if whole else 1
        smallest = min(whole, default=1)
        return [
            None if not known else (round(s * 1000) if s else smallest) / divisor
            for s in shares
        ]

    def _target(self, named: Named, weight: float | None) -> Target:
        deployment = named.deployment
        target: Target = {"provider": named.provider, "model": deployment.model}
        if weight is not None:
            target["weight"] = int(weight) if weight == int(weight) else weight
        timeouts = attempt_timeouts(deployment.timeout_s, deployment.stream_timeout_s)
        if timeouts:
            target["timeouts"] = timeouts
        if named.target_id in self._concurrency:
            target["max_concurrency"] = self._concurrency[named.target_id]
        if deployment.context_tokens is not None:
            target["context_tokens"] = deployment.context_tokens
        if deployment.overrides:
            target["overrides"] = dict(deployment.overrides)
        return target

    def _fallback_on(self, group: str, tiers: list[Tier]) -> Target:
        """Refused content moves on where it moves on to what comes next anyway."""
        names = self._fallbacks.content.get(group, self._fallbacks.content.get("*", ()))
        wanted = {n.target_id for name in names for n in self._groups[name]}
        if not wanted:
            return {}
        if not wanted <= {named.target_id for tier in tiers for named in tier}:
            path = self._groups[group][0].deployment.path
            self._notes.add(
                path,
                f"content_policy_fallbacks of {group} have no list of their own here: "
                "add `content_filter` to `fallback_on`, and their targets to "
                "`targets`, if they may be asked after other failures, too",
            )
            return {}
        movers = [str(k) for k in FailureClass if k in FAILURES_THAT_MOVE]
        return {"fallback_on": [*movers, str(FailureClass.CONTENT_FILTER)]}

    def _attempts(self, own: list[Tier], tiers: list[Tier]) -> Target:
        """Retries and fallbacks, counted together, as far as a policy may."""
        own_targets = [named for tier in own for named in tier]
        count = sum(len(tier) for tier in tiers)
        behind = count - len(own_targets)
        written = [n.deployment.retries for n in own_targets]
        retries = max((r for r in written if r is not None), default=None)
        retries = self._settings.retries if retries is None else retries
        if retries is None:
            most = min(defaults.ATTEMPTS_CEILING, max(defaults.ATTEMPTS_MAX, count))
            return {"attempts": {"max": most}} if most > defaults.ATTEMPTS_MAX else {}
        wanted = 1 + retries + behind
        most = min(defaults.ATTEMPTS_CEILING, wanted)
        if wanted > most:
            self._notes.add(
                own_targets[0].deployment.path,
                f"{wanted} attempts of one request, retries and fallbacks together, "
                f"are more than {most}, the most here",
            )
        attempts: Target = {} if most == defaults.ATTEMPTS_MAX else {"max": most}
        if len(own_targets) == 1:
            attempts["same_target"] = min(retries, max(0, most - 1 - min(behind, 1)))
        return {"attempts": attempts} if attempts else {}

    def _timeouts(self, targets: Iterable[Named]) -> Target:
        """Bounds on the whole that hold what is written for its parts."""
        timeouts: Target = {}
        firsts = [n.deployment.stream_timeout_s or 0.0 for n in targets]
        wholes = [n.deployment.timeout_s or 0.0 for n in targets]
        usual = self._settings
        if max(firsts) > max(defaults.PRECOMMIT_S, usual.stream_timeout_s or 0.0):
            timeouts["precommit"] = duration(max(firsts))
        if max(wholes) > max(defaults.TOTAL_S, usual.timeout_s or 0.0):
            timeouts["total"] = duration(max(wholes))
        return {"timeouts": timeouts} if timeouts else {}


def _tiers(group: Iterable[Named]) -> list[Tier]:
    """Deployments of one order are a tier; those without order or weight come last."""
    by_rank: dict[tuple[bool, float], Tier] = {}
    for named in group:
        order = named.deployment.order
        has_weight = named.deployment.shares.get("weight") != 0
        rank = (not has_weight, math.inf if order is None else order)
        by_rank.setdefault(rank, []).append(named)
    return [by_rank[rank] for rank in sorted(by_rank)]


def attempt_timeouts(
    timeout_s: float | None, stream_timeout_s: float | None
) -> dict[str, str]:
    """A whole answer's limit, and a stream's first token's.

    LiteLLM's `timeout` holds for streams as well, unless they have their own; a long
    one says nothing of a first token.
    """
    timeouts: dict[str, str] = {}
    first_s = stream_timeout_s
    if first_s is None and timeout_s is not None and timeout_s <= defaults.PRECOMMIT_S:
        first_s = timeout_s
    if first_s:
        timeouts["first_token"] = duration(first_s)
    if timeout_s:
        timeouts["answer"] = duration(timeout_s)
    return timeouts


def duration(value_s: float) -> str:
    """Seconds as a policy writes them, within what it may write."""
    value_s = min(value_s, DURATION_MAX_S)
    if value_s == int(value_s):
        return f"{int(value_s)}s"
    return f"{max(1, round(value_s * 1000))}ms"
