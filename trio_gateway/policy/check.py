"""Whether the parts of a policy fit together: what no section can know by itself.

Names that must exist elsewhere, things said twice, limits that contradict each other.
Each problem names both places where there are two.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from trio_gateway.policy.files.document import Document, KeyPath, find, where
from trio_gateway.policy.files.problems import Problem, did_you_mean, one_line
from trio_gateway.policy.files.references import holds_reference
from trio_gateway.policy.format import model
from trio_gateway.policy.resolve import (
    access_digest,
    breaker_of,
    settings_of,
    timeouts_of,
)
from trio_gateway.policy.route import Authorities

AuthoritiesIn = Callable[[str], str]
"""Reads the certificates in a file, as PEM; raises `UntrustedError`."""

LocatedTarget = tuple[KeyPath, model.TargetSection]

Layer = tuple[KeyPath, model.TargetTimeouts | None]

# Where names stand, and what they are names of.
REFERENCES: Final[Mapping[KeyPath, str]] = {
    ("models", "*", "targets", "#", "provider"): "provider",
    ("models", "*", "targets", "#", "#", "provider"): "provider",
    ("models", "*", "context_length_fallback", "#", "provider"): "provider",
    ("access_keys", "#", "models", "#"): "model",
}

# Enough names to find the one that was meant, in one line of a report.
NAMES_SHOWN_MAX: Final = 10

# What comes after an Azure resource's address, of which portals show all.
_AZURE_PATH: Final = re.compile(r"/openai/deployments(/|$)|/(openai|v1)$")


class UntrustedError(Exception):
    """A file holds no certificates to trust; it says why."""


def check(written: model.PolicySection, document: Document) -> Iterator[Problem]:
    """Every contradiction between the sections.

    Args:
        written: Those sections that are sound in themselves.
        document: The whole policy: a name in it exists, even if what stands behind
            that name is not sound.
    """
    yield from _emptiness(document)
    yield from _unknown_names(document)
    yield from _providers(written, document)
    yield from _access_keys(written, document)
    for slug, section in written.models.items():
        yield from _repeated_targets(slug, section, document)
        yield from _limits(slug, written, document)
    yield from _two_healths(written, document)


def read_authorities(
    written: model.PolicySection,
    document: Document,
    authorities_in: AuthoritiesIn,
) -> tuple[Mapping[str, Authorities], Sequence[Problem]]:
    """Read every `ca_file`, by the provider's name; and what is wrong with any."""
    found: dict[str, Authorities] = {}
    problems: list[Problem] = []
    for name, provider in written.providers.items():
        file = provider.ca_file
        if file is None:
            continue
        try:
            found[name] = Authorities(file, authorities_in(file))
        except UntrustedError as error:
            message = f"the file {file} cannot be used: {error}"
            remedy = "Name a PEM file of certificates."
            path = ("providers", name, "ca_file")
            problems.append(document.problem(path, message, remedy))
    return found, problems


def names(document: Document, section: str) -> tuple[str, ...]:
    """The names that are defined in a section, sound or not."""
    return tuple(str(path[-1]) for path, _ in find(document.value, (section, "*")))


def targets_of(slug: str, section: model.ModelSection) -> Iterator[LocatedTarget]:
    """Every target of a model, with its path."""
    return chain(_chain_targets(slug, section), _context_targets(slug, section))


def _chain_targets(slug: str, section: model.ModelSection) -> Iterator[LocatedTarget]:
    for index, entry in enumerate(section.targets):
        path: KeyPath = ("models", slug, "targets", index)
        if isinstance(entry, model.TargetSection):
            yield path, entry
        else:
            yield from (((*path, i), target) for i, target in enumerate(entry))


def _context_targets(slug: str, section: model.ModelSection) -> Iterator[LocatedTarget]:
    for index, target in enumerate(section.context_length_fallback or ()):
        yield ("models", slug, "context_length_fallback", index), target


def _unknown_names(document: Document) -> Iterator[Problem]:
    """Names of what is defined nowhere, also in sections that are not sound."""
    for pattern, what in REFERENCES.items():
        known = dict.fromkeys(names(document, f"{what}s"))
        for path, name in find(document.value, pattern):
            if isinstance(name, str) and name not in known:
                yield _unknown(document, path, name, what, tuple(known))


def _emptiness(document: Document) -> Iterator[Problem]:
    for section, remedy in (
        ("providers", "Write `providers: {NAME: {base_url: ADDRESS}}`."),
        ("models", "Write `models: {SLUG: {targets: [...]}}`."),
    ):
        written = list(find(document.value, (section,)))
        if not written and any(did_you_mean(key, [section]) for key in document.value):
            continue  # it is there, misspelt, and that is complained about
        if not written or written[0][1] in ({}, []):
            yield document.problem((section,), "none is defined", remedy)


def _providers(written: model.PolicySection, document: Document) -> Iterator[Problem]:
    for name, provider in written.providers.items():
        path = ("providers", name)
        if provider.kind != "azure" and provider.api_version is not None:
            message = "only a provider of kind azure has one"
            remedy = "Delete it, or write `kind: azure`."
            yield document.problem((*path, "api_version"), message, remedy)
        if provider.kind == "azure" and _AZURE_PATH.search(provider.base_url):
            message = "holds a part of the path that the gateway adds itself"
            remedy = "End it after the host, as in https://NAME.openai.azure.com."
            yield document.problem((*path, "base_url"), message, remedy)
        credential = "api-key" if provider.kind == "azure" else "authorization"
        for field in provider.headers or ():
            if provider.api_key is not None and field.lower() == credential:
                message = "is where api_key is sent"
                remedy = "Leave one of the two out."
                yield document.problem((*path, "headers", field), message, remedy)


def _access_keys(written: model.PolicySection, document: Document) -> Iterator[Problem]:
    by_name: dict[str, KeyPath] = {}
    by_digest: dict[bytes, KeyPath] = {}
    for index, key in enumerate(written.access_keys):
        path: KeyPath = ("access_keys", index)
        if (key.key is None) == (key.sha256 is None):
            message = "needs either `key` or `sha256`"
            remedy = "Write `key: ${NAME}`, or the hash that `keys new` prints."
            yield document.problem(path, message, remedy)
            continue
        first = by_name.setdefault(key.name, path)
        if first != path:
            message = "another key has this name"
            yield _second(document, (*path, "name"), first, message)
        first = by_digest.setdefault(access_digest(key), path)
        if first != path:
            yield _second(document, path, first, "the same key has another name")


def _repeated_targets(
    slug: str, section: model.ModelSection, document: Document
) -> Iterator[Problem]:
    for located in (_chain_targets(slug, section), _context_targets(slug, section)):
        seen: dict[str, KeyPath] = {}
        for path, target in located:
            first = seen.setdefault(target.id, path)
            if first != path:
                message = "this target is in the list already"
                remedy = "Delete it; `attempts.same_target` tries a target again."
                yield _second(document, path, first, message, remedy)


def _limits(
    slug: str, written: model.PolicySection, document: Document
) -> Iterator[Problem]:
    """Limits that contradict each other, on the model and on each of its targets."""
    section = written.models[slug]
    settings = settings_of(written, slug).timeouts or model.Timeouts()
    whole = timeouts_of(settings, is_reasoning=bool(section.reasoning))
    of_defaults = None if written.defaults is None else written.defaults.timeouts
    above: list[Layer] = [
        (("models", slug, "timeouts"), section.timeouts),
        (("defaults", "timeouts"), of_defaults),
    ]
    below = [
        [((*path, "timeouts"), target.timeouts), *above]
        for path, target in targets_of(slug, section)
        if target.timeouts is not None
    ]
    for layers in (above, *below):
        for wait, bound, bound_s in (
            ("first_token", "precommit", whole.precommit_s),
            ("answer", "total", whole.total_s),
        ):
            soft = _limit_in_force(layers, wait, "soft")
            hard = _limit_in_force(layers, wait, "hard")
            if soft and hard and soft.seconds > hard.seconds:
                nearer, other = sorted((soft, hard), key=lambda limit: limit.layer)
                message = (
                    f"the soft limit of {wait} is longer than the hard one, see "
                    f"{where(document.place(other.path))}"
                )
                remedy = "Lower soft, or raise hard."
                yield document.problem(
                    document.written_part(nearer.path), message, remedy, also=other.path
                )
            if hard and hard.seconds > bound_s:
                message = f"is longer than {bound} ({bound_s:g}s), which ends it before"
                remedy = f"Lower it, or raise `timeouts.{bound}`."
                yield document.problem(
                    document.written_part(hard.path), message, remedy
                )


@dataclass(frozen=True, slots=True)
class _Limit:
    seconds: float
    path: KeyPath
    layer: int  # 0: the nearest to the target


def _limit_in_force(layers: Sequence[Layer], wait: str, name: str) -> _Limit | None:
    """The written limit that is inherited, and where it was written."""
    for layer, (path, timeouts) in enumerate(layers):
        seconds = getattr(getattr(timeouts, wait, None), name, None)
        if seconds is not None:
            return _Limit(seconds, (*path, wait, name), layer)
    return None


def _two_healths(written: model.PolicySection, document: Document) -> Iterator[Problem]:
    """One target has one health, whichever models use it."""
    seen: dict[str, LocatedTarget] = {}
    for slug, section in written.models.items():
        for path, target in targets_of(slug, section):
            if target.provider not in written.providers:
                continue
            first_path, first = seen.setdefault(target.id, (path, target))
            is_same = target.max_concurrency == first.max_concurrency and (
                breaker_of(written, target) == breaker_of(written, first)
            )
            if not is_same:
                message = (
                    "this target has another circuit_breaker or max_concurrency "
                    "elsewhere"
                )
                remedy = "Write the same at both, or write it on the provider."
                yield _second(document, path, first_path, message, remedy)


def _unknown(
    document: Document, path: KeyPath, name: str, what: str, known: Sequence[str]
) -> Problem:
    """A name that is defined nowhere. It is quoted unless it came from elsewhere."""
    is_written = not holds_reference(document.place(path).text)
    subject = (
        f'there is no {what} "{one_line(name)}"'
        if is_written
        else f"there is no such {what}"
    )
    remedy = did_you_mean(name, known) if is_written else None
    return document.problem(path, subject, remedy or _defined(what, known))


def _defined(what: str, known: Sequence[str]) -> str:
    if not known:
        return f"Define it under `{what}s`."
    most = known[:NAMES_SHOWN_MAX]
    more = ", ..." if len(known) > len(most) else ""
    return f"Defined are {', '.join(most)}{more}."


def _second(
    document: Document,
    path: KeyPath,
    first: KeyPath,
    message: str,
    remedy: str = "Keep one of them.",
) -> Problem:
    """A problem of two places: it stands at the second, and names the first."""
    first_place = where(document.place(first))
    message = f"{message}, see {first_place}"
    return document.problem(path, message, remedy, also=first)
