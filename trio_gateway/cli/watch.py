"""Whether a policy's files have changed, as far as `stat` tells.

Seen are the policy's file, or the `*.yaml` of its folder, and every file that a
`${file:PATH}` or a `ca_file` in them names; each by what it leads to in the end, so
that an editor's rename into place, a swapped symlink anywhere on the way (Kubernetes
swaps `..data`) and a file that comes or goes all count. No file is opened to find out.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from trio_gateway.policy.files.problems import PolicyError
from trio_gateway.policy.files.references import mentioned_files
from trio_gateway.policy.load import read_sources

Look = tuple[tuple[object, ...], ...]
"""What `stat` said of each file; two that are equal have seen the same."""


class WatchedFiles:
    """The files of one policy. Its methods block, briefly: call them in a thread."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._named: tuple[Path, ...] = ()

    def scan(self) -> None:
        """Read which other files they name; of what cannot be read, the old ones."""
        try:
            sources = read_sources(self._path)
        except PolicyError:
            return
        found = (
            file
            for source in sources
            for file in mentioned_files(*source, self._environ)
        )
        self._named = tuple(dict.fromkeys(found))

    def look(self) -> Look:
        """Look at every file."""
        return look_at((*self._files(), *self._named))

    def _files(self) -> Iterator[Path]:
        yield self._path
        try:
            files = sorted(self._path.iterdir())
        except OSError:  # a file, or nothing there
            return
        for file in files:
            # The two others are complained about, so that they too make a difference.
            if file.suffix in (".yaml", ".yml", ".json") and file.name[:1] != ".":
                yield file


def look_at(paths: Iterable[Path]) -> Look:
    """Look at some files; blocks, briefly: call it in a thread."""
    return tuple(map(_seen, paths))


def _seen(path: Path) -> tuple[object, ...]:
    try:
        stat = path.stat()
        real = os.path.realpath(path)
    except (OSError, ValueError):  # not there, a loop, or a path that can be none
        return (str(path), None)
    if path.is_dir():  # whatever else lies in there is nobody's business
        return (str(path), real)
    return (
        str(path),
        real,
        stat.st_dev,
        stat.st_ino,
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns,
    )
