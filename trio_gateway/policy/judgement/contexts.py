"""How long a prompt may be at each target, and what a policy makes of that.

Nobody here counts tokens: whether a prompt fits is the provider's word. But a fallback
that holds less than what it stands in for is known beforehand, if the sizes are: by
`context_tokens` of the target, or by a well-known name.
"""

import re
from collections.abc import Iterator
from typing import Final

from trio_gateway.policy.judgement.findings import Finding, Lint
from trio_gateway.policy.judgement.judged import Judged
from trio_gateway.policy.route import Route, Target

# How many tokens a model reads, from the providers' own pages. A name may end in a
# date; a model that is not here is not judged.
CONTEXTS: Final = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4o-mini": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.1-mini": 1_047_576,
    "gpt-4.1-nano": 1_047_576,
    "o1": 200_000,
    "o3": 200_000,
    "o3-mini": 200_000,
    "o4-mini": 200_000,
}
_DATE: Final = re.compile(r"-\d{4}(-\d\d-\d\d)?$")


def context_of(target: Target) -> int | None:
    """How many tokens a target reads, if that was written or its name is known."""
    if target.context_tokens is not None:
        return target.context_tokens
    return CONTEXTS.get(_DATE.sub("", target.model.rpartition("/")[2]))


def fallback_holds_less(judged: Judged, route: Route) -> Iterator[Finding]:
    """A fallback that refuses prompts which the first target would have read."""
    usual = max((context_of(target) or 0 for target in route.tiers[0]), default=0)
    chain = [context_of(target) for target in route.context_chain]
    if any(tokens is None or tokens >= usual for tokens in chain):
        return  # what does not fit goes on to one that holds as much, or may do
    for path, target in judged.targets(route):
        tokens = context_of(target)
        if tokens is not None and tokens < usual:
            yield Finding(
                Lint.FALLBACK_HOLDS_LESS,
                path,
                f"{target.id} reads {tokens:,} tokens, and the first choice {usual:,}: "
                "while that is out, longer prompts are refused",
                "Name a model with as large a context here, or one in "
                "`context_length_fallback`.",
            )


def context_fallback_too_small(judged: Judged, route: Route) -> Iterator[Finding]:
    """A fallback for long prompts that holds no longer ones."""
    usual = [context_of(target) for target in route.targets]
    known = [tokens for tokens in usual if tokens is not None]
    if len(known) < len(usual):
        return
    for path, target in judged.chain(route):
        tokens = context_of(target)
        if tokens is not None and tokens <= min(known):
            yield Finding(
                Lint.CONTEXT_FALLBACK_TOO_SMALL,
                path,
                f"{target.id} reads {tokens:,} tokens, no more than what the "
                "prompt did not fit into",
                "Name a model with a larger context.",
            )


def unjudged(route: Route) -> str | None:
    """What the lints here would need to know of a model, where anybody cares."""
    targets = (*route.targets, *route.context_chain)
    is_of_interest = route.context_chain or any(t.context_tokens for t in targets)
    unknown = [target.id for target in targets if context_of(target) is None]
    if not is_of_interest or not unknown:
        return None
    return (
        f"{route.slug}: whether every fallback holds the prompts that lead to it, for "
        f"how many tokens {unknown[0]} reads is not known here: write `context_tokens`"
    )
