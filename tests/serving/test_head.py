"""Heads of requests: what they say, and what is refused in them."""

import pytest

from trio_gateway.serving.fast.head import Head, parse_head, says_close
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.refusals import RefusedError

HOST = "host: x"


def head(line: str = "POST /a HTTP/1.1", *fields: str) -> Head:
    return parse_head(words(line, *fields), Limits())


def words(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def refusal_of(data: bytes) -> int:
    with pytest.raises(RefusedError) as caught:
        parse_head(data, Limits())
    return caught.value.status


def test_a_head_is_taken_apart() -> None:
    got = head(
        "POST /v1/chat?a=b?c HTTP/1.1", "Host: x", "X-Y:  z \t", "Content-Length: 12"
    )
    assert got == Head(
        method="POST",
        path=b"/v1/chat",
        query=b"a=b?c",
        version="1.1",
        fields=[(b"host", b"x"), (b"x-y", b"z"), (b"content-length", b"12")],
        length=12,
        keeps_alive=True,
        awaits_continue=False,
    )


@pytest.mark.parametrize(
    ("line", "field", "keeps_alive"),
    [
        ("GET /a HTTP/1.1", "connection: keep-alive", True),
        ("GET /a HTTP/1.1", "connection: closed", True),
        ("GET /a HTTP/1.1", "connection: close", False),
        ("GET /a HTTP/1.1", "connection: Upgrade , CLOSE", False),
        ("GET /a HTTP/1.0", "connection: keep-alive", False),
        ("GET /a HTTP/1.0", "x: y", False),
    ],
)
def test_who_may_stay(line: str, field: str, *, keeps_alive: bool) -> None:
    assert head(line, HOST, field).keeps_alive is keeps_alive


def test_close_is_one_of_several_options() -> None:
    assert says_close(b"a,\tClose")
    assert not says_close(b"not-close, close-not")


def test_a_body_is_counted_chunked_or_absent() -> None:
    assert head("POST /a HTTP/1.1", HOST, "content-length: 7").length == 7
    assert head("POST /a HTTP/1.1", HOST, "transfer-encoding: Chunked").length is None
    assert head("POST /a HTTP/1.1", HOST).length == 0


def test_100_is_awaited_only_where_there_is_a_body_to_send() -> None:
    expect = "expect: 100-Continue"
    length = "content-length: 7"
    assert head("POST /a HTTP/1.1", HOST, expect, length).awaits_continue
    assert not head("POST /a HTTP/1.1", HOST, expect).awaits_continue
    assert not head("POST /a HTTP/1.0", HOST, expect, length).awaits_continue


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", b"/"),
        ("/%ff%00", b"/%ff%00"),
        ("//a/../b", b"//a/../b"),
        ("http://x:80/a/b", b"/a/b"),
        ("HTTPS://x", b"/"),
        ("http://x?q", b"/"),
    ],
)
def test_a_target_names_a_path(target: str, path: bytes) -> None:
    assert head(f"GET {target} HTTP/1.1", HOST).path == path


def test_an_offered_upgrade_is_a_plain_request() -> None:
    got = head("GET /a HTTP/1.1", HOST, "connection: upgrade", "upgrade: h2c")
    assert got.keeps_alive


@pytest.mark.parametrize(
    "target", ["a", "*", "#", "/a#b", "ftp://x/a", "http://", "http:///a", "/\xe9", "?"]
)
def test_an_absurd_target_is_refused(target: str) -> None:
    assert refusal_of(words(f"GET {target} HTTP/1.1", HOST)) == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /a", 400),
        ("GET  /a HTTP/1.1", 400),
        ("GET /a  HTTP/1.1", 400),
        ("GET\t/a HTTP/1.1", 400),
        (" GET /a HTTP/1.1", 400),
        ("GET /a HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        ("get /a HTTP/1.1", 400),
        ("BREW /a HTTP/1.1", 400),
        ("GET /a http/1.1", 400),
        ("GET /a HTTP/1.10", 400),
        ("GET /a ICE/1.0", 400),
        ("GET /a HTTP/0.9", 505),
        ("GET /a HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("CONNECT x:1 HTTP/1.1", 501),
    ],
)
def test_a_wrong_first_line_is_refused(line: str, status: int) -> None:
    assert refusal_of(words(line, HOST)) == status


@pytest.mark.parametrize(
    "fields",
    [
        ("content-length: 5", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked", "content-length: 5"),
        ("content-length: 5", "content-length: 5"),
        ("content-length: 5", "content-length: 6"),
        ("content-length: 5, 5",),
        ("content-length: +5",),
        ("content-length: -5",),
        ("content-length: 0x5",),
        ("content-length: 5_0",),
        ("content-length: 5 5",),
        ("content-length:",),
        ("content-length: 99999999999999999999",),
        ("transfer-encoding: chunked", "transfer-encoding: chunked"),
        ("transfer-encoding: chunked, chunked",),
        ("transfer-encoding: chunked, identity",),
        ("transfer-encoding: xchunked",),
        ("transfer-encoding: \x0bchunked",),
        ("transfer-encoding:",),
        ("transfer-encoding : chunked",),
        ("transfer-encoding\x00: chunked",),
    ],
)
def test_two_readers_never_see_two_ends_of_a_request(fields: tuple[str, ...]) -> None:
    assert refusal_of(words("POST /a HTTP/1.1", HOST, *fields)) in {400, 501}


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip,chunked"])
def test_a_coding_that_we_cannot_undo_is_refused(coding: str) -> None:
    field = f"transfer-encoding: {coding}"
    assert refusal_of(words("POST /a HTTP/1.1", HOST, field)) == 501


def test_chunks_are_not_for_http_1_0() -> None:
    assert refusal_of(words("POST /a HTTP/1.0", "transfer-encoding: chunked")) == 400


@pytest.mark.parametrize(
    "field",
    [
        "x: a\r\n folded",
        "x: a\r\n\tfolded",
        " x: a",
        "x: a\nb: c",
        "x: a\rb: c",
        "x: a\n",
        "x: a\x00b",
        "x: a\x01b",
        "x: a\x7fb",
        "x : a",
        "x\t: a",
        ": a",
        "x",
        "x\xe9: a",
        "(x): a",
    ],
)
def test_a_field_that_can_be_read_in_two_ways_is_refused(field: str) -> None:
    assert refusal_of(words("GET /a HTTP/1.1", HOST, field)) == 400
    assert refusal_of(words("GET /a HTTP/1.1", field, HOST)) == 400


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n", b"\n\r\n"])
def test_a_first_line_ends_with_cr_lf_alone(line_end: bytes) -> None:
    assert refusal_of(b"GET /a HTTP/1.1" + line_end + b"host: x\r\n\r\n") == 400


def test_a_bare_line_break_does_not_end_a_head() -> None:
    assert refusal_of(b"GET /a HTTP/1.1\r\nhost: x\n\nGET /b HTTP/1.1\r\n\r\n") == 400


def test_a_host_is_named_once() -> None:
    assert refusal_of(words("GET /a HTTP/1.1")) == 400
    assert refusal_of(words("GET /a HTTP/1.1", HOST, "Host: y")) == 400
    assert refusal_of(words("GET /a HTTP/1.0", HOST, "Host: y")) == 400
    assert head("GET /a HTTP/1.0").fields == []


def test_too_many_fields_are_refused() -> None:
    assert refusal_of(words("GET /a HTTP/1.1", HOST, *["x: y"] * 128)) == 431
    assert len(head("GET /a HTTP/1.1", HOST, *["x: y"] * 127).fields) == 128
