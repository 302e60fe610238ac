"""The files of a folder, joined into one document.

Names and access keys add up; whatever is defined twice is an error that names both
places, for which of the two would win is nobody's guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from trio_gateway.policy.files.document import Document, KeyPath, Place, where
from trio_gateway.policy.files.problems import Problem


def merge(
    documents: Sequence[Document], *, root: str
) -> tuple[Document, list[Problem]]:
    """Join files into one; `root` is what a report calls all of them together."""
    whole = _Whole()
    alone = len(documents) == 1
    whole.places[()] = documents[0].place(()) if alone else Place(root, None, None)
    for document in documents:
        whole.add(document)
    sources = tuple(source for document in documents for source in document.sources)
    return Document(whole.value, whole.places, sources), whole.problems


@dataclass(slots=True)
class _Whole:
    value: dict[str, object] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, document: Document) -> None:
        version = document.value.get("version", 1)
        if "version" not in document.value:
            remedy = "Write `version: 1` at the top of the file."
            self._complain(document, ("version",), "is missing", remedy)
        elif version != 1 or isinstance(version, bool):
            remedy = "Write `version: 1`: this gateway reads no other."
            message = "cannot have this value"
            self._complain(document, ("version",), message, remedy)
        self.value["version"] = 1
        for section, value in document.value.items():
            if section != "version":
                self._join(document, section, value)

    def _join(self, document: Document, section: str, value: object) -> None:
        match section, self.value.get(section), value:
            case _, None, dict() | list():
                self.value[section] = value.copy()
                self._note(document, section)
            case _, None, _:
                self.value[section] = value
                self._note(document, section)
            case "access_keys", list() as mine, list():
                shift = len(mine)
                mine.extend(value)
                self._note(document, section, shift=shift)
            case "providers" | "models", dict() as mine, dict():
                for name in (name for name in value if name in mine):
                    self._taken(document, (section, name))
                self.value[section] = value | mine
                self._note(document, section)
            case _:
                self._taken(document, (section,))

    def _note(self, document: Document, section: str, *, shift: int = 0) -> None:
        """Take over the places of what was added, lists moved by what came before."""
        for path, place in document.places.items():
            if path[:1] == (section,):
                if shift and len(path) > 1:
                    path = (section, int(path[1]) + shift, *path[2:])
                self.places.setdefault(path, place)

    def _taken(self, document: Document, path: KeyPath) -> None:
        first = self.places[path]
        message, remedy = f"is defined twice, see {where(first)}", "Keep one of them."
        self.problems.append(document.problem(path, message, remedy, also=first))

    def _complain(
        self, document: Document, path: KeyPath, message: str, remedy: str
    ) -> None:
        self.problems.append(document.problem(path, message, remedy))
