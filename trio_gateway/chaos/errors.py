"""Errors in real providers' own words: their statuses, bodies and hints.

The shapes differ on purpose: nested as OpenAI has them, flat as Mistral, a bare string
as Ollama, HTML as the proxies in front of everybody. All are what those providers are
documented to send, or were seen to.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum, StrEnum
from http import HTTPStatus
from typing import Final

from trio_gateway.chaos.answers import (
    JSON,
    Asked,
    Voice,
    as_json,
    plain_script,
)
from trio_gateway.chaos.script import Script


class HintForm(StrEnum):
    """How an answer says when to come back."""

    SECONDS = "seconds"  # retry-after: 2
    MS = "ms"  # retry-after-ms: 2000 (OpenAI, Azure)
    DATE = "date"  # retry-after: an HTTP date, to be read against `date`
    RESET = "reset"  # x-ratelimit-reset-requests: 2s, with none remaining
    TEXT = "text"  # only in the message
    GOOGLE = "google"  # RetryInfo in the body
    RAW = "raw"  # retry-after: whatever was given


@dataclass(frozen=True, slots=True)
class Hint:
    """When to come back, and how that is said."""

    form: HintForm
    seconds: float = 0.0
    raw: str = ""

    def fields(self, voice: Voice) -> tuple[tuple[str, str], ...]:
        """The header fields that carry it; none where the body does."""
        match self.form:
            case HintForm.SECONDS:
                return (("retry-after", f"{self.seconds:g}"),)
            case HintForm.MS:
                return (("retry-after-ms", f"{self.seconds * 1000:g}"),)
            case HintForm.DATE:
                now, then = voice.created_at, voice.created_at + self.seconds
                return (
                    ("date", formatdate(now, usegmt=True)),
                    ("retry-after", formatdate(then, usegmt=True)),
                )
            case HintForm.RESET:
                return (
                    ("x-ratelimit-limit-requests", "500"),
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", f"{self.seconds:g}s"),
                )
            case HintForm.RAW:
                return (("retry-after", self.raw),)
            case HintForm.TEXT | HintForm.GOOGLE:
                return ()


class Shape(Enum):
    """What an error's body looks like."""

    NESTED = "nested"  # {"error": {"message", "type", "param", "code"}}: OpenAI, Azure
    FLAT = "flat"  # the same without `error` around it: Mistral
    STRING = "string"  # {"error": "message"}: Ollama
    ANTHROPIC = "anthropic"  # {"type": "error", "error": {"type", "message"}}
    GOOGLE = "google"  # {"error": {"code", "message", "status"}}
    HTML = "html"  # a proxy's page


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """One error that some provider sends. `{model}` in its message is the asked one."""

    status: int
    message: str
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
    shape: Shape = Shape.NESTED
    extra: tuple[tuple[str, object], ...] = ()  # further members beside the message


ERRORS: Final[Mapping[str, ErrorForm]] = {
    "bad_request": ErrorForm(
        400,
        "Invalid value for 'temperature': expected a number of at most 2.",
        "invalid_request_error",
        "invalid_value",
        "temperature",
    ),
    "context_length": ErrorForm(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages "
        "resulted in 203117 tokens. Please reduce the length of the messages.",
        "invalid_request_error",
        "context_length_exceeded",
        "messages",
    ),
    "content_filter": ErrorForm(
        400,
        "The response was filtered due to the prompt triggering the content management "
        "policy. Please modify your prompt and retry.",
        None,
        "content_filter",
        "prompt",
        extra=(
            ("status", 400),
            ("innererror", {"code": "ResponsibleAIPolicyViolation"}),
        ),
    ),
    "auth": ErrorForm(
        401,
        "Incorrect API key provided.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    "billing": ErrorForm(
        402, "Insufficient Balance", "unknown_error", "invalid_request_error"
    ),
    "forbidden": ErrorForm(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "not_found": ErrorForm(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "deployment": ErrorForm(
        404,
        "The API deployment for this resource does not exist.",
        None,
        "DeploymentNotFound",
    ),
    "timeout": ErrorForm(408, "Request timed out.", "timeout", None),
    "too_large": ErrorForm(
        413,
        "Request exceeds the maximum size",
        "request_too_large",
        shape=Shape.ANTHROPIC,
    ),
    "unprocessable": ErrorForm(
        422,
        "Input should be a valid list",
        "invalid_request_error",
        "invalid_request",
        "messages",
        shape=Shape.FLAT,
    ),
    "rate_limit": ErrorForm(
        429,
        "Rate limit reached for {model} in organization org-sim on requests per min "
        "(RPM): Limit 500, Used 500, Requested 1.",
        "requests",
        "rate_limit_exceeded",
    ),
    "quota": ErrorForm(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "spend_limit": ErrorForm(
        429,
        "You have reached your spend limit.",
        "rate_limit_error",
        shape=Shape.ANTHROPIC,
        extra=(("details", {"error_code": "enforced_spend_limit_reached"}),),
    ),
    "slow_down": ErrorForm(
        429,
        "Your traffic grows too fast. Please slow down and raise it gradually.",
        "requests",
        "slow_down",
    ),
    "google_quota": ErrorForm(
        429,
        "Resource has been exhausted (e.g. check quota).",
        "RESOURCE_EXHAUSTED",
        shape=Shape.GOOGLE,
    ),
    "capacity": ErrorForm(
        498, "Flex tier capacity exceeded.", "capacity_error", "capacity_exceeded"
    ),
    "server_error": ErrorForm(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
    ),
    "flat": ErrorForm(
        500, "Service unavailable.", "internal_server_error", "3000", shape=Shape.FLAT
    ),
    "string": ErrorForm(500, "llama runner process has terminated", shape=Shape.STRING),
    "bad_gateway": ErrorForm(502, "Bad gateway", shape=Shape.HTML),
    "overloaded": ErrorForm(
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "server_is_overloaded",
    ),
    "gateway_timeout": ErrorForm(504, "Gateway time-out", shape=Shape.HTML),
    "anthropic_overloaded": ErrorForm(
        529, "Overloaded", "overloaded_error", shape=Shape.ANTHROPIC
    ),
}

# What a bare status means: the first of its errors, a server's own fault for the other
# 5xx, a client's for the other 4xx.
USUAL: Final = {form.status: name for name, form in reversed(tuple(ERRORS.items()))}


def error_script(
    asked: Asked,
    voice: Voice,
    *,
    name: str | None = None,
    status: int | None = None,
    hint: Hint | None = None,
) -> Script:
    """Answer with an error: by its name, or what a status usually says."""
    if name is None:
        code = 500 if status is None else status
        name = USUAL.get(code, "server_error" if code >= 500 else "bad_request")
    form = ERRORS[name]
    status = form.status if status is None else status
    is_html = form.shape is Shape.HTML
    label = ("content-type", "text/html") if is_html else JSON
    return plain_script(
        _page(status, form) if is_html else as_json(_said(status, form, asked, hint)),
        status=status,
        headers=(label, *(hint.fields(voice) if hint else ())),
    )


def http_error_script(status: int, message: str | None = None) -> Script:
    """Answer what is no chat completion at all, by a status and what it means."""
    error = {
        "message": message or HTTPStatus(status).phrase,
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return plain_script(as_json({"error": error}), status=status)


def embedded_error() -> dict[str, object]:
    """Make an error that comes inside a 200, as a body or as an event of a stream."""
    form = ERRORS["server_error"]
    return {
        "error": {
            "message": form.message,
            "type": form.type,
            "param": None,
            "code": None,
        }
    }


def _said(
    status: int, form: ErrorForm, asked: Asked, hint: Hint | None
) -> dict[str, object]:
    """Put an error into its provider's shape."""
    message = form.message.replace("{model}", asked.model)
    if hint and hint.form is HintForm.TEXT:
        message += f" Please try again in {hint.seconds:g}s."
    extra = dict(form.extra)
    if hint and hint.form is HintForm.GOOGLE:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        extra["details"] = [{"@type": kind, "retryDelay": f"{hint.seconds:g}s"}]
    inner: dict[str, object] = {"message": message, "type": form.type}
    inner |= {"param": form.param, "code": form.code} | extra
    match form.shape:
        case Shape.NESTED:
            return {"error": inner}
        case Shape.FLAT:
            return {"object": "error", **inner}
        case Shape.STRING:
            return {"error": message}
        case Shape.ANTHROPIC:
            error = {"type": form.type, "message": message} | extra
            return {"type": "error", "error": error}
        case Shape.GOOGLE:
            outer = {"code": status, "message": message, "status": form.type}
            return {"error": outer | extra}
        case Shape.HTML:
            raise AssertionError("a page is not JSON")


def _page(status: int, form: ErrorForm) -> bytes:
    title = f"{status} {html.escape(form.message)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n"
        "</body>\r\n</html>\r\n"
    ).encode()
