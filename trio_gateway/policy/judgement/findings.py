"""Findings: what a valid policy may do that nobody meant, and how to silence them.

A finding names its lint. A comment in the file silences it:

    chat:                                # trio-gateway: ignore=single-target
      targets:
        # trio-gateway: ignore=weight-without-tier, unreachable-target
        - {provider: openai, model: gpt-4.1-mini, weight: 3}

It holds for what stands on its line, and for everything under that key: beside a
model's name for the model, beside `models:` for all of them, in the first line of the
policy for the whole file. A comment on a line of its own holds for the next line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trio_gateway.policy.files.document import Document, KeyPath
from trio_gateway.policy.files.problems import Problem, Source, did_you_mean, listed

_COMMENT: Final = re.compile(r"#\s*trio-gateway:\s*ignore\s*=\s*([\w, -]*)")


class Lint(StrEnum):
    """The name of a lint, as it stands in reports and in comments."""

    ONE_FAILURE_DOMAIN = "one-failure-domain"
    SINGLE_TARGET = "single-target"
    UNREACHABLE_TARGET = "unreachable-target"
    FALLBACK_HOLDS_LESS = "fallback-holds-less"
    CONTEXT_FALLBACK_TOO_SMALL = "context-fallback-too-small"
    PATIENCE_EXCEEDED = "patience-exceeded"
    CONNECT_NEVER_RINGS = "connect-never-rings"
    SOFT_EQUALS_HARD = "soft-equals-hard"
    RETRY_NEVER_RUNS = "retry-never-runs"
    HEDGE_NEVER_RUNS = "hedge-never-runs"
    HEDGE_WITHOUT_OVERLAP = "hedge-without-overlap"
    OVERLAP_NEVER_RUNS = "overlap-never-runs"
    QUEUE_EXCEEDS_LIMIT = "queue-exceeds-limit"
    WEIGHT_WITHOUT_TIER = "weight-without-tier"
    RUN_NEVER_LONG_ENOUGH = "run-never-long-enough"
    MODEL_WITHOUT_KEY = "model-without-key"
    EXPIRED_KEY = "expired-key"
    NO_ACCESS_KEYS = "no-access-keys"
    UNUSED_PROVIDER = "unused-provider"
    UNKNOWN_LINT = "unknown-lint"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to think about: which lint, where, why, what to do."""

    lint: Lint
    path: KeyPath
    reason: str  # a phrase without a full stop
    remedy: str  # whole sentences

    def at(self, document: Document) -> Problem:
        """The finding with its place."""
        return document.problem(self.path, self.reason, self.remedy)


@dataclass(frozen=True, slots=True)
class Silences:
    """The comments of a policy's files: which names stand for which line."""

    names: Mapping[tuple[str, int], tuple[str, ...]]

    @classmethod
    def of(cls, sources: Iterable[Source]) -> "Silences":
        """Read them."""
        return cls(
            {
                (file, line): names
                for file, content in sources
                for line, names in _comments(content.decode(errors="replace"))
            }
        )

    def covers(self, finding: Finding, document: Document) -> bool:
        """Whether a comment silences it, beside its key or beside one around it."""
        path = finding.path
        for length in range(len(path) + 1):
            place = document.places.get(path[:length])
            if place is None or place.line is None:
                continue
            if finding.lint in self.names.get((place.file, place.line), ()):
                return True
        return False

    def unknown(self) -> Iterator[Problem]:
        """Every name in a comment that is no lint's."""
        for (file, line), names in self.names.items():
            for name in names:
                if name not in list(Lint):
                    remedy = did_you_mean(name, Lint)
                    remedy = remedy or f"There are {listed(Lint)}."
                    message = f'there is no lint "{name}"'
                    yield Problem(file, line, None, "", message, remedy)


def _comments(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each line that a comment holds for, with the names in it."""
    waiting: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        match = _COMMENT.search(line)
        names = tuple(re.findall(r"[\w-]+", match[1])) if match else ()
        is_comment = line.lstrip().startswith("#")
        if is_comment or not line.strip():
            waiting += names
            continue
        if waiting or names:
            yield number, waiting + names
        waiting = ()
