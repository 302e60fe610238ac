"""Problems and warnings of policy files in the forms that other tools show.

GitHub's workflow commands mark lines of a pull request; SARIF 2.1.0 is what code
scanners and editors exchange.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trio_gateway.policy.files.problems import PolicyError, Problem, Spot
from trio_gateway.policy.judgement.judge import Judgement

# The rule of everything that makes a policy unusable; warnings have their lint's name.
INVALID = "invalid-policy"


@dataclass(frozen=True, slots=True)
class Annotation:
    """One remark on one line."""

    level: str  # "error" or "warning", in both forms
    rule: str
    problem: Problem

    @property
    def text(self) -> str:
        """Key, message and remedy."""
        key = f"{self.problem.key}: " if self.problem.key else ""
        return f"{key}{self.problem.message}. {self.problem.remedy}"


def of_refusal(error: PolicyError) -> list[Annotation]:
    """All that is wrong."""
    return [Annotation("error", INVALID, problem) for problem in error.problems]


def of_judgement(judgement: Judgement) -> list[Annotation]:
    """All warnings."""
    return [
        Annotation("warning", str(warned.lint), warned.problem)
        for warned in judgement.warnings
    ]


def as_github(annotations: Iterable[Annotation]) -> str:
    """A workflow command a line."""
    return "\n".join(_github(annotation) for annotation in annotations)


def _github(annotation: Annotation) -> str:
    problem = annotation.problem
    properties = {
        "file": problem.file,
        "line": problem.line,
        "col": problem.column,
        "endColumn": problem.end_column,
        "title": f"trio-gateway: {annotation.rule}",
    }
    said = ",".join(
        f"{name}={_escaped(str(value), ':,')}"
        for name, value in properties.items()
        if value is not None
    )
    return f"::{annotation.level} {said}::{_escaped(annotation.text, '')}"


def _escaped(text: str, more: str) -> str:
    """Percent signs and line ends, and what would end a property."""
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{more}" else c for c in text)


def as_sarif(annotations: Iterable[Annotation], *, version: str) -> dict[str, object]:
    """A log of one run; `version` is this program's."""
    found = list(annotations)
    rules = [{"id": rule} for rule in dict.fromkeys(each.rule for each in found)]
    driver = {"name": "trio-gateway", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(each) for each in found],
    }
    return {"version": "2.1.0", "runs": [run]}


def _result(annotation: Annotation) -> dict[str, object]:
    problem = annotation.problem
    where = [_location(problem.file, _region(problem))]
    related = [_location(spot.file, _region(spot)) for spot in _related(problem)]
    return {
        "ruleId": annotation.rule,
        "level": annotation.level,
        "message": {"text": annotation.text},
        "locations": where,
        **({"relatedLocations": related} if related else {}),
    }


def _related(problem: Problem) -> Iterator[Spot]:
    if problem.also is not None:
        yield problem.also


def _location(file: str, region: dict[str, int]) -> dict[str, object]:
    uri = quote(Path(file).as_posix())
    physical = {
        "artifactLocation": {"uri": uri},
        **({"region": region} if region else {}),
    }
    return {"physicalLocation": physical}


def _region(place: Problem | Spot) -> dict[str, int]:
    """Lines and columns count from 1, and the end is behind the last character."""
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endColumn": place.end_column,
    }
    return {name: number for name, number in region.items() if number is not None}
