"""The values that keys of a policy file may hold, as types that check themselves.

Each type turns what was written into what is meant, or says in our words why it cannot.
"""

import json
import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)

from trio_gateway.failover.failures import FailureClass
from trio_gateway.policy.files.problems import did_you_mean, listed
from trio_gateway.policy.format import texts
from trio_gateway.policy.format.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    parse_duration,
    parse_share,
    parse_size,
)
from trio_gateway.policy.format.texts import TextError

# Nobody counts higher by hand; it keeps numbers within what other tools can hold.
COUNT_MAX: Final = 1_000_000
# The largest contexts are of some millions.
TOKENS_MAX: Final = 100_000_000

# These never move on to another target, whatever a policy says; each with the reason.
FIXED_FAILURES: Final = {
    FailureClass.INTERRUPTED: "after the commit point nothing is tried again",
    FailureClass.CANCELLED: "nobody waits for the answer any more",
    FailureClass.CONTEXT_LENGTH: "it moves on to `context_length_fallback` alone",
}


# Request fields that `overrides` may not set, and who sets them.
DECIDED_FIELDS: Final = {"model": "the target's `model`", "stream": "the client"}


# Which alternative of a key a value belongs to, by its shape. The names of alternatives
# stand among the keys in pydantic's errors; the colon tells them apart.
WORD: Final = ":word"
NUMBER: Final = ":number"
LIST: Final = ":list"
MAPPING: Final = ":mapping"
ALTERNATIVES: Final = (WORD, NUMBER, LIST, MAPPING)


def by_shape(*, otherwise: str, **shapes: type) -> Discriminator:
    """Choose an alternative of a key by the type of the value: `list=list`."""

    def choose(value: object) -> str:
        for name, shape in shapes.items():
            if isinstance(value, shape):
                return f":{name}"
        return otherwise

    return Discriminator(choose)


def off_is_a_word(value: object) -> object:
    """Undo what YAML makes of `off` where `off` is one of several values."""
    return "off" if value is False else value


def on_or_off(value: object) -> object:
    """A switch, also where quotes have kept YAML from seeing one."""
    match value:
        case "on":
            return True
        case "off":
            return False
        case _:
            return value


def hard_alone(value: object) -> object:
    """`first_token: 8s` is short for `first_token: {hard: 8s}`."""
    return value if isinstance(value, dict) else {"hard": value}


def _moment(value: object) -> datetime:
    """A date (its first moment) or a time of day, UTC where no zone is written.

    To the second: the last instant that can be written would be rounded into a year
    that cannot.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        remedy = "Write a date such as 2027-01-31, or 2027-01-31T12:00:00Z."
        raise TextError("is not a date", remedy)
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        message = "is, in UTC, before the year 1 or after 9999"
        remedy = "Write another date, or none for a key that never ends."
        raise TextError(message, remedy) from None


def _mover(value: object) -> FailureClass | int:
    """A failure class or a status code that moves on to the next target."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 300 <= value <= 599:
            message = "is not a status code of a failure"
            raise TextError(message, "Write one from 300 to 599.")
        return value
    movers = [kind for kind in FailureClass if kind not in FIXED_FAILURES]
    if value in movers:
        return FailureClass(str(value))
    if value in list(FIXED_FAILURES):
        reason = FIXED_FAILURES[FailureClass(str(value))]
        raise TextError(f"never moves on: {reason}", "Take it out of the list.")
    remedy = did_you_mean(str(value), movers)
    remedy = remedy or f"Write a status code, or one of {listed(movers, last='or')}."
    raise TextError("is neither a failure class nor a status code", remedy)


def _overrides(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Fields of the request that a target sets; not those that are decided here."""
    for name, decider in DECIDED_FIELDS.items():
        if name in value:
            raise TextError(f"may not set `{name}`: {decider} does", "Leave it out.")
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        message = "holds a number that JSON cannot carry"
        raise TextError(message, "Write a finite number.") from None
    return value


def _one_secret(value: SecretStr) -> SecretStr:
    texts.token(value.get_secret_value())
    return value


def _secret_header(value: SecretStr) -> SecretStr:
    texts.header_text(value.get_secret_value())
    return value


def _secret_proxy(value: SecretStr) -> SecretStr:
    texts.proxy_url(value.get_secret_value())
    return value


# What may stand in any text, in the words of JSON Schema.
REFERENCE_PATTERN: Final = r"\$\{"

_ONE_REFERENCE: Final = r"^\$\{[^{}]+\}$"
_SHARE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?%?$"
_DATE_PATTERN: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$"
_BASE_URL_PATTERN: Final = r"^https?://[^/?#@\s][^?#@\s]*$"
_PROXY_PATTERN: Final = r"^https?://[^?#\s]+$"
_MOVERS: Final = sorted(
    str(kind) for kind in FailureClass if kind not in FIXED_FAILURES
)


def _in_schema(title: str, pattern: str) -> WithJsonSchema:
    """A text of a form, or with a reference in it. The title is what people call it."""
    pattern = f"{pattern}|{REFERENCE_PATTERN}"
    return WithJsonSchema({"title": title, "type": "string", "pattern": pattern})


def _whole(form: re.Pattern[str]) -> str:
    return f"^(?:{form.pattern})$"


_REFERENCE_SCHEMA: Final = WithJsonSchema(
    {"title": "one reference", "type": "string", "pattern": _ONE_REFERENCE}
)
_SHARE_SCHEMA: Final = WithJsonSchema(
    {
        "title": "share",
        "anyOf": [
            {"type": "string", "pattern": f"{_SHARE_PATTERN}|{REFERENCE_PATTERN}"},
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        ],
    }
)
_MOVER_SCHEMA: Final = WithJsonSchema(
    {
        "title": "failure class or status code",
        "anyOf": [
            {"enum": _MOVERS},
            {"type": "integer", "minimum": 300, "maximum": 599},
        ],
    }
)
_SWITCH_SCHEMA: Final = WithJsonSchema(
    {"title": "on or off", "enum": ["on", "off", True, False]}
)

Duration = Annotated[
    float, BeforeValidator(parse_duration), _in_schema("duration", DURATION_PATTERN)
]
Size = Annotated[int, BeforeValidator(parse_size), _in_schema("size", SIZE_PATTERN)]
Share = Annotated[float, BeforeValidator(parse_share), _SHARE_SCHEMA]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]
Label = Annotated[str, AfterValidator(texts.label), _in_schema("text", r"^.{1,200}$")]
ProviderName = Annotated[
    str,
    AfterValidator(texts.provider_name),
    _in_schema("name", _whole(texts.PROVIDER_NAME)),
]
Slug = Annotated[
    str, AfterValidator(texts.slug), _in_schema("slug", _whole(texts.SLUG))
]
HeaderName = Annotated[
    str,
    AfterValidator(texts.header_name),
    _in_schema("header field", _whole(texts.HEADER_NAME)),
]
Credential = Annotated[SecretStr, AfterValidator(_one_secret), _REFERENCE_SCHEMA]
HeaderText = Annotated[
    SecretStr, AfterValidator(_secret_header), _in_schema("text", r"^[\x20-\x7e]+$")
]
Moment = Annotated[
    datetime, PlainValidator(_moment), _in_schema("date or time", _DATE_PATTERN)
]
Mover = Annotated[FailureClass | int, PlainValidator(_mover), _MOVER_SCHEMA]
BaseUrl = Annotated[
    str, AfterValidator(texts.base_url), _in_schema("address", _BASE_URL_PATTERN)
]
ProxyUrl = Annotated[
    SecretStr, AfterValidator(_secret_proxy), _in_schema("address", _PROXY_PATTERN)
]
Word = Annotated[
    str, AfterValidator(texts.token), _in_schema("word", r"^[\x21-\x7e]+$")
]
Sha256 = Annotated[
    str, AfterValidator(texts.sha256_hex), _in_schema("hash", _whole(texts.SHA256))
]
Overrides = Annotated[dict[str, JsonValue], AfterValidator(_overrides)]
Switch = Annotated[bool, BeforeValidator(on_or_off), _SWITCH_SCHEMA]
