"""What we answer ourselves, without the app: to bytes that are no request of ours.

Pure bytes in the shape that clients of the API expect, for both serving loops and for
whoever cannot be let in.
"""

import json
from typing import Final
from uuid import uuid4

# Status -> reason, code, message.
REFUSALS: Final = {
    400: ("Bad Request", "bad_request", "Malformed HTTP request"),
    408: ("Request Timeout", "request_timeout", "The request did not arrive in time"),
    431: (
        "Request Header Fields Too Large",
        "headers_too_large",
        "The request's head is too large",
    ),
    500: ("Internal Server Error", "internal_error", "The request was not answered"),
    501: ("Not Implemented", "not_implemented", "This use of HTTP is not supported"),
    503: ("Service Unavailable", "unavailable", "Too many connections"),
    505: (
        "HTTP Version Not Supported",
        "bad_request",
        "This version of HTTP is not supported",
    ),
}


class RefusedError(Exception):
    """What a client sent is not to be passed on; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


def refusal_body(status: int, message: str | None = None) -> bytes:
    """An error in the shape that clients of the API expect."""
    _, code, usual = REFUSALS.get(status, REFUSALS[400])
    error = {
        "code": code,
        "message": message or usual,
        "type": "invalid_request_error" if status < 500 else "api_error",
        "param": None,
        "details": None,
    }
    return json.dumps({"error": error}, separators=(",", ":")).encode()


def identity() -> tuple[tuple[bytes, bytes], ...]:
    """The fields by which every answer can be asked about; no target was tried."""
    return (
        (b"x-request-id", str(uuid4()).encode()),
        (b"x-gateway-target", b"none"),
        (b"x-gateway-attempts", b"0"),
    )


def refusal(
    status: int, *fields: bytes, has_body: bool = True, message: str | None = None
) -> bytes:
    """Write a whole response that refuses and announces the close.

    Args:
        status: one of `REFUSALS`.
        fields: more lines of the head, each with its line break.
        has_body: false in answer to HEAD.
        message: what to say, where the status's own words do not fit.
    """
    body = refusal_body(status, message)
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\n" % (status, REFUSALS[status][0].encode()),
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n",
            *(b"%b: %b\r\n" % field for field in identity()),
            *fields,
            b"\r\n",
            body if has_body else b"",
        )
    )
