"""Metrics in Prometheus' text format, written and read back.

    # HELP trio_gateway_attempts_total Upstream requests that ended; ...
    # TYPE trio_gateway_attempts_total counter
    trio_gateway_attempts_total{class="ok",reason="first",target="a/m"} 3

Between counting and text stands `Families`, which one process fills from what it has
counted (`families`, `fleet`, `workers`) and several are joined as (`sums`). Version
0.0.4 of the format, without timestamps.

prometheus-client writes it too, at ten microseconds a line: a thousand models have
sixty thousand lines, and a loop that writes them serves nobody meanwhile.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""What every Prometheus reads."""

_NOT_FINITE: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


@dataclass(slots=True)
class Family:
    """One metric: what its two comments say, and its samples by name and labels."""

    words: str
    kind: str
    samples: dict[str, float] = field(default_factory=dict)


Families = dict[str, Family]
Labels = tuple[str, ...]
"""The values of labels, in the order of their names."""


class Naming:
    """How the samples of one name are called, by the values of its labels.

    Labels stand in the order of their names, whatever order their values come in, so
    that one sample is always called the same.
    """

    __slots__ = ("_pattern",)

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        order = sorted(range(len(labels)), key=labels.__getitem__)
        inside = ",".join(f'{labels[at]}="{{{at}}}"' for at in order)
        self._pattern = f"{name}{{{{{inside}}}}}" if labels else name

    def __call__(self, *values: str) -> str:
        """Name a sample as its line does; the values are `escaped`."""
        return self._pattern.format(*values)


def escaped(value: str) -> str:
    """Write a label's value as it stands between its quotes."""
    if "\\" in value or '"' in value or "\n" in value:  # as hardly any has
        return value.translate(_ESCAPES)
    return value


def labels_of(sample: str) -> dict[str, str]:
    """Read the labels that a sample is called by: what `Naming` has written."""
    return {
        name: _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        for name, value in _LABEL.findall(sample)
    }


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]


def show(
    families: Families,
    kind: str,
    name: str,
    words: str,
    rows: Iterable[tuple[Labels, float]],
    labels: Sequence[str],
) -> None:
    """Add a metric of what is read this moment, rather than counted and kept."""
    naming = Naming(name, labels)
    samples = {naming(*map(escaped, values)): value for values, value in rows}
    families[name] = Family(words, kind, samples)


def show_number(
    families: Families, kind: str, name: str, words: str, value: float
) -> None:
    """Add a metric that is one number."""
    families[name] = Family(words, kind, {name: value})


def text_of(families: Families) -> str:
    """Write them, each with its comments, as a scraper reads them."""
    lines: list[str] = []
    for name, family in families.items():
        lines += [f"# HELP {name} {family.words}", f"# TYPE {name} {family.kind}"]
        lines += [
            f"{sample} {_written(value)}" for sample, value in family.samples.items()
        ]
    return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Families:
    """Read what `text_of` has written."""
    families: Families = {}
    family = Family("", "untyped")
    words = ""
    for line in text.split("\n"):  # a label may hold what else ends lines
        if line.startswith("# HELP "):
            words = line[7:].partition(" ")[2]
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            family = families.setdefault(name, Family(words, kind))
        elif line:
            sample, _, value = line.rpartition(" ")
            family.samples[sample] = float(value)
    return families


def _written(value: float) -> str:
    text = repr(float(value))
    return _NOT_FINITE.get(text, text)
