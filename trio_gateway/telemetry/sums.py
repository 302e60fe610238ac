"""The metrics of several processes as one text, as if one process had counted all.

    counters, histograms      the sum; of a process that is gone, what it had counted
                              when it was last read stays in the sum for ever
    what there is now         the sum over the processes that live: exchanges, streams,
                              attempts at a target, waiting ones
    how bad it is             the worst of the living: the largest share turned away, a
                              target's state where any process is in it, the fewest
                              tokens left
    when counting began       the earliest

So no counter ever steps back because a process died. What it counted after it was last
read is lost with it. What a label says matters only to `keep`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final

from trio_gateway.telemetry.exposition import Families, Family, labels_of, parse

# Some hundred kinds of exchanges for each of a thousand models. Beyond it, what only
# processes that are gone have counted is forgotten.
SAMPLES_KEPT_MAX: Final = 100_000

IsKnown = Callable[[Mapping[str, str]], bool]
"""Whether what these labels name is still there."""

_Join = Callable[[float, float], float]

_WORST: Final[Mapping[str, _Join]] = {
    "trio_gateway_shed_share": max,
    "trio_gateway_policy_refused": max,
    "trio_gateway_target_state": max,
    "trio_gateway_target_budget_tokens": min,
    "trio_gateway_halted_seconds_total": max,  # most halts are of all at once
}


def joined(all_families: Iterable[Families]) -> Families:
    """Several processes' metrics as those of one."""
    result: Families = {}
    for families in all_families:
        for name, family in families.items():
            into = result.setdefault(name, Family(family.words, family.kind))
            join = _join_of(name, family.kind)
            for sample, value in family.samples.items():
                known = into.samples.get(sample)
                into.samples[sample] = value if known is None else join(known, value)
    return result


def _join_of(name: str, kind: str) -> _Join:
    if kind == "gauge" and name.endswith("_created"):
        return min
    return _WORST.get(name, _sum)


def _sum(one: float, other: float) -> float:
    return one + other


def _is_kept(name: str, family: Family) -> bool:
    return family.kind in ("counter", "histogram") or name.endswith("_created")


class Sums:
    """What all processes have counted, those that are gone included."""

    def __init__(self, kept_max: int = SAMPLES_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._living: dict[Hashable, Families] = {}
        self._gone: Families = {}
        self._is_known: IsKnown | None = None

    def note(self, process: Hashable, text: str) -> None:
        """A process was read."""
        self._living[process] = parse(text)

    def gone(self, process: Hashable) -> None:
        """A process is no more; what was last read of it stays."""
        last = self._living.pop(process, {})
        kept = {name: one for name, one in last.items() if _is_kept(name, one)}
        self._forget_unknown(kept)
        self._gone = joined([self._gone, kept])
        self._keep_bound()

    def keep(self, is_known: IsKnown) -> None:
        """Forget all else, from now on, of processes that are gone.

        Those that live do so by themselves before they are read again.
        """
        self._is_known = is_known
        self._forget_unknown(self._gone)

    def families(self, *own: Families) -> Families:
        """Everything; `own` are up to date by themselves."""
        return joined([*own, *self._living.values(), self._gone])

    def _forget_unknown(self, families: Families) -> None:
        if self._is_known is None:
            return
        for family in families.values():
            family.samples = {
                sample: value
                for sample, value in family.samples.items()
                if self._is_known(labels_of(sample))
            }

    def _keep_bound(self) -> None:
        if sum(len(one.samples) for one in self._gone.values()) <= self._kept_max:
            return
        alive = joined(self._living.values())
        for name, family in self._gone.items():
            still = alive[name].samples if name in alive else {}
            family.samples = {k: v for k, v in family.samples.items() if k in still}
