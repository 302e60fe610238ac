"""How distributions are written in a scenario: a number, quantiles, or a name."""

from collections.abc import Callable, Mapping
from typing import Final

from trio_gateway.chaos.scenarios.reading import duration, number
from trio_gateway.chaos.worlds.spread import ANSWER_TOKENS, FIRST_TOKENS, Spread
from trio_gateway.policy.files.problems import did_you_mean, listed
from trio_gateway.policy.format.texts import TextError

_QUANTILES: Final = ("p50", "p95", "p99", "max")
_NAMED_TOKENS: Final = {"conversation": ANSWER_TOKENS}


def first_token(value: object) -> Spread:
    """Seconds: `800ms`, `{p50: ..., p95: ..., p99: ..., max: ...}`, or a model."""
    return _spread(value, duration, FIRST_TOKENS)


def seconds(value: object) -> Spread:
    """Seconds: `10s`, or quantiles."""
    return _spread(value, duration, {})


def tokens(value: object) -> Spread:
    """Tokens: `200`, quantiles, or `conversation`."""
    return _spread(value, number, _NAMED_TOKENS)


def _spread(
    value: object, parse: Callable[[object], float], named: Mapping[str, Spread]
) -> Spread:
    if isinstance(value, str) and value in named:
        return named[value]
    if isinstance(value, Mapping):
        return _quantiles(value, parse)
    try:
        return Spread.always(parse(value))
    except ValueError:
        near = did_you_mean(str(value), named)
        if near:
            raise TextError("is not a known distribution", near) from None
        raise


def _quantiles(value: Mapping[str, object], parse: Callable[[object], float]) -> Spread:
    if set(value) != set(_QUANTILES):
        raise TextError("is not a distribution", f"Write {listed(_QUANTILES)}.")
    p50, p95, p99, most = (parse(value[key]) for key in _QUANTILES)
    try:
        return Spread.of(p50=p50, p95=p95, p99=p99, most=most)
    except ValueError as error:
        remedy = "Let p50, p95, p99 and max ascend."
        raise TextError("does not ascend", remedy) from error
