"""YAML read into plain values, each with the place where it was written.

PyYAML composes nodes that know their line; here they become the dicts, lists and
scalars that the model checks, beside a map from every path of keys to its place. What
YAML allows and people regret (two equal keys, tags, endless aliases) is refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from trio_gateway.policy.problems import Problem

KeyPath = tuple[str | int, ...]

# Aliases let some lines of YAML stand for billions of values. No policy of 1 MiB has
# more than this many of its own.
NODES_MAX: Final = 100_000

# The format is eight levels deep; `overrides` may add JSON of their own.
DEPTH_MAX: Final = 50

# Longer keys are clipped in reports.
KEY_SHOWN_MAX: Final = 100

_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = {
    _TAG + "bool": "an on/off value",
    _TAG + "int": "a number",
    _TAG + "float": "a number",
    _TAG + "timestamp": "a date",
    _TAG + "null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, counted from 1; of a scalar, its text as it is there."""

    file: str
    line: int | None
    column: int | None
    text: str | None = None
    kind: str | None = None  # what YAML took the text for, if not for text


@dataclass(frozen=True, slots=True)
class Document:
    """What the files say, and where they say it."""

    value: Mapping[str, object]
    places: Mapping[KeyPath, Place]

    def place(self, path: KeyPath) -> Place:
        """Where this path was written, or the nearest thing around it."""
        return self.places[self.written_part(path)]

    def written_part(self, path: KeyPath) -> KeyPath:
        """As much of the path as was really written; the root always was."""
        while path not in self.places:
            path = path[:-1]
        return path

    def problem(self, path: KeyPath, message: str, remedy: str) -> Problem:
        """A problem with what stands, or should stand, at this path."""
        place = self.place(path)
        key = key_text(path)
        return Problem(place.file, place.line, place.column, key, message, remedy)


def key_text(path: KeyPath) -> str:
    """`models.chat.targets[0].provider`, in one line whatever the keys are."""
    steps = (f"[{s}]" if isinstance(s, int) else f".{_shown(s)}" for s in path)
    return "".join(steps).removeprefix(".")


def _shown(key: str) -> str:
    clipped = key if len(key) <= KEY_SHOWN_MAX else key[:KEY_SHOWN_MAX] + "..."
    return clipped if clipped.isprintable() else repr(clipped)


def find(value: object, pattern: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """What stands at a path; `*` in it is every name, `#` every index of a list."""
    if not pattern:
        yield (), value
        return
    step, rest = pattern[0], pattern[1:]
    children: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, list):
        children = enumerate(value) if step == "#" else ()
    elif isinstance(value, Mapping):
        children = value.items() if step == "*" else [(step, value.get(step))]
    for key, child in children:
        if child is not None:
            for path, found in find(child, rest):
                yield (key, *path), found


def where(place: Place) -> str:
    """`file:line:column`, to name a second place in a message."""
    return f"{place.file}:{place.line}:{place.column}"


def read_document(file: str, content: bytes) -> tuple[Document | None, list[Problem]]:
    """Read one file's content; no document if it is not YAML that we can follow."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message, remedy = "is not UTF-8 text", "Save the file as UTF-8."
        return None, [Problem(file, line, None, "", message, remedy)]
    try:
        root = _Composer(text).get_single_node()
    except yaml.YAMLError as error:
        return None, [_translated(file, text, error)]
    if root is None:
        message, remedy = "is empty", "A policy file begins with `version: 1`."
        return None, [Problem(file, 1, 1, "", message, remedy)]
    builder = _Builder(file)
    try:
        value = builder.build(root, ())
    except _EndlessError:
        message = "expands to far more values than it has lines"
        remedy = "Write out what its aliases (`*name`) stand for."
        return None, [Problem(file, 1, 1, "", message, remedy)]
    if not isinstance(value, dict):
        message = "must be a mapping"
        remedy = "Begin with `version: 1`, and write `key: value` pairs under it."
        return None, [Problem(file, 1, 1, "", message, remedy)]
    return Document(value, builder.places), builder.problems


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, with a bound on depth in place of a stack overflow."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            mark = None if parent is None else parent.start_mark
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _EndlessError(Exception):
    """Aliases made the document grow past `NODES_MAX`."""


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values; notes each one's place and what is wrong with it."""

    file: str
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _scalars: yaml.SafeLoader = field(default_factory=lambda: yaml.SafeLoader(""))
    _nodes: int = 0

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise _EndlessError
        self.places.setdefault(path, self._place(node))
        match node:
            case yaml.MappingNode() if node.tag == _TAG + "map":
                return self._mapping(node, path)
            case yaml.SequenceNode() if node.tag == _TAG + "seq":
                return [
                    self.build(item, (*path, index))
                    for index, item in enumerate(node.value)
                ]
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                self._complain_of_tag(node, path)
                return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        own: dict[str, yaml.Node] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for inner_key, inner_value in _merged_pairs(value_node):
                    merged.setdefault(inner_key.value, (inner_key, inner_value))
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in own:
                first = self.places[(*path, key)]
                self._complain(
                    key_node,
                    (*path, key),
                    f"is written twice, first at {where(first)}",
                    "Keep one of them.",
                )
                continue
            own[key] = value_node
            self.places[(*path, key)] = self._place(key_node, value_node)
        for key, (key_node, value_node) in merged.items():
            if key not in own and self._key(key_node, path) is not None:
                own[key] = value_node
                self.places[(*path, key)] = self._place(key_node, value_node)
        values = {key: self.build(child, (*path, key)) for key, child in own.items()}
        if "overrides" in path:  # JSON of the request, where null means something
            return values
        return {key: value for key, value in values.items() if value is not None}

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.tag in _KINDS:
            message = f"the key {_shown(node.value)} is {_KINDS[node.tag]} to YAML"
            remedy = f'Put it in quotes: "{node.value}".'
        else:
            message, remedy = "a key must be text", "Write one name before the colon."
        self._complain(node, path, message, remedy)
        return None

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "value"):  # a lone `=` has a tag of its own
            return str(node.value)
        if kind == "null":
            if "overrides" not in path:
                remedy = "Write a value, or delete the line."
                self._complain(None, path, "has no value", remedy)
            return None
        try:
            match kind:
                case "bool":
                    return bool(self._scalars.construct_yaml_bool(node))
                case "int":
                    return int(self._scalars.construct_yaml_int(node))
                case "float":
                    return float(self._scalars.construct_yaml_float(node))
                case "timestamp":
                    return self._scalars.construct_yaml_timestamp(node)
                case _:
                    self._complain_of_tag(node, path)
                    return None
        except (ValueError, OverflowError):  # 2027-02-30, or a number without end
            message = f"is not {_KINDS[node.tag]} that exists"
            self._complain(None, path, message, "Correct it, or put it in quotes.")
            return None

    def _complain_of_tag(self, node: yaml.Node, path: KeyPath) -> None:
        message = f"has the tag {node.tag.replace(_TAG, '!!')}"
        remedy = "Policy files hold plain values only: leave the tag out."
        self._complain(None, path, message, remedy)

    def _complain(
        self, node: yaml.Node | None, path: KeyPath, message: str, remedy: str
    ) -> None:
        """Note a problem, at the node if it has a place of its own, else the path's."""
        place = self.places[path] if node is None else self._place(node)
        key = key_text(path)
        self.problems.append(
            Problem(self.file, place.line, place.column, key, message, remedy)
        )

    def _place(self, node: yaml.Node, value: yaml.Node | None = None) -> Place:
        """Where a node stands, with the text of its value if that is a scalar."""
        value = value or node
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        return Place(self.file, line, column, text, _KINDS.get(value.tag))


def _merged_pairs(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """What `<<: *anchor` brings in: the pairs of a mapping, or of a list of them."""
    sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for source in sources:
        if isinstance(source, yaml.MappingNode):
            yield from source.value


def _translated(file: str, text: str, error: yaml.YAMLError) -> Problem:
    """PyYAML's complaint in our words, with a remedy for the common traps."""
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:  # a ReaderError, which knows only how far it came
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1
        message = "holds a character that YAML does not allow"
        return Problem(file, line, None, "", message, "Delete the control character.")
    said = str(getattr(error, "problem", None) or "cannot be read")
    message, remedy = _explained(said, text[max(0, mark.index - 1) : mark.index + 1])
    return Problem(file, mark.line + 1, mark.column + 1, "", message, remedy)


def _explained(said: str, around: str) -> tuple[str, str]:
    """Message and remedy for what PyYAML said about the two characters here."""
    if around == "${":
        message = (
            "${...} must be quoted inside {...} and [...], where { begins a mapping"
        )
        return message, 'Write "${NAME}", with the quotes.'
    traps = {
        "'\\t'": ("a tab stands here, and YAML allows none", "Indent with spaces."),
        "undefined alias": (said, "Define it first: `&name` before `*name`."),
        "another document": (
            "a second document begins here",
            "Write one document per file: delete the `---`.",
        ),
        "<stream end>": (
            "the file ends inside of brackets",
            "Close the { or [ that was opened before.",
        ),
        "found unexpected end of stream": (
            "the file ends inside of quotes",
            "Close the quotes that were opened before.",
        ),
        "expected <block end>": (
            "this does not belong to the lines above it",
            "Align it with the keys, or the dashes, of the same level.",
        ),
        "nested too deeply": (
            f"more than {DEPTH_MAX} values stand inside each other",
            "Look for brackets that are not closed.",
        ),
        "mapping values are not allowed": (
            "a colon stands where YAML expects none",
            "Check the indentation here, and quote a text that holds `: `.",
        ),
    }
    for words, explanation in traps.items():
        if words in said:
            return explanation
    remedy = "Look for a missing quote, bracket or space just before this."
    return f"is not YAML: {said}", remedy
