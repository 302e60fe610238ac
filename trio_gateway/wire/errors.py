"""Errors as clients read them: one envelope, as a body and as an event."""

import json


def error_body(
    *,
    code: str | int | None,
    message: str,
    type: str,  # noqa: A002 - the envelope's own word
    param: str | None = None,
    details: object = None,
) -> bytes:
    """Return the JSON body of an error answer.

    `code`, `message`, `type` and `param` are always there, because OpenAI's clients
    read them; `details` only where there are any.
    """
    error: dict[str, object] = {
        "code": code,
        "message": message,
        "type": type,
        "param": param,
    }
    if details is not None:
        error["details"] = details
    return json.dumps({"error": error}).encode("ascii")


def error_event(
    *,
    message: str,
    code: str = "stream_interrupted",
    type: str = "upstream_error",  # noqa: A002 - the envelope's own word
    details: object = None,
) -> bytes:
    """Return the event that ends a stream visibly broken.

    OpenAI's clients raise on any data object with an `error` member; they take a
    mere end of the stream for success.
    """
    body = error_body(code=code, message=message, type=type, details=details)
    return b"data: " + body + b"\n\n"
