"""Every error that a client can get: the one table of statuses, codes and messages.

Each function is one row of it. What they return lacks only the fields that every
answer carries, which `identity` makes. Nothing here holds a secret: attempts are told
by target, class, status and time, and an upstream's own words pass only where it says
that the request itself is wrong.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from trio_gateway.failover.commands import RefusalKind, Refuse
from trio_gateway.failover.failures import Failure, UpstreamError
from trio_gateway.relay.record import AttemptRecord
from trio_gateway.wire.chat import RequestError, RequestErrorKind
from trio_gateway.wire.errors import error_body

Headers = tuple[tuple[bytes, bytes], ...]

# A name that is longer is nobody's, and neither an answer nor a record is to be filled.
_NAME_CHARS_MAX: Final = 200

# Some of OpenAI's clients choose their exception by `type`. Where it is not listed, it
# is the client's error below 500, and ours from there on.
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
    504: "timeout_error",
}

_REFUSALS: Final[Mapping[RefusalKind, tuple[int, str]]] = {
    RefusalKind.RATE_LIMITED: (429, "Every target is rate limited"),
    RefusalKind.DEADLINE_EXCEEDED: (504, "No target answered in time"),
    RefusalKind.UNAVAILABLE: (503, "No target can be tried now"),
    RefusalKind.UPSTREAM_FAILED: (502, "Every target that was tried failed"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An error answer. `detail` says why in one of our own phrases, for the record."""

    status: int
    body: bytes
    headers: Headers
    detail: str


class RefusedError(Exception):
    """Raised by a view or a hook: the client gets this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.answer = answer


def unauthorized() -> Answer:
    """No key, or not one of ours."""
    challenge = ((b"www-authenticate", b"Bearer"),)
    return _error(401, "unauthorized", "Unauthorized", headers=challenge)


def forbidden(what: str, why: str) -> Answer:
    """This client may not do this: `{what: why}` says what."""
    return _error(403, "forbidden", "Forbidden", details={what: why})


def bad_request(details: Mapping[str, str]) -> Answer:
    """Something is missing or out of bounds, by the names of the fields."""
    return _error(400, "bad_request", "Bad Request", details=details)


def wrong_request(error: RequestError) -> Answer:
    """The body of a chat completion is not one."""
    match error.kind:
        case RequestErrorKind.BLANK:
            return bad_request(error.details)
        case RequestErrorKind.UNREADABLE:
            return wrong_value(error.details)
        case _:
            assert_never(error.kind)


def unknown_model(slug: str, near: Sequence[str]) -> Answer:
    """There is no such slug; `near` are some that look like it."""
    details = {"model": shortened(slug), "near": list(near)}
    message = "Model not found"
    if near:  # in the message, too: it is all that most libraries show
        message += f". Did you mean {' or '.join(near)}?"
    return _error(404, "not_found", message, details=details, detail="unknown model")


def not_found(allowed: Sequence[str]) -> Answer:
    """There is nothing at this path; `allowed` are the paths there are."""
    return _error(
        404,
        "not_found",
        f"Not found. There are: {', '.join(allowed)}",
        details={"allowed": list(allowed)},
        detail="not found",
    )


def method_not_allowed(allowed: Iterable[str]) -> Answer:
    """The path exists, but not for this method."""
    methods = sorted(allowed)
    return _error(
        405,
        "method_not_allowed",
        "Method not allowed",
        details={"allowed": methods},
        headers=((b"allow", ", ".join(methods).encode()),),
    )


def unsupported_media_type() -> Answer:
    """The content type is missing or another than JSON."""
    return _error(
        415,
        "unsupported_media_type",
        "Unsupported media type",
        details={"allowed": ["application/json"]},
    )


def unsupported_encoding() -> Answer:
    """The body is compressed."""
    return _error(
        415,
        "unsupported_media_type",
        "Unsupported content encoding",
        details={"allowed": ["identity"]},
        headers=((b"accept-encoding", b"identity"),),
    )


def wrong_value(details: Mapping[str, str]) -> Answer:
    """A body that is no JSON, or whose fields have other values than they may."""
    message = "Failed to parse data"
    return _error(422, "bad_request", message, details=details)


def unknown_target(target_id: str, near: Sequence[str]) -> Answer:
    """There is no such target; `near` are some that look like it."""
    details = {"target": shortened(target_id), "near": list(near)}
    return _error(404, "not_found", "Target not found", details=details)


def payload_too_large(limit_bytes: int) -> Answer:
    """The body is too large; the rest of it will not be read."""
    return _error(
        413,
        "payload_too_large",
        "Payload too large",
        details={"limit_bytes": limit_bytes},
        headers=((b"connection", b"close"),),
    )


def body_too_slow() -> Answer:
    """The body did not come in time; nothing was done with it."""
    return _error(
        408,
        "request_timeout",
        "The request body did not come in time",
        headers=((b"connection", b"close"),),
        is_retry_welcome=True,
    )


def draining() -> Answer:
    """What `/readyz` says while the process is ending."""
    return _error(503, "unavailable", "Draining", is_retry_welcome=True)


def no_worker(workers: Mapping[str, object]) -> Answer:
    """None of several workers serves, or none has answered in time."""
    return _error(
        503,
        "unavailable",
        "No worker is ready",
        details=workers or None,
        is_retry_welcome=True,
    )


def passed_on(status: int, body: bytes) -> Answer:
    """What a worker has answered, as it stands."""
    fields = (b"content-type", b"application/json"), (b"x-should-retry", b"false")
    return Answer(status, body, fields, "a worker's own answer")


def shed(retry_after_s: float) -> Answer:
    """There is too much at once; nothing was done with the request."""
    return _error(
        503,
        "unavailable",
        "The gateway is busy",
        details={"attempts": []},
        headers=_retry_after(retry_after_s),
        is_retry_welcome=True,
    )


def internal_error() -> Answer:
    """Our bug. What it was is in the log, and nowhere else."""
    return _error(500, "internal_error", "Internal error")


def refused(refuse: Refuse, attempts: Sequence[AttemptRecord]) -> Answer:
    """The end of an exchange for which no target had an answer."""
    details = {"attempts": [_told(attempt) for attempt in attempts]}
    if refuse.kind is RefusalKind.CLIENT_ERROR:
        assert refuse.failure is not None
        return _passed_on(refuse.failure, details)
    status, message = _REFUSALS[refuse.kind]
    return _error(
        status,
        refuse.kind.value,
        message,
        details=details,
        headers=_retry_after(refuse.retry_after_s),
        is_retry_welcome=refuse.is_retry_welcome,
    )


def identity(
    request_id: str, *, target: str | None = None, attempts: int = 0
) -> Headers:
    """The fields that every answer carries, errors included."""
    return (
        (b"x-request-id", request_id.encode("ascii")),
        (b"x-gateway-target", (target or "none").encode("ascii", "backslashreplace")),
        (b"x-gateway-attempts", b"%d" % attempts),
    )


def shortened(name: str) -> str:
    """A name that somebody asked for, fit to be repeated."""
    return name[:_NAME_CHARS_MAX]


def _passed_on(failure: Failure, details: object) -> Answer:
    """An upstream's own words: it says that the request itself is wrong.

    Where it said so inside a 200, or with a status that blames the server, it is a 400.
    """
    said = failure.said or UpstreamError("Bad Request", code="bad_request")
    status = failure.status or 400
    return _error(
        status if 400 <= status < 500 else 400,
        said.code,
        said.message,
        type=said.type,
        param=said.param,
        details=details,
        detail=failure.cause,
    )


def _told(attempt: AttemptRecord) -> dict[str, object]:
    return {
        "target": attempt.target,
        "class": attempt.failure,
        "status": attempt.status,
        "milliseconds": round((attempt.ended_s - attempt.started_s) * 1000),
    }


def _retry_after(seconds: float | None) -> Headers:
    return () if seconds is None else ((b"retry-after", b"%d" % math.ceil(seconds)),)


def _error(
    status: int,
    code: str | int | None,
    message: str,
    *,
    type: str | None = None,  # noqa: A002 - the envelope's own word
    param: str | None = None,
    details: object = None,
    headers: Headers = (),
    is_retry_welcome: bool = False,
    detail: str | None = None,
) -> Answer:
    own_type = _TYPES.get(status, "invalid_request_error" if status < 500 else None)
    body = error_body(
        code=code,
        message=message,
        type=type or own_type or "api_error",
        param=param,
        details=details,
    )
    head = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-should-retry", b"true" if is_retry_welcome else b"false"),
        *headers,
    )
    return Answer(status, body, head, detail or message.lower())
