"""YAML read into plain values, each with the place where it was written.

PyYAML composes nodes that know their line; here they become the dicts, lists and
scalars that the model checks, beside a map from every path of keys to its place. What
YAML allows and people regret (two equal keys, tags, endless aliases) is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml.composer import Composer

from trio_gateway.policy.files.document import (
    Document,
    KeyPath,
    Place,
    key_shown,
    problem_at,
    where,
)
from trio_gateway.policy.files.problems import Problem
from trio_gateway.policy.files.syntax import DEPTH_MAX, TOO_DEEP, not_yaml

# Aliases let some lines of YAML stand for billions of values. No policy of 1 MiB has
# more than this many of its own.
NODES_MAX: Final = 100_000

# What is said of a key with nothing behind it.
HAS_NO_VALUE: Final = "has no value"

_TAG: Final = "tag:yaml.org,2002:"
_KINDS: Final = {
    _TAG + "bool": "an on/off value",
    _TAG + "int": "a number",
    _TAG + "float": "a number",
    _TAG + "timestamp": "a date",
    _TAG + "null": "nothing",
}


def read_document(file: str, content: bytes) -> tuple[Document | None, list[Problem]]:
    """Read one file's content; no document if it is not YAML that we can follow."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return None, [_not_utf8(file, content, error.start)]
    try:
        root = compose(text)
    except yaml.YAMLError as error:
        return None, [not_yaml(file, text, error)]
    if root is None:
        message, remedy = "is empty", "A policy file begins with `version: 1`."
        return None, [Problem(file, 1, 1, "", message, remedy)]
    builder = _Builder(file)
    try:
        value = builder.build(root, ())
    except _EndlessError as error:
        return None, [error.problem]
    if not isinstance(value, dict):
        message = "must be a mapping"
        remedy = "Begin with `version: 1`, and write `key: value` pairs under it."
        return None, [Problem(file, 1, 1, "", message, remedy)]
    document = Document(value, builder.places, ((file, content),))
    return document, builder.problems


def _not_utf8(file: str, content: bytes, start: int) -> Problem:
    line = content.count(b"\n", 0, start) + 1
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    message = "is UTF-16 text" if is_utf16 else "is not UTF-8 text"
    return Problem(file, line, None, "", message, "Save the file as UTF-8.")


class _BoundedComposer(Composer):
    """PyYAML's composer, with a bound on depth in place of a stack overflow."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            mark = None if parent is None else parent.start_mark
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _PlainComposer(_BoundedComposer, yaml.SafeLoader):
    """Reads by PyYAML's own parser, whose complaints `syntax` knows."""


def _quick_composer() -> Callable[[str], Composer] | None:
    """A composer that reads by libyaml, if PyYAML was built with it."""
    if not yaml.__with_libyaml__:
        return None

    class QuickComposer(_BoundedComposer, yaml.CSafeLoader):
        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)

    return QuickComposer


_QuickComposer: Final = _quick_composer()


def compose(text: str, *, is_quick: bool = True) -> yaml.Node | None:
    """The root node of a YAML text; None if there is nothing in it.

    libyaml is five times as quick, and where it can read a text at all, it puts nodes
    at the same places. What it refuses is read again by PyYAML's own parser. So is what
    has tabs in it: libyaml takes some of them for spaces.

    Raises:
        yaml.YAMLError: as PyYAML's own parser says it.
    """
    if is_quick and _QuickComposer is not None and "\t" not in text:
        with suppress(yaml.YAMLError):
            return _QuickComposer(text).get_single_node()
    return _PlainComposer(text).get_single_node()


class _EndlessError(Exception):
    """Aliases make the document larger than any policy."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values; notes each one's place and what is wrong with it."""

    file: str
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _scalars: yaml.SafeLoader = field(default_factory=lambda: yaml.SafeLoader(""))
    _nodes: int = 0
    _open: list[yaml.Node] = field(default_factory=list)

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        self._nodes += 1
        self.places.setdefault(path, self._place(node))
        if self._nodes > NODES_MAX:
            message = "expands to far more values than it has lines"
            remedy = "Write out what its aliases (`*name`) stand for."
            raise self._endless(path[:1], message, remedy)
        if any(node is around for around in self._open):
            message = "stands, as an alias, inside of itself"
            remedy = "Write out what the alias (`*name`) stands for."
            raise self._endless(path, message, remedy)
        self._open.append(node)
        try:
            return self._built(node, path)
        finally:
            self._open.pop()

    def _endless(self, path: KeyPath, message: str, remedy: str) -> _EndlessError:
        return _EndlessError(problem_at(self.places[path], path, message, remedy))

    def _built(self, node: yaml.Node, path: KeyPath) -> object:
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
                self._complain_of_second(key_node, value_node, (*path, key))
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
            message = f"the key {key_shown(node.value)} is {_KINDS[node.tag]} to YAML"
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
                self._complain(None, path, HAS_NO_VALUE, remedy)
            return None
        try:
            match kind:
                case "bool":
                    return bool(self._scalars.construct_yaml_bool(node))
                case "int":
                    self._complain_of_base(node, path)
                    return int(self._scalars.construct_yaml_int(node))
                case "float":
                    self._complain_of_base(node, path)
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

    def _complain_of_base(self, node: yaml.ScalarNode, path: KeyPath) -> None:
        """Old YAML's numbers of base 8 and 60 surprise everybody."""
        digits = node.value.lstrip("+-")
        if ":" in digits:
            message = "is read by YAML as a number of base 60"
            self._complain(None, path, message, "Put it in quotes, or write a unit.")
        elif digits[0] == "0" and digits.isdigit() and len(digits) > 1:
            message = "is read by YAML as a number of base 8, because it begins with 0"
            self._complain(None, path, message, "Delete the 0, or put it in quotes.")

    def _complain_of_tag(self, node: yaml.Node, path: KeyPath) -> None:
        is_known = node.tag.startswith(_TAG)  # others may be secrets that begin with !
        tag = f"the tag {node.tag.replace(_TAG, '!!')}" if is_known else "a tag"
        message = f"has {tag}"
        remedy = "Leave it out, or put a text that begins with ! in quotes."
        self._complain(None, path, message, remedy)

    def _complain_of_second(
        self, key: yaml.Node, value: yaml.Node, path: KeyPath
    ) -> None:
        """The same key again."""
        first = self.places[path]
        message = f"is written twice, first at {where(first)}"
        self.problems.append(
            problem_at(
                self._place(key, value), path, message, "Keep one of them.", also=first
            )
        )

    def _complain(
        self, node: yaml.Node | None, path: KeyPath, message: str, remedy: str
    ) -> None:
        """Note a problem, at the node if it has a place of its own, else the path's."""
        place = self.places[path] if node is None else self._place(node)
        self.problems.append(problem_at(place, path, message, remedy))

    def _place(self, node: yaml.Node, value: yaml.Node | None = None) -> Place:
        """Where a node stands, with the text of its value if that is a scalar."""
        value = value or node
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        start, end = node.start_mark, value.end_mark
        if value.start_mark.line != start.line or end.line != start.line:
            end = node.end_mark  # the key alone, where its value has lines of its own
        return Place(
            self.file,
            start.line + 1,
            start.column + 1,
            text,
            _KINDS.get(value.tag),
            end.column + 1 if end.line == start.line else None,
        )


def _merged_pairs(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """What `<<: *anchor` brings in: the pairs of a mapping, or of a list of them."""
    sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for source in sources:
        if isinstance(source, yaml.MappingNode):
            yield from source.value
