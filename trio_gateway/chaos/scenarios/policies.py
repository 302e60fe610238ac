"""A scenario's policy, which needs no secrets: references stand for placeholders.

A simulated policy may also be changed at one key before it is used, which is how a
sweep tries several values.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trio_gateway.policy.files.document import Document, KeyPath
from trio_gateway.policy.files.merge import merge
from trio_gateway.policy.files.problems import PolicyError, Problem
from trio_gateway.policy.files.reading import read_document
from trio_gateway.policy.files.references import Placeholders
from trio_gateway.policy.load import policy_from, read_sources
from trio_gateway.policy.route import Policy

_REVISION_CHARS: Final = 12
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_policy_document(source: Path | Document) -> Document:
    """Read a policy's files as one document.

    Raises:
        PolicyError: they cannot be read, or joined.
    """
    if isinstance(source, Document):
        return source
    documents: list[Document] = []
    problems: list[Problem] = []
    sources = read_sources(source)
    for file, content in sources:
        document, found = read_document(file, content)
        problems += found
        if document is not None:
            documents.append(document)
    if problems:
        raise PolicyError(problems, sources)
    merged, problems = merge(documents, root=str(source))
    if problems:
        raise PolicyError(problems, sources)
    return merged


def make_policy(document: Document) -> Policy:
    """Make the policy that a document describes.

    Raises:
        PolicyError: everything that is wrong with it.
    """
    revision = hashlib.sha256(repr(document.value).encode()).hexdigest()
    return policy_from(
        document, environ=Placeholders(), revision=revision[:_REVISION_CHARS]
    )


def changed(document: Document, key: str, written: str) -> Document:
    """The document with another value at a key.

    Args:
        document: a policy.
        key: the path of keys from the top: `defaults.timeouts.first_token.soft`.
        written: the value as it would stand in the file.

    Raises:
        PolicyError: the key or the value cannot be.
    """
    path = _path(key)
    read, problems = read_document("--sweep", f"value: {written}".encode())
    if read is None or problems:
        said = problems[0].message
        problem = Problem("--sweep", None, None, key, f"{written}: {said}", "Quote it.")
        raise PolicyError([problem])
    value = _with(document.value, path, read.value["value"], key)
    assert isinstance(value, Mapping)
    return Document(value, document.places)


def _path(key: str) -> KeyPath:
    steps = _STEP.findall(key)
    return tuple(int(index) if index else name for name, index in steps)


def _with(value: object, path: KeyPath, new: object, key: str) -> object:
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping) and isinstance(step, str):
        return {**value, step: _with(value.get(step, {}), rest, new, key)}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        inner = _with(value[step], rest, new, key)
        return [*value[:step], inner, *value[step + 1 :]]
    if isinstance(value, str | int | float) and isinstance(step, str):
        return {step: _with({}, rest, new, key)}  # a short form grows
    remedy = "Name a key of the policy: defaults.timeouts.first_token.soft."
    raise PolicyError([Problem("--sweep", None, None, key, "leads nowhere", remedy)])
