"""Lines of a policy file as a report may show them: without what may be a secret.

A file with an error in it need not be YAML, so that this looks at its text: what stands
behind `api_key`, `key`, `headers` and their like, however misspelt, is hidden, on
as many lines as it takes. References (`${NAME}`) stay, for they give nothing away.
"""

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

HIDDEN: Final = "***"

_SECRET_ENDINGS: Final = (
    "key",
    "keys",
    "token",
    "secret",
    "secrets",
    "password",
    "credential",
    "credentials",
    "authorization",
    "header",
    "headers",
)
_NO_SECRETS: Final = frozenset({"accesskeys", "firsttoken"})  # keys of the format
_MISSPELT: Final = ("apikey", "header", "headers", "authorization", "password")

# `name:`, with or without quotes; and where the colon was forgotten.
_KEY: Final = re.compile(
    r"""(?P<quote>["']?)(?P<name>[A-Za-z0-9_.-]+)(?P=quote)"""
    r"""(?P<between>[ \t]*[:=][ \t]*|[ \t]+|$)""",
    re.MULTILINE,
)
_REFERENCE: Final = r"\$\{[^{}\n]*\}"
_QUOTED: Final = re.compile(r""""(?:[^"\\]|\\.)*+"?|'(?:[^']|'')*+'?""", re.DOTALL)
_BRACKETS: Final = re.compile(rf"{_REFERENCE}|[{{}}\[\]]")
_FLOW_ENDS: Final = re.compile(rf"{_REFERENCE}|[,}}\]\n]")
# Inside of a secret value: what stays (references, names of header fields,
# punctuation), and the words that do not.
_PIECE: Final = re.compile(
    rf"""
    (?P<stays>
        {_REFERENCE}
      | (?:^|(?<=[{{,]))[ \t]*(?:-[ ]+)?["']?[\w-]+["']?[ ]*:(?=\s|$)
      | [\s{{}}\[\],"'|>&]
    )
  | [^\s{{}}\[\],"'$]+ | .
    """,
    re.MULTILINE | re.VERBOSE,
)
# Credentials that show wherever they stand: known prefixes, and users in addresses.
_ANYWHERE: Final = re.compile(
    r"""\b(?:sk|pk|gsk|hf|xai|tgw)[-_][\w-]{3,}|\bAIza[\w-]{10,}|\beyJ[\w.-]{10,}"""
    r"""|(?<=Bearer[ ])(?!\$\{)[^\s,}\]"']+|(?<=://)[^@\s"',]+(?=@)"""
    r"""|(?<![^\s"'/])[^\s"'/@:,{]*:(?=[^\s/])[^@\s"',{]+(?=@)"""
)
_ALIAS: Final = re.compile(r"\*(\w+)")


def hidden_spans(text: str) -> list[tuple[int, int]]:
    """Where something stands that no report may show, in order, as offsets."""
    spans = [match.span() for match in _ANYWHERE.finditer(text)]
    aliases: set[str] = set()
    position = 0
    while match := _KEY.search(text, position):
        position = match.end()
        if _is_secret_key(text, match):
            start, position = match.end(), max(position, _value_end(text, match))
            spans += _words(text, start, position)
            aliases.update(_ALIAS.findall(text, start, position))
    for name in aliases:
        for match in re.finditer(rf"&{name}[ \t]+", text):
            spans += _words(text, match.end(), _line_end(text, match.end()))
    return _joined(sorted(spans))


def _is_secret_key(text: str, match: re.Match[str]) -> bool:
    has_colon = match["between"].strip() != ""
    begins = _char_before(text, match.start()) in ("", "\n", "{", ",", "[", "-", "?")
    return (has_colon or begins) and _is_secret(match["name"])


def _char_before(text: str, position: int) -> str:
    """The nearest character before it that is no blank, if any."""
    while position > 0 and text[position - 1] in " \t":
        position -= 1
    return text[position - 1 : position]


@lru_cache(maxsize=1000)
def _is_secret(name: str) -> bool:
    folded = re.sub(r"[-_.]", "", name.lower())
    if folded in _NO_SECRETS:
        return False
    return (
        folded.endswith(_SECRET_ENDINGS)
        or sorted(folded) == sorted("key")
        or bool(difflib.get_close_matches(folded, _MISSPELT, n=1, cutoff=0.75))
    )


def _value_end(text: str, key: re.Match[str]) -> int:
    """Where the value behind a key ends; rather too late than too early."""
    start = key.end()
    opening = text[start : start + 1]
    if quoted := _QUOTED.match(text, start):
        return quoted.end()
    if opening in ("{", "["):
        return _bracket_end(text, start)
    if _char_before(text, key.start()) in ("{", ",", "["):
        ends = (m.start() for m in _FLOW_ENDS.finditer(text, start) if len(m[0]) == 1)
        return next(ends, len(text))
    column = key.start() - text.rfind("\n", 0, key.start()) - 1
    end = _line_end(text, start)
    while end < len(text):  # what follows and is indented more belongs to it
        next_end = _line_end(text, end + 1)
        line = text[end + 1 : next_end]
        if line.strip() and len(line) - len(line.lstrip(" \t")) <= column:
            break
        end = next_end
    return end


def _bracket_end(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`."""
    depth = 0
    for match in _BRACKETS.finditer(text, start):
        if len(match[0]) == 1:
            depth += 1 if match[0] in "{[" else -1
        if depth == 0:
            return match.end()
    return len(text)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _PIECE.finditer(text, start, end):
        if match["stays"] is None:
            yield match.span()


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that touch or overlap, as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
