import pytest

from trio_gateway.wire.headers import (
    Fields,
    header,
    sane_request_id,
    to_client,
    to_upstream,
    upstream_request_id,
)

UUID = "12345678-1234-4234-8234-123456789abc"


def test_only_what_is_allowed_reaches_an_upstream() -> None:
    fields = [
        (b"authorization", b"Bearer client's"),
        (b"api-key", b"client's"),
        (b"cookie", b"a=b"),
        (b"host", b"gateway"),
        (b"content-length", b"5"),
        (b"connection", b"keep-alive"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"user-agent", b"OpenAI/Python"),
        (b"accept-encoding", b"gzip"),
        (b"x-request-id", b"client's"),
        (b"x-stainless-retry-count", b"1"),
        (b"openai-organization", b"org"),
        (b"traceparent", b"00-\xff-01"),
        (b"tracestate", b"a=1 , b=2 "),
        (b"openai-beta", b"x=y"),
    ]
    assert to_upstream(Fields(fields), request_uuid=UUID) == (
        (b"traceparent", b"00-\xff-01"),
        (b"tracestate", b"a=1 , b=2 "),
        (b"openai-beta", b"x=y"),
        (b"x-request-id", UUID.encode()),
    )


def test_only_what_is_allowed_reaches_a_client() -> None:
    fields = [
        (b"set-cookie", b"a=b"),
        (b"content-type", b"text/html"),
        (b"content-length", b"5"),
        (b"content-encoding", b"gzip"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"keep-alive", b"timeout=5"),
        (b"server", b"cloudflare"),
        (b"date", b"now"),
        (b"retry-after", b"5"),
        (b"retry-after-ms", b"5"),
        (b"x-should-retry", b"true"),
        (b"x-ratelimit-remaining-tokens", b"5"),
        (b"anthropic-ratelimit-tokens-remaining", b"5"),
        (b"x-request-id", b"req_1"),
        (b"openai-organization", b"ours"),
        (b"access-control-allow-origin", b"*"),
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
    ]
    assert to_client(fields) == (
        (b"openai-processing-ms", b"12"),
        (b"openai-version", b"2020-10-01"),
    )


@pytest.mark.parametrize("value", ["a", "req_1.2:3-4", UUID, "x" * 128])
def test_a_sane_request_id_is_kept(value: str) -> None:
    assert sane_request_id(value.encode()) == value


@pytest.mark.parametrize(
    "value", [b"", b" ", b"a b", b"x" * 129, b"a\n", b"a\x00", b"\xc3\xa9", b'"a"']
)
def test_any_other_request_id_is_not(value: bytes) -> None:
    assert sane_request_id(value) is None


def test_no_request_id_is_none() -> None:
    assert sane_request_id(None) is None


def test_an_upstream_gets_a_uuid_in_any_case() -> None:
    other = "ABCDEF00-1234-4234-8234-123456789abc"
    assert upstream_request_id(other.encode(), UUID) == other
    for value in (b"req_1", other.encode() + b"0", other.replace("-", "").encode()):
        assert upstream_request_id(value, UUID) == UUID
    assert upstream_request_id(None, UUID) == UUID


def test_the_first_value_of_a_field_counts() -> None:
    fields = [(b"A", b" 1\t"), (b"a", b"2")]
    assert header(fields, b"a") == b"1"
    assert header(fields, b"b") is None
    asked = Fields([(b"a", b" 1\t"), (b"a", b"2")])
    assert asked.first(b"a") == b"1"
    assert asked.first(b"b") is None
