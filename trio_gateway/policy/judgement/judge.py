"""Beyond validity: what a policy lets happen at worst, and what nobody can have meant.

For each model the bounds of one request, for each provider what its loss would do, and
the findings of all lints but those that a comment silences.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trio_gateway.policy.files.problems import Problem
from trio_gateway.policy.judgement.bounds import Bounds, bounds_of
from trio_gateway.policy.judgement.contexts import unjudged
from trio_gateway.policy.judgement.findings import Lint, Silences
from trio_gateway.policy.judgement.judged import Judged
from trio_gateway.policy.judgement.lints import LOOKS, access_keys, unused_providers
from trio_gateway.policy.load import Loaded
from trio_gateway.policy.route import Policy


@dataclass(frozen=True, slots=True)
class Warned:
    """What a lint has to say about one place."""

    lint: Lint
    problem: Problem


@dataclass(frozen=True, slots=True)
class Loss:
    """What happens if a provider is gone."""

    provider: str
    lost: tuple[str, ...]  # models without any other target
    on_others: tuple[str, ...]  # models that go on with their other targets


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that there is to say about a valid policy."""

    bounds: dict[str, Bounds]  # by model
    losses: tuple[Loss, ...]
    warnings: tuple[Warned, ...]  # in the order of the files
    silenced: int  # how many more there are, that comments silence
    notes: tuple[str, ...]  # what could not be judged


def judge(loaded: Loaded, *, wall_now: float) -> Judgement:
    """Judge a valid policy.

    Args:
        loaded: The policy, and what it was read from.
        wall_now: Seconds since 1970 UTC, for the keys that expire.
    """
    policy, document = loaded.policy, loaded.document
    judged = Judged(policy, document, wall_now)
    silences = Silences.of(loaded.sources)
    findings = [
        *access_keys(judged),
        *unused_providers(judged),
        *(
            f
            for route in policy.routes.values()
            for look in LOOKS
            for f in look(judged, route)
        ),
    ]
    heard = [f for f in findings if not silences.covers(f, document)]
    warnings = [Warned(finding.lint, finding.at(document)) for finding in heard]
    warnings += [Warned(Lint.UNKNOWN_LINT, p) for p in silences.unknown()]
    warnings.sort(key=lambda w: (w.problem.file, w.problem.line or 0))
    return Judgement(
        bounds={slug: bounds_of(route) for slug, route in policy.routes.items()},
        losses=tuple(_losses(policy)),
        warnings=tuple(dict.fromkeys(warnings)),
        silenced=len(findings) - len(heard),
        notes=tuple(filter(None, map(unjudged, policy.routes.values()))),
    )


def _losses(policy: Policy) -> Iterator[Loss]:
    for name in policy.accounts:
        lost: list[str] = []
        on_others: list[str] = []
        for slug, route in policy.routes.items():
            accounts = {target.account.name for target in route.targets}
            if accounts == {name}:
                lost.append(slug)
            elif name in accounts:
                on_others.append(slug)
        yield Loss(name, tuple(lost), tuple(on_others))
