"""What lints look at: a policy, and where each part of it was written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trio_gateway.policy.files.document import Document, KeyPath
from trio_gateway.policy.judgement.findings import Finding
from trio_gateway.policy.route import Policy, Route, Target


@dataclass(frozen=True, slots=True)
class Judged:
    """What is looked at."""

    policy: Policy
    document: Document
    wall_now: float  # seconds since 1970 UTC

    def written(self, slug: str, *keys: str | int) -> KeyPath | None:
        """Where a setting of a model was written: there, or under `defaults`."""
        for above in (("models", slug), ("defaults",)):
            if (*above, *keys) in self.document.places:
                return (*above, *keys)
        return None

    def setting(self, slug: str, *keys: str | int) -> KeyPath:
        """Where it was written, else the model."""
        return self.written(slug, *keys) or ("models", slug)

    def targets(self, route: Route) -> Iterator[tuple[KeyPath, Target]]:
        """A route's targets, each with its path."""
        for index, tier in enumerate(route.tiers):
            path: KeyPath = ("models", route.slug, "targets", index)
            is_nested = (*path, 0) in self.document.places
            for inner, target in enumerate(tier):
                yield (*path, inner) if is_nested else path, target

    def chain(self, route: Route) -> Iterator[tuple[KeyPath, Target]]:
        """The targets for prompts that are too long, each with its path."""
        above = ("models", route.slug, "context_length_fallback")
        for index, target in enumerate(route.context_chain):
            yield (*above, index), target

    def of_breaker(self, path: KeyPath, target: Target, key: str) -> KeyPath:
        """Where a key of a target's breaker was written, else the target."""
        for above in (path, ("providers", target.account.name), ("defaults",)):
            found = (*above, "circuit_breaker", key)
            if found in self.document.places:
                return found
        return path


Look = Callable[[Judged, Route], Iterator[Finding]]
"""A lint of a model."""
