"""Responses: how they are framed, and what must not be sent."""

import pytest

from trio_gateway.serving.fast.head import Head
from trio_gateway.serving.fast.response import Response, ResponseError

LENGTH = (b"content-length", b"4")


def a_request(method: str = "GET", version: str = "1.1") -> Head:
    return Head(
        method=method,
        path=b"/",
        query=b"",
        version=version,
        fields=[],
        length=0,
        keeps_alive=version == "1.1",
        awaits_continue=False,
    )


def said(
    request: Head, *parts: bytes, status: int = 200, fields: object = ()
) -> tuple[bytes, Response]:
    """Everything that is sent for a response in these parts, the last one final."""
    response = Response(request)
    response.start(status, fields)  # type: ignore[arg-type] # a tuple of pairs
    last = len(parts) - 1
    sent = b"".join(
        response.part(data, has_more=number < last, date=b"")
        for number, data in enumerate(parts)
    )
    assert response.is_finished
    return sent, response


def test_a_body_in_one_part_needs_no_chunks() -> None:
    sent, response = said(a_request(), b"body")
    assert sent == b"HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\nbody"
    assert not response.is_last


def test_a_body_in_parts_is_chunked() -> None:
    sent, _ = said(a_request(), b"", b"body", b"", b"!")
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 \r\ntransfer-encoding: chunked"
    assert body == b"4\r\nbody\r\n1\r\n!\r\n0\r\n\r\n"


def test_a_body_of_said_length_is_sent_as_it_is() -> None:
    sent, _ = said(a_request(), b"bo", b"dy", fields=[LENGTH, (b"x", b"y")])
    assert sent == b"HTTP/1.1 200 \r\nx: y\r\ncontent-length: 4\r\n\r\nbody"


def test_http_1_0_is_framed_by_the_close() -> None:
    sent, response = said(a_request(version="1.0"), b"bo", b"dy")
    assert sent == b"HTTP/1.1 200 \r\nconnection: close\r\n\r\nbody"
    assert response.is_last


@pytest.mark.parametrize(
    ("method", "status", "framing"),
    [
        ("HEAD", 200, b"content-length: 4\r\n"),
        ("GET", 304, b"content-length: 4\r\n"),
        ("GET", 204, b""),
    ],
)
def test_where_there_is_no_body_none_is_sent(
    method: str, status: int, framing: bytes
) -> None:
    sent, _ = said(a_request(method), b"bo", b"dy", status=status, fields=[LENGTH])
    assert sent == b"HTTP/1.1 %d \r\n%b\r\n" % (status, framing)


def test_head_without_a_length_says_none() -> None:
    sent, _ = said(a_request("HEAD"), b"")
    assert sent == b"HTTP/1.1 200 \r\n\r\n"


def test_the_app_may_end_the_connection_but_not_frame_its_messages() -> None:
    fields = [(b"Connection", b"close"), (b"Transfer-Encoding", b"gzip")]
    sent, response = said(a_request(), b"", fields=fields)
    assert sent == b"HTTP/1.1 200 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    assert response.is_last


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x\r\ny", b"a"),
    ],
)
def test_a_field_cannot_add_a_line(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ResponseError):
        said(a_request(), b"", fields=[field])


@pytest.mark.parametrize("parts", [(b"bodyx",), (b"bod",), (b"body", b"x"), (b"",)])
def test_a_body_is_as_long_as_was_said(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(ResponseError):
        said(a_request(), *parts, fields=[LENGTH])


def test_a_response_starts_once_and_with_its_status() -> None:
    response = Response(a_request())
    with pytest.raises(ResponseError):
        response.part(b"", has_more=False, date=b"")
    with pytest.raises(ResponseError):
        response.start(103, [])
    response.start(200, [])
    with pytest.raises(ResponseError):
        response.start(200, [])
