"""What the three ways have in common, and what they have not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from trio_gateway.chaos.simulation.tally import RouteTally

# What two runs may differ by: a point of availability; half a point of streams cut,
# which is less than an outage's beginning cuts; of times, a tenth or 5 ms, whichever is
# more.
_SHARES: Final = {"availability": 0.01, "cut": 0.005}
_TIME_SHARE: Final = 0.1
_TIME_S: Final = 0.005
# Sums of floats, far below anything that is meant.
_EPSILON: Final = 1e-9

DEPTHS: Final = ("decisions", "wire", "sockets")


@dataclass(frozen=True, slots=True)
class Values:
    """What is compared."""

    availability: float
    cut: float  # streams that broke after their first token, a share of all requests
    first_token_p50_s: float
    first_token_p99_s: float

    @classmethod
    def of(cls, total: RouteTally) -> "Values":
        """Read from what was counted."""
        first = total.first_tokens
        cut = total.interrupted / max(1, total.questions)
        return cls(total.availability, cut, first.quantile(0.5), first.quantile(0.99))

    @classmethod
    def median(cls, runs: Sequence["Values"]) -> "Values":
        """The median of each."""
        return cls(*(median(each) for each in zip(*map(_tuple, runs), strict=True)))


def _tuple(values: Values) -> tuple[float, ...]:
    return (
        values.availability,
        values.cut,
        values.first_token_p50_s,
        values.first_token_p99_s,
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of one scenario, the ways that it was run in side by side."""

    measure: str
    values: Mapping[str, float]  # by depth
    most: float  # between two of them
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is small enough."""
        return self.most <= self.allowed + _EPSILON


@dataclass(frozen=True, slots=True)
class Compared:
    """One scenario, run in several ways."""

    name: str
    seed: int
    questions: int
    runs: Mapping[str, Sequence[Values]]  # by depth
    cpu: Mapping[str, float]  # of a core, by process, while on sockets
    attempts: Mapping[str, Mapping[str, int]]  # by depth, by target

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Each measure; where there are sockets, times are measured by them."""
        medians = {depth: Values.median(runs) for depth, runs in self.runs.items()}
        found = []
        for name in Values.__dataclass_fields__:
            values = {depth: getattr(each, name) for depth, each in medians.items()}
            real = list(values.values())[-1]
            allowed = _SHARES.get(name, max(_TIME_S, _TIME_SHARE * real))
            most = max(values.values()) - min(values.values())
            found.append(Difference(name, values, most, allowed))
        return tuple(found)

    @property
    def holds(self) -> bool:
        """Whether all of them are small enough."""
        return all(each.holds for each in self.differences)


_TITLES: Final = {
    "availability": "availability",
    "cut": "streams cut",
    "first_token_p50_s": "first token p50",
    "first_token_p99_s": "first token p99",
}


def table(compared: Sequence[Compared], depths: Sequence[str]) -> str:
    """The differences as text, in the order of the scenarios."""
    return "\n".join(
        [
            _row("scenario", "", depths, "differ by", "at most"),
            *(line for each in compared for line in _rows(each, depths)),
        ]
    )


def _rows(compared: Compared, depths: Sequence[str]) -> Iterator[str]:
    name = compared.name
    for each in compared.differences:
        show = _percent if each.measure in _SHARES else _milliseconds
        values = [show(each.values[depth]) for depth in depths]
        verdict = "ok" if each.holds else "TOO MUCH"
        row = _row(
            name, _TITLES[each.measure], values, show(each.most), show(each.allowed)
        )
        yield f"{row}  {verdict}"
        name = ""


def _row(name: str, measure: str, values: Sequence[str], *ends: str) -> str:
    cells = "".join(f"{value:>11}" for value in (*values, *ends))
    return f"{name:<16}{measure:<16}{cells}"


def cpu_line(compared: Sequence[Compared]) -> str:
    """The most that each process took."""
    names = list(dict.fromkeys(name for each in compared for name in each.cpu))
    most = {name: max(each.cpu.get(name, 0.0) for each in compared) for name in names}
    said = ", ".join(f"{name} {share:.0%}" for name, share in most.items())
    return f"of a core, at most: {said}"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def as_json(compared: Sequence[Compared]) -> dict[str, object]:
    """Everything that was measured. Times are seconds, shares fractions of one."""
    return {
        "schema": 1,
        "holds": all(each.holds for each in compared),
        "scenarios": [
            {
                "name": each.name,
                "seed": each.seed,
                "holds": each.holds,
                "questions": each.questions,
                "differences": [
                    asdict(difference) | {"holds": difference.holds}
                    for difference in each.differences
                ],
                "runs": {
                    depth: [asdict(values) for values in runs]
                    for depth, runs in each.runs.items()
                },
                "attempts": each.attempts,
                "cpu": each.cpu,
            }
            for each in compared
        ],
    }
