"""Pydantic's errors in our own words: which key, what is wrong, what to write instead.

This is the one table of them. It quotes what was written only if it cannot have been
a secret: numbers, dates and switches, never an expanded text.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, TypeGuard, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trio_gateway.policy.files.document import Document, KeyPath, Place
from trio_gateway.policy.files.problems import Problem, listed, nearest
from trio_gateway.policy.files.references import holds_reference
from trio_gateway.policy.format import model
from trio_gateway.policy.format.fields import ALTERNATIVES
from trio_gateway.policy.format.quantities import QuantityError
from trio_gateway.policy.format.texts import TextError

Words = tuple[str, str]
"""A message and a remedy."""

# What may stand where, for the keys that take more than one kind of value.
ALLOWED: Final = {
    "version": "Write `version: 1`: this gateway reads no other.",
    "kind": "Write openai (for every OpenAI-compatible server) or azure.",
    "commit": "Write first_token, complete or {tokens: 20}.",
    "same_target": "Write auto, or a whole number from 0 to 4.",
    "jitter": "Write full, equal or none.",
    "prefer": "Write fallback or wait.",
    "fallback_on": "Write default, or a list of failure classes and status codes.",
    "overlap": "Write on or off.",
    "hedge": "Write off, or {quantile: 0.95, min_delay: 250ms, max_extra: 5%}.",
    "reasoning": "Write true or false.",
}

# What to write where a key that must be there is not.
NEEDED: Final = {
    "base_url": "Write the address of its API, such as https://api.openai.com/v1.",
    "provider": "Name one of the entries of `providers`.",
    "model": "Write the model's (on azure: the deployment's) name at the provider.",
    "targets": "List at least one: `targets: [{provider: NAME, model: MODEL}]`.",
    "tokens": "Write {tokens: 20}, or first_token.",
    "name": "Give it a name; log lines and metrics show it.",
}

_REQUEST_TIMEOUT: Final = (
    "It bounds the whole request: write it under `timeouts` of the model or of "
    "`defaults`."
)
_OF_A_TARGET: Final = "Write it on a provider or on a target."
_OF_MODELS: Final = "Write it under `defaults`, or under a model."

# Keys that exist, but elsewhere: what people write where they do not belong.
MISPLACED: Final[Mapping[tuple[type[model.Section], str], str]] = {
    (model.TargetTimeouts, "precommit"): _REQUEST_TIMEOUT,
    (model.TargetTimeouts, "total"): _REQUEST_TIMEOUT,
    (model.TargetTimeouts, "client_stall"): _REQUEST_TIMEOUT,
    (model.ModelSection, "circuit_breaker"): (
        "A target's health is one, whichever models use it: write it on a target, on "
        "a provider or under `defaults`."
    ),
    (model.ModelSection, "max_concurrency"): _OF_A_TARGET,
    (model.DefaultsSection, "max_concurrency"): _OF_A_TARGET,
    **{
        (section, key): _OF_MODELS
        for section in (model.PolicySection, model.TargetSection)
        for key in model.Settings.model_fields
        if key not in section.model_fields
    },
    **{
        (model.DefaultsSection, key): "Write it under a model."
        for key in ("targets", "reasoning", "context_length_fallback", "name")
    },
}

# What other gateways call what a key here is for.
CALLED_ELSEWHERE: Final = {
    "api_base": "base_url",
    "url": "base_url",
    "endpoint": "base_url",
    "token": "api_key",
    "deployment": "model",
    "model_name": "model",
    "timeout": "timeouts",
    "retries": "attempts",
    "num_retries": "attempts",
    "max_retries": "attempts",
    "fallbacks": "targets",
    "deployments": "targets",
    "backends": "targets",
    "context_window_fallbacks": "context_length_fallback",
    "cooldown": "circuit_breaker",
    "cooldown_time": "circuit_breaker",
    "allowed_fails": "circuit_breaker",
    "outlier_detection": "circuit_breaker",
    "max_parallel_requests": "max_concurrency",
    "context_window": "context_tokens",
    "max_input_tokens": "context_tokens",
}

_ORDER: Final = "The order of the list is the preference: put it first."
_A_RATE: Final = "There are no rates here; `max_concurrency` bounds requests at once."
_A_FIELD: Final = "Write it under `overrides` of a target."
ADVICE: Final = {
    "priority": _ORDER,
    "order": _ORDER,
    "rpm": _A_RATE,
    "tpm": _A_RATE,
    "rate_limit": _A_RATE,
    "temperature": _A_FIELD,
    "max_tokens": _A_FIELD,
    "top_p": _A_FIELD,
}


def unknown_keys(error: ValidationError, document: Document) -> Iterator[Problem]:
    """The keys that should not be there, whatever stands behind them."""
    for details in _errors(error):
        if details["type"] == "extra_forbidden":
            path = _path(details)
            yield document.problem(path, *_unknown(path))


def wrong_values(error: ValidationError, document: Document) -> Iterator[Problem]:
    """Values that are missing or not what their key may hold.

    What is there under a misspelt key is not called missing.
    """
    errors = _errors(error)
    unknown = [_path(each) for each in errors if each["type"] == "extra_forbidden"]
    meant = {(*path[:-1], _meant(path)) for path in unknown}
    for details in errors:
        is_misspelt = details["type"] == "missing" and _path(details) in meant
        if details["type"] != "extra_forbidden" and not is_misspelt:
            yield _wrong_value(details, document)


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _path(details: ErrorDetails) -> KeyPath:
    """The keys of an error, without the alternatives of unions among them."""
    *above, last = details["loc"]
    kept = [step for step in above if step not in ALTERNATIVES]
    is_key = last != "[key]" and last not in ALTERNATIVES
    return (*kept, last) if is_key or details["type"] == "extra_forbidden" else (*kept,)


def _wrong_value(details: ErrorDetails, document: Document) -> Problem:
    path, kind, context = _path(details), details["type"], details.get("ctx", {})
    if kind == "missing":
        return document.problem(path, *_missing(path))
    path = document.written_part(path)
    if kind == "value_error":
        return document.problem(path, *_refused(context["error"], path, document))
    return document.problem(path, *_ill_formed(kind, context, path, document))


def _missing(path: KeyPath) -> Words:
    key = str(path[-1])
    return "is missing", NEEDED.get(key, "Write it.")


def _unknown(path: KeyPath) -> Words:
    """The key is nobody's, or another section's."""
    key = str(path[-1])
    sections = sections_at(path[:-1])
    for section in sections:
        if (section, key) in MISPLACED:
            return "does not belong here", MISPLACED[section, key]
    meant = _meant(path)
    if meant is not None and meant == CALLED_ELSEWHERE.get(key):
        return "is not a known key", f"It is called {meant} here."
    if meant is None and key in ADVICE:
        return "is not a known key", ADVICE[key]
    if meant is not None:
        return "is not a known key", f"Did you mean {meant}?"
    # Inside an entry whose own name is none, we may not know what could stand here.
    known = _known(sections)
    remedy = f"Known are {listed(known)}." if known else "Delete it."
    return "is not a known key", remedy


def _meant(path: KeyPath) -> str | None:
    """The key that was probably meant by an unknown one."""
    key, known = str(path[-1]), _known(sections_at(path[:-1]))
    called = CALLED_ELSEWHERE.get(key)
    if called in known:
        return called
    return None if key in ADVICE else nearest(key, known)


def _known(sections: Iterable[type[model.Section]]) -> dict[str, None]:
    """The keys of these sections, in their order."""
    return {key: None for section in sections for key in section.model_fields}


def _refused(error: Exception, path: KeyPath, document: Document) -> Words:
    """One of our own checks said no."""
    if isinstance(error, TextError):
        return error.message, error.remedy
    assert isinstance(error, QuantityError), "the model has no other checks"
    if holds_reference(document.place(path).text):
        return f"expands to what is not {error.wanted}", error.form
    return error.message, error.remedy


def _ill_formed(
    kind: str, context: Mapping[str, Any], path: KeyPath, document: Document
) -> Words:
    """The value has the wrong type or is out of bounds."""
    key = next((s for s in reversed(path) if isinstance(s, str)), "")
    if kind in _CHOICES and key in ALLOWED:
        return "cannot have this value", ALLOWED[key]
    if kind == "string_type":
        return _not_text(path, document.place(path))
    if kind in ("int_type", "float_type"):
        return _not_number(document.place(path), is_whole=kind == "int_type")
    if kind == "too_short" and key in NEEDED:
        return "is empty", NEEDED[key]
    if kind in _MAPPINGS and (shape := _shape_of(path)) is not None:
        return "must be a mapping", f"Write it as in `{shape}`."
    form = _FORMS.get(kind)
    return form(context) if form else ("cannot have this value", "Change it.")


def _shape_of(path: KeyPath) -> str | None:
    """An example of the mapping that stands at this path, where one is short."""
    named = path
    while named and isinstance(named[-1], int):
        named = named[:-1]
    if not named or named[-1] not in _known(sections_at(named[:-1])):
        return None
    return _SHAPES.get(str(named[-1]))


def _not_text(path: KeyPath, place: Place) -> Words:
    """Something that YAML took for no text; quotes make it one."""
    if place.text is None or place.kind is None:
        return "must be text", "Write one text, not a list or a mapping."
    is_public = "headers" not in path and path[-1] not in ("api_key", "key", "proxy")
    quoted = f': "{place.text}"' if is_public else ""
    return f"must be text, but is {place.kind} to YAML", f"Put it in quotes{quoted}."


def _not_number(place: Place, *, is_whole: bool) -> Words:
    """A text, even if it looks like a number; a fraction; a switch."""
    wanted = "a whole number" if is_whole else "a number"
    if holds_reference(place.text):
        message = f"must be {wanted}, and a reference is always text"
        return message, "Write the number itself."
    number = _read_number(place)
    if number is None and (meant := _meant_number(place, is_whole=is_whole)):
        return f"must be {wanted}", f"Write {meant}."
    if number is None:
        but = f", but is {place.kind} to YAML" if place.kind else ""
        return f"must be {wanted}{but}", "Write it in digits, as in 10."
    if is_whole and not number.is_integer():
        return f"must be {wanted}", "Write it without a fraction."
    written = f"{number:.12g}"
    if place.kind is not None or written == place.text:
        return f"must be {wanted}", f"Write {written}, without quotes or a point."
    return f"must be {wanted}, but is text to YAML", f"Write {written}."


def _read_number(place: Place) -> float | None:
    """The number that was meant, if it was one."""
    if place.text is None or place.kind not in (None, "a number"):
        return None
    try:
        number = float(place.text.replace("_", ""))
    except ValueError:
        return None
    return number if abs(number) < 1e15 else None


def _meant_number(place: Place, *, is_whole: bool) -> str | None:
    """What `128k` and `95%` are as plain numbers."""
    match = _WITH_SIGN.fullmatch(place.text or "")
    if match is None:
        return None
    number = float(match[1]) * _SIGNS[match[2].lower()]
    return None if is_whole and not number.is_integer() else f"{number:.12g}"


def sections_at(path: KeyPath) -> tuple[type[model.Section], ...]:
    """The sections of the format that may stand at this path, if any."""
    at: list[Any] = [model.PolicySection]
    for step in path:
        at = [inner for annotation in at for inner in _inside(annotation, step)]
    found = (s for annotation in at for s in _alternatives(annotation))
    return tuple(s for s in dict.fromkeys(found) if _is_section(s))


def _inside(annotation: Any, step: str | int) -> Iterator[Any]:
    """The types behind one key or index of a value of this type."""
    for alternative in _alternatives(annotation):
        arguments = get_args(alternative)
        if _is_section(alternative) and step in alternative.model_fields:
            yield alternative.model_fields[str(step)].annotation
        elif get_origin(alternative) is dict and isinstance(step, str):
            yield arguments[1]
        elif get_origin(alternative) is list and isinstance(step, int):
            yield arguments[0]


def _alternatives(annotation: Any) -> Iterator[Any]:
    """A type without `Annotated`, and each member of a union."""
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
    else:
        yield annotation


def _is_section(annotation: Any) -> TypeGuard[type[model.Section]]:
    return isinstance(annotation, type) and issubclass(annotation, model.Section)


# What pydantic says where a value is none of a key's choices.
_CHOICES: Final = frozenset(
    {"literal_error", "bool_type", "int_type", "union_tag_invalid"}
)

_SIGNS: Final = {"k": 1e3, "m": 1e6, "%": 0.01}
_WITH_SIGN: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([kKmM%])")

_MAPPINGS: Final = frozenset({"dict_type", "model_type"})
_A_TARGET: Final = "{provider: NAME, model: MODEL}"
_SHAPES: Final = {
    "access_keys": '{name: NAME, key: "${NAME}"}',
    "attempts": "attempts: {max: 3}",
    "backoff": "backoff: {initial: 250ms}",
    "circuit_breaker": "circuit_breaker: {consecutive: 5}",
    "context_length_fallback": _A_TARGET,
    "headers": "headers: {X-Team: red}",
    "models": "models: {NAME: {targets: [{provider: NAME, model: MODEL}]}}",
    "open": "open: {base: 5s}",
    "providers": "providers: {NAME: {base_url: ADDRESS}}",
    "queue": "queue: {max_wait: 2s}",
    "retry": "retry: {backoff: {initial: 250ms}}`; how often is `attempts: {max: 3}",
    "retry_after": "retry_after: {prefer: wait}",
    "targets": _A_TARGET,
    "timeouts": "timeouts: {total: 60s}",
}
"""Mappings for which people write one value, each with its most usual key."""

_NO_JSON: Final = "is not a value that JSON can carry"

_FORMS: Final[Mapping[str, Callable[[Mapping[str, Any]], Words]]] = {
    "bool_type": lambda _: ("must be true or false", "Write true or false."),
    "dict_type": lambda _: ("must be a mapping", "Write `key: value` pairs under it."),
    "model_type": lambda _: ("must be a mapping", "Write `key: value` pairs under it."),
    "list_type": lambda _: (
        "must be a list",
        "Write [a, b], or a line `- a` for each.",
    ),
    "too_short": lambda _: ("is empty", "List at least one, or delete the key."),
    "greater_than": lambda c: (
        f"must be more than {c['gt']:g}",
        f"Write a number above {c['gt']:g}.",
    ),
    "greater_than_equal": lambda c: (
        f"must be at least {c['ge']:g}",
        f"Write {c['ge']:g} or more.",
    ),
    "less_than": lambda c: (
        f"must be less than {c['lt']:g}",
        f"Write a number below {c['lt']:g}.",
    ),
    "less_than_equal": lambda c: (
        f"must be at most {c['le']:g}",
        f"Write {c['le']:g} or less.",
    ),
    "invalid-json-value": lambda _: (_NO_JSON, "Put dates in quotes."),
    "finite_number": lambda _: (_NO_JSON, "Write a finite number."),
}
