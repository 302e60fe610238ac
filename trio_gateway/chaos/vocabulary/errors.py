"""Errors as answers: the forms of `error_forms` with a hint and a model filled in."""

import html
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum
from http import HTTPStatus

from trio_gateway.chaos.vocabulary.answers import (
    JSON,
    Asked,
    Dialect,
    Voice,
    as_json,
    plain_script,
)
from trio_gateway.chaos.vocabulary.error_forms import (
    ERRORS,
    USUAL,
    USUAL_AT_AZURE,
    ErrorForm,
    Shape,
)
from trio_gateway.chaos.vocabulary.script import Script


class HintForm(StrEnum):
    """How an answer says when to come back."""

    SECONDS = "seconds"  # retry-after: 2
    MS = "ms"  # retry-after-ms: 2000 (OpenAI, Azure)
    DATE = "date"  # retry-after: an HTTP date, to be read against `date`
    RESET = "reset"  # x-ratelimit-reset-requests: 2s, with none remaining
    TEXT = "text"  # only in the message
    GOOGLE = "google"  # RetryInfo in the body
    TWICE = "twice"  # two retry-after fields that disagree: the time, and twice it
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
            case HintForm.TWICE:
                return (
                    ("retry-after", f"{self.seconds:g}"),
                    ("retry-after", f"{2 * self.seconds:g}"),
                )
            case HintForm.RAW:
                return (("retry-after", self.raw),)
            case HintForm.TEXT | HintForm.GOOGLE:
                return ()


def error_script(
    asked: Asked,
    voice: Voice,
    *,
    name: str | None = None,
    status: int | None = None,
    hint: Hint | None = None,
) -> Script:
    """Answer with an error: by its name, or what a status usually says."""
    form = ERRORS[name or _usual(500 if status is None else status, voice)]
    status = form.status if status is None else status
    is_html = form.shape is Shape.HTML
    label = ("content-type", "text/html") if is_html else JSON
    return plain_script(
        _page(status, form) if is_html else as_json(_said(status, form, asked, hint)),
        status=status,
        headers=(label, _trace(voice), *(hint.fields(voice) if hint else form.headers)),
    )


def _usual(status: int, voice: Voice) -> str:
    """Name the error of a bare status: a server's own fault for an unknown 5xx."""
    usual = USUAL_AT_AZURE if voice.dialect is Dialect.AZURE else USUAL
    return usual.get(status) or usual[500 if status >= 500 else 400]


def _trace(voice: Voice) -> tuple[str, str]:
    """Give the id that a provider wants to be told when it is complained to."""
    name = "apim-request-id" if voice.dialect is Dialect.AZURE else "x-request-id"
    return (name, f"req_{voice.random('trace').getrandbits(96):024x}")


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
        case Shape.AZURE:
            return {"error": {"code": form.code, "message": message} | extra}
        case Shape.AMAZON:
            return {"message": message} | extra
        case Shape.HTML:
            raise AssertionError("a page is not JSON")


def _page(status: int, form: ErrorForm) -> bytes:
    title = f"{status} {html.escape(form.message)}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n"
        "</body>\r\n</html>\r\n"
    ).encode()
