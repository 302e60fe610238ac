"""From policy files to a policy: read, merge, expand, check, resolve.

Every problem of every file is found in one go and raised together, as far as one can
still look: only a file that is no YAML at all ends it early.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from trio_gateway.policy.check import AuthoritiesIn, check, read_authorities
from trio_gateway.policy.files.document import Document
from trio_gateway.policy.files.merge import merge
from trio_gateway.policy.files.problems import PolicyError, Problem, Report, Source
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.files.references import expand, read_start
from trio_gateway.policy.format.complaints import unknown_keys, wrong_values
from trio_gateway.policy.format.model import PolicySection
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import Authorities, Policy

# A policy of a thousand models has a tenth of it.
FILE_BYTES_MAX: Final = 1024 * 1024

# One file per team is the most that we can imagine.
FILES_MAX: Final = 256

# What editors read stands beside what it is for.
SCHEMA_SUFFIX: Final = ".schema.json"

# Enough of a hash to tell any two revisions apart, and to read aloud.
REVISION_CHARS: Final = 12


def _not_read(_: str) -> str:
    """No certificates: nobody will connect."""
    return ""


_Checked = tuple[PolicySection, Mapping[str, Authorities]]
"""What was written, and by provider what its `ca_file` holds."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy, and the files that it was read from."""

    policy: Policy
    sources: tuple[Source, ...]
    document: Document  # as written: nothing in it is expanded


def load_policy(
    path: Path,
    *,
    environ: Mapping[str, str],
    authorities_in: AuthoritiesIn = _not_read,
) -> Policy:
    """Read a policy file, or all `*.yaml` of a folder as one policy; see `load`."""
    return load(path, environ=environ, authorities_in=authorities_in).policy


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    authorities_in: AuthoritiesIn = _not_read,
) -> Loaded:
    """Read a policy file, or all `*.yaml` of a folder as one policy, with its sources.

    Args:
        path: The file or the folder.
        environ: What `${NAME}` stands for.
        authorities_in: Reads each `ca_file`.

    Raises:
        PolicyError: Everything that is wrong, each with place and remedy.
    """
    sources = read_sources(path)
    checked, document = _read(sources, environ, str(path), authorities_in)
    written, authorities = checked
    policy = resolve(written, revision=_revision(sources), authorities=authorities)
    return Loaded(policy, sources, document)


def read_sources(path: Path) -> tuple[Source, ...]:
    """The files of a policy.

    Raises:
        PolicyError: There are none, too many, or some cannot be read.
    """
    try:
        files, problems = _files_at(path)
    except OSError as error:
        raise PolicyError([_unreadable(path, error)]) from error
    if not files:
        remedy = "Name a policy file, or a folder with some."
        problems.append(_of_file(path, "holds no *.yaml file", remedy))
    if len(files) > FILES_MAX:
        message = f"holds more than {FILES_MAX} files"
        raise PolicyError([_of_file(path, message, "Join some of them.")])
    sources: list[Source] = []
    for file in files:
        try:
            content = read_start(file, FILE_BYTES_MAX + 1)
        except OSError as error:
            problems.append(_unreadable(file, error))
            continue
        if len(content) > FILE_BYTES_MAX:
            message = "is larger than 1 MiB"
            remedy = "Split it into several files in one folder."
            problems.append(_of_file(file, message, remedy))
        sources.append((str(file), content))
    if problems:
        raise PolicyError(problems)
    return tuple(sources)


def _files_at(path: Path) -> tuple[list[Path], list[Problem]]:
    """The file itself, or those of a folder; and what else lies in that."""
    if not path.is_dir():
        return [path], []
    shown = [file for file in sorted(path.iterdir()) if file.name[:1] != "."]
    files = [file for file in shown if file.suffix == ".yaml"]
    problems = [
        _of_file(file, "is not read", "Rename it to end in .yaml, or move it away.")
        for file in shown
        if file.suffix in (".yml", ".json") and not file.name.endswith(SCHEMA_SUFFIX)
    ]
    return files, problems


def _is_scenario(document: Document) -> bool:
    """Whether a file was meant for `simulate`."""
    keys = document.value.keys()
    return keys >= {"policy", "clients"} and not keys & {"providers", "models"}


def read_policy(
    sources: Sequence[Source],
    *,
    environ: Mapping[str, str],
    root: str,
    authorities_in: AuthoritiesIn = _not_read,
) -> PolicySection:
    """What the files say together, checked.

    Args:
        sources: The files. Nothing is read but what `${file:PATH}` names.
        environ: What `${NAME}` stands for.
        root: The name under which a report speaks of all files together.
        authorities_in: Reads each `ca_file`.

    Raises:
        PolicyError: Everything that is wrong, each with place and remedy.
    """
    (written, _), _ = _read(sources, environ, root, authorities_in)
    return written


def _read(
    sources: Sequence[Source],
    environ: Mapping[str, str],
    root: str,
    authorities_in: AuthoritiesIn,
) -> tuple[_Checked, Document]:
    """What the files say, checked and expanded; and as it was written."""
    report = Report(sources)
    parsed = [read_document(file, content) for file, content in sources]
    for _, problems in parsed:
        report.extend(problems)
    documents = [document for document, _ in parsed if document is not None]
    scenarios = [each for each in documents if _is_scenario(each)]
    for scenario in scenarios:
        remedy = f"Play it: trio-gateway simulate {scenario.place(()).file}"
        report.extend([scenario.problem((), "is a scenario, not a policy", remedy)])
    if len(documents) - len(scenarios) < len(sources):
        report.raise_if_any()  # what it would have defined is unknown

    unexpanded, problems = merge(documents, root=root)
    report.extend(problems)
    return _checked(unexpanded, environ, authorities_in, report), unexpanded


def policy_from(
    document: Document, *, environ: Mapping[str, str], revision: str
) -> Policy:
    """A policy from a document that is read and merged already.

    Args:
        document: What was written; nothing in it is expanded.
        environ: What `${NAME}` stands for.
        revision: The policy's.

    Raises:
        PolicyError: Everything that is wrong, each with place and remedy.
    """
    written, _ = _checked(document, environ, _not_read, Report(document.sources))
    return resolve(written, revision=revision)


def _checked(
    unexpanded: Document,
    environ: Mapping[str, str],
    authorities_in: AuthoritiesIn,
    report: Report,
) -> _Checked:
    """What was written, expanded, if neither it nor the report has a problem."""
    document, missing = expand(unexpanded, environ)
    written, error = _validated(document)
    if error is not None:
        report.extend(unknown_keys(error, document))
    report.extend(missing)
    if error is not None:
        report.extend(wrong_values(error, document))
    report.extend(check(written, document))
    authorities, untrusted = read_authorities(written, document, authorities_in)
    report.extend(untrusted)
    report.raise_if_any()
    return written, authorities


def _validated(document: Document) -> tuple[PolicySection, ValidationError | None]:
    """The sections; where some are not sound, the others, and what was found."""
    try:
        return PolicySection.model_validate(document.value), None
    except ValidationError as error:
        unsound = {details["loc"][:2] for details in error.errors(include_input=False)}
        sound = _without(document.value, unsound)
        return PolicySection.model_validate(sound), error


def _without(
    value: Mapping[str, object], unsound: set[tuple[str | int, ...]]
) -> dict[str, object]:
    """The policy less the entries of `providers` and `models` that cannot be used.

    Of the other sections, nothing is left if anything in them is wrong.
    """
    sound: dict[str, object] = {}
    for section, entries in value.items():
        bad = {path for path in unsound if path[0] == section}
        if section in ("providers", "models") and isinstance(entries, dict):
            sound[section] = {
                name: entry
                for name, entry in entries.items()
                if (section, name) not in bad
            }
        elif not bad:
            sound[section] = entries
    return sound


def _revision(sources: Iterable[Source]) -> str:
    digest = hashlib.sha256()
    for _, content in sources:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:REVISION_CHARS]


def _of_file(path: Path, message: str, remedy: str) -> Problem:
    return Problem(str(path), None, None, "", message, remedy)


def _unreadable(path: Path, error: OSError) -> Problem:
    message = f"cannot be read: {error.strerror}"
    return _of_file(path, message, "Check the path and its rights.")
