"""What the format has and the engine does not honour yet.

Such a key is refused where it is written, for a setting that is silently ignored is
worse than one that is missing. Each row goes when its feature comes.
"""

from collections.abc import Callable, Iterator
from typing import Final

from trio_gateway.policy.document import Document, KeyPath, find
from trio_gateway.policy.problems import Problem

_SETTINGS: Final[tuple[KeyPath, ...]] = (("defaults",), ("models", "*"))
_PROVIDERS: Final[tuple[KeyPath, ...]] = (("providers", "*"),)
_TARGETS: Final[tuple[KeyPath, ...]] = (
    ("models", "*", "targets", "#"),
    ("models", "*", "targets", "#", "#"),
    ("models", "*", "context_length_fallback", "#"),
)


def _always(_: object) -> bool:
    return True


def _is_not_first_token(value: object) -> bool:
    return value != "first_token"


def _is_not_off(value: object) -> bool:
    return value is not False and value != "off"


def _is_balanced(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1


# Which key below which places, and the values of it that are refused.
_NOT_YET: Final[
    tuple[tuple[tuple[KeyPath, ...], KeyPath, Callable[[object], bool]], ...]
] = (
    ((("gateway",),), ("max_in_flight",), _always),
    (_SETTINGS, ("commit",), _is_not_first_token),
    (_SETTINGS, ("overlap",), _is_not_off),
    (_SETTINGS, ("hedge",), _is_not_off),
    (_SETTINGS, ("queue",), _always),
    (_SETTINGS, ("max_cost_multiplier",), _always),
    (_SETTINGS + _TARGETS, ("timeouts", "first_token", "soft"), _always),
    (_SETTINGS + _TARGETS, ("timeouts", "answer", "soft"), _always),
    ((("defaults",), *_PROVIDERS, *_TARGETS), ("circuit_breaker",), _always),
    (_PROVIDERS + _TARGETS, ("max_concurrency",), _always),
    (_TARGETS, ("weight",), _always),
    ((("models", "*", "targets"),), ("#",), _is_balanced),
)


def not_supported_yet(document: Document) -> Iterator[Problem]:
    """Every written key that would have no effect."""
    for places, key, is_refused in _NOT_YET:
        for place in places:
            for path, value in find(document.value, (*place, *key)):
                if is_refused(value):
                    name = (
                        "balanced tiers" if key == ("#",) else ".".join(map(str, key))
                    )
                    yield document.problem(
                        path,
                        f"not supported yet: {name}",
                        "Delete it: this version of the gateway would not honour it.",
                    )
