"""What several workers say of the same thing, as one answer.

Pages keep the form that one process's have; under `workers` stands what differs. Where
workers see a target differently, what is shown is the view of the one that sees it
worst, because a part of the requests meets just that; loads and limits are added up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from trio_gateway.failover.view import TargetState

Page = Mapping[str, Any]
Said = Sequence[tuple[int, Page]]
"""Who said what: a worker's number, and its page."""

# From well to out of use, as the states are listed.
_WORSE: Final = {state.value: rank for rank, state in enumerate(TargetState)}

# What workers may see differently, and an operator wants to compare.
_COMPARED: Final = ("state", "why", "since", "until", "in_flight", "limit", "waiting")


def targets(said: Said) -> dict[str, object]:
    """`/admin/targets` of all."""
    first = said[0][1]
    by_id = _by_name(said, "targets", "id")
    by_slug = _by_name(said, "models", "model")
    return {
        "targets": [target(by_id[one["id"]]) for one in first["targets"]],
        "models": [
            _model([page for _, page in by_slug[one["model"]]])
            for one in first["models"]
        ],
        "workers": [index for index, _ in said],
    }


def target(said: Said) -> dict[str, object]:
    """`/admin/targets/ID` of all."""
    pages = [page for _, page in said]
    worst = max(pages, key=lambda page: _WORSE[page["state"]])
    return {
        **worst,
        **_load(pages),
        "waiting": sum(page["waiting"] for page in pages),
        "provider": {
            "name": worst["provider"]["name"],
            **_load([page["provider"] for page in pages]),
        },
        "budget_tokens": min(page["budget_tokens"] for page in pages),
        "passed_over": _counts([page["passed_over"] for page in pages]),
        "speeds": _speeds(pages),
        "workers": [
            {"worker": index, **{key: page[key] for key in _COMPARED}}
            for index, page in said
        ],
    }


def exchanges(said: Said, most: int) -> dict[str, object]:
    """`/admin/exchanges` of all: the newest of them, each with its worker."""
    every = [
        {**exchange, "worker": index}
        for index, page in said
        for exchange in page["exchanges"]
    ]
    # ISO-8601 in one zone sorts as time does.
    every.sort(key=lambda exchange: str(exchange["at"]), reverse=True)
    return {"exchanges": every[:most], "workers": [index for index, _ in said]}


def explanation(said: Said) -> dict[str, object]:
    """`/admin/explain/MODEL` of all: the first one's, and each one's beside it."""
    return {
        **said[0][1],
        "workers": [{"worker": index, **page} for index, page in said],
    }


def explanation_text(said: Sequence[tuple[int, bytes]]) -> bytes:
    """The same as a text: each one's, under its number."""
    return b"\n".join(b"worker %d: %b" % one for one in said)


def policy(page: Page, said: Said) -> dict[str, object]:
    """`/admin/policy`: what holds, and whether all workers live by it."""
    hashes = [{"worker": index, "hash": one["hash"]} for index, one in said]
    return {
        **page,
        "workers": hashes,
        "workers_differ": any(one["hash"] != page["hash"] for one in hashes),
    }


def _by_name(
    said: Said, section: str, key: str
) -> Mapping[str, list[tuple[int, Page]]]:
    """Each thing in all pages that have it; during a reload, some may not."""
    named: dict[str, list[tuple[int, Page]]] = {}
    for index, page in said:
        for one in page[section]:
            named.setdefault(one[key], []).append((index, one))
    return named


def _load(pages: Sequence[Page]) -> dict[str, object]:
    return {
        "in_flight": sum(page["in_flight"] for page in pages),
        "limit": _total_or_none([page["limit"] for page in pages]),
    }


def _total_or_none(limits: Sequence[Any]) -> Any:
    """The sum of limits; none at all if anybody has none."""
    return None if None in limits else sum(limits)


def _counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _speeds(pages: Iterable[Page]) -> list[dict[str, object]]:
    """Of each kind of request the slowest that anybody measured."""
    kinds: dict[tuple[str, str], list[Page]] = {}
    for page in pages:
        for speed in page["speeds"]:
            kind = (speed["until"], speed["prompt_tokens"])
            kinds.setdefault(kind, []).append(speed)
    return [
        {
            **speeds[0],
            "samples": sum(speed["samples"] for speed in speeds),
            **{key: _slowest(speeds, key) for key in ("p50_ms", "p95_ms", "p99_ms")},
            "limits": _limits(speeds),
        }
        for speeds in kinds.values()
    ]


def _limits(speeds: Iterable[Page]) -> list[dict[str, object]]:
    shared: dict[tuple[str, ...], list[Page]] = {}
    for speed in speeds:
        for limits in speed["limits"]:
            shared.setdefault(tuple(limits["models"]), []).append(limits)
    return [
        {
            "models": list(models),
            **{key: _slowest(limits, key) for key in ("soft_ms", "hard_ms")},
        }
        for models, limits in shared.items()
    ]


def _slowest(pages: Iterable[Page], key: str) -> object:
    known = [page[key] for page in pages if page[key] is not None]
    return max(known, default=None)


def _model(pages: Sequence[Page]) -> dict[str, object]:
    budgets = [page["budgets"] for page in pages]

    def added(name: str, add: Callable[[Iterable[Any]], Any]) -> dict[str, object]:
        keys = budgets[0][name]
        return {key: add(budget[name][key] for budget in budgets) for key in keys}

    def rounded(numbers: Iterable[Any]) -> object:
        return round(sum(numbers), 2)

    return {
        "model": pages[0]["model"],
        "in_flight": sum(page["in_flight"] for page in pages),
        "budgets": {name: added(name, rounded) for name in budgets[0]},
    }
