"""`${NAME}` and `${file:PATH}`, replaced by what they stand for.

Secrets never stand in a policy file; where one is wanted, something literal is refused.
All that is missing is named at once, and what was found is never shown.
"""

import errno
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trio_gateway.policy.files.document import Document, KeyPath, find
from trio_gateway.policy.files.problems import Problem, listed, one_line

# A secret file holds one credential; the largest that we know of, a service account's
# JSON, has under 3 KiB.
SECRET_FILE_BYTES_MAX: Final = 64 * 1024

# Header fields that carry credentials, in the customs of all providers we know.
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key"}
)

# `$${` is how to write a `${` that means nothing.
_PIECE: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_ONE_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")
# `//user:password@host`, where the password is no reference.
_LITERAL_PASSWORD: Final = re.compile(r"//[^/@]*:(?!\$\{)[^/@]+@")
# A value in quotes, or a plain one, which may hold a `${NAME}`.
_CA_FILE: Final = re.compile(
    r"""\bca_file: *(?:["']([^"'\n]+)["']|((?:\$\{\w*\}|[^"'\s,}#{])+))"""
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Placeholders(Mapping[str, str]):
    """Variables for who needs no secrets: what is not set stands for a made-up text.

    A placeholder can be a key as well as an address, or a `part` of one that does not
    begin it. With these, `expand` reads no file: its name gets a placeholder, too.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = known or {}

    def __getitem__(self, name: str) -> str:
        return self._known.get(name) or f"http://{self.part(name)}.placeholder"

    def part(self, name: str) -> str:
        """What stands for a name inside of a longer text."""
        word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        return self._known.get(name) or word or "nameless"

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def expand(
    document: Document, environ: Mapping[str, str]
) -> tuple[Document, list[Problem]]:
    """Replace every reference; a text with one that is missing stays as it is.

    Paths of `${file:PATH}` and of `ca_file` are relative to the policy file's folder.
    """
    expansion = _Expansion(document, environ)
    value = {key: expansion.of(v, (key,)) for key, v in document.value.items()}
    literals = list(_literal_secrets(document))
    return Document(value, document.places), [*literals, *expansion.problems]


def mentioned_files(
    file: str, content: bytes, environ: Mapping[str, str]
) -> list[Path]:
    """Every `${file:PATH}` and `ca_file: PATH` in a policy file, in comments too."""
    text = content.decode(errors="replace")
    names = [match[1] or "" for match in _PIECE.finditer(text)]
    paths = [n.removeprefix("file:") for n in names if n.startswith("file:")]
    for match in _CA_FILE.finditer(text):
        written = (match[1] or match[2]).strip()
        paths.append(_PIECE.sub(lambda m: environ.get(m[1] or "", ""), written))
    return [Path(file).parent / path for path in dict.fromkeys(paths)]


def read_start(file: Path, bytes_max: int) -> bytes:
    """The first bytes of a file; of nothing else, for a pipe could make us wait.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    if not stat.S_ISREG(file.stat().st_mode):
        kind = "a folder" if file.is_dir() else "a pipe or a device"
        raise OSError(errno.EINVAL, f"is {kind}, not a file")
    with file.open("rb") as stream:
        return stream.read(bytes_max)


def holds_reference(text: str | None) -> bool:
    """Whether this text, as written, stands for something else."""
    return text is not None and any(m[1] is not None for m in _PIECE.finditer(text))


@dataclass(slots=True)
class _Expansion:
    document: Document
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def of(self, value: object, path: KeyPath) -> object:
        match value:
            case dict():
                return {key: self.of(v, (*path, key)) for key, v in value.items()}
            case list():
                return [self.of(v, (*path, i)) for i, v in enumerate(value)]
            case str() if path[:1] == ("providers",) and path[2:] == ("ca_file",):
                return str(self._folder(path) / self._text(value, path))
            case str() if "${" in value:
                return self._text(value, path)
            case _:
                return value

    def _text(self, text: str, path: KeyPath) -> str:
        unset: dict[str, None] = {}  # a set that keeps its order
        before = len(self.problems)

        def replaced(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name = match[1] or ""
            is_file = name.startswith("file:")
            if not is_file and not _NAME.fullmatch(name):
                message = "holds a ${ that begins no reference"
                remedy = "Write ${NAME} or ${file:PATH}; $${ stands for a plain ${."
                self._complain(path, message, remedy)
                return ""
            if isinstance(self.environ, Placeholders) and match.start() > 0:
                return self.environ.part(name)
            if is_file:
                return self._file(name.removeprefix("file:"), path)
            if not self.environ.get(name):
                unset[name] = None
            return self.environ.get(name, "")

        expanded = _PIECE.sub(replaced, text)
        if unset:
            subject = "variable" if len(unset) == 1 else "variables"
            verb, it = ("is", "it") if len(unset) == 1 else ("are", "them")
            message = f"the environment {subject} {listed(unset)} {verb} unset or empty"
            self._complain(path, message, f"Set {it} before starting the gateway.")
        return expanded if len(self.problems) == before else text

    def _file(self, name: str, path: KeyPath) -> str:
        if isinstance(self.environ, Placeholders):
            return self.environ[f"file:{name}"]
        file = self._folder(path) / name
        why_not = None
        try:
            content = read_start(file, SECRET_FILE_BYTES_MAX + 1)
            text = content.decode().removesuffix("\n").removesuffix("\r")
        except OSError as error:
            why_not = error.strerror or "no reason given"
        except ValueError:  # undecodable, or a path that can be none
            why_not = "not UTF-8 text"
        else:
            if len(content) > SECRET_FILE_BYTES_MAX:
                why_not = f"more than {SECRET_FILE_BYTES_MAX} bytes"
            elif not text:
                why_not = "empty"
            else:
                return text
        message = f"the file {one_line(name)} cannot be used: {why_not}"
        self._complain(path, message, "Correct the path, or what the file holds.")
        return ""

    def _folder(self, path: KeyPath) -> Path:
        return Path(self.document.place(path).file).parent

    def _complain(self, path: KeyPath, message: str, remedy: str) -> None:
        self.problems.append(self.document.problem(path, message, remedy))


def _literal_secrets(document: Document) -> Iterator[Problem]:
    """Credentials that stand in the file itself. They are not quoted, of course."""
    root, message = document.value, "holds a literal secret"
    remedy = "Write ${NAME} and set NAME in the environment, or ${file:PATH}."
    for path, value in find(root, ("providers", "*", "api_key")):
        if not _is_one_reference(value):
            yield document.problem(path, message, remedy)
    for path, value in find(root, ("access_keys", "#", "key")):
        if not _is_one_reference(value):
            remedy_too = "Write ${NAME}, or `sha256:` and the key's hash instead."
            yield document.problem(path, message, remedy_too)
    for path, value in find(root, ("providers", "*", "headers", "*")):
        is_secret = str(path[-1]).lower() in SECRET_HEADERS
        if is_secret and not holds_reference(str(value)):
            yield document.problem(path, message, remedy)
    for path, value in find(root, ("providers", "*", "proxy")):
        if _LITERAL_PASSWORD.search(str(value)):
            yield document.problem(path, "holds a literal password", remedy)


def _is_one_reference(value: object) -> bool:
    return isinstance(value, str) and _ONE_REFERENCE.fullmatch(value) is not None
