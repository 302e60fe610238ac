"""What the table says of refusals that scripted upstreams do not lead to."""

import json

import pytest

from trio_gateway.failover.commands import RefusalKind, Refuse
from trio_gateway.failover.failures import Failure, FailureClass, UpstreamError
from trio_gateway.web.answers import identity, refused


@pytest.mark.parametrize(
    ("status", "answered"),
    [(None, 400), (200, 400), (302, 400), (400, 400), (499, 499), (500, 400)],
)
def test_a_clients_error_has_a_clients_status(
    status: int | None, answered: int
) -> None:
    said = UpstreamError("too long", code="context_length_exceeded")
    failure = Failure(FailureClass.CONTEXT_LENGTH, "context length", status, said=said)

    answer = refused(Refuse(RefusalKind.CLIENT_ERROR, failure), ())

    assert answer.status == answered
    assert json.loads(answer.body)["error"]["code"] == "context_length_exceeded"
    assert answer.detail == "context length"


def test_a_part_of_a_second_is_a_whole_one_to_a_client() -> None:
    refuse = Refuse(RefusalKind.RATE_LIMITED, retry_after_s=1.25, is_retry_welcome=True)

    answer = refused(refuse, ())

    assert (b"retry-after", b"2") in answer.headers
    assert (b"x-should-retry", b"true") in answer.headers


def test_a_targets_name_never_breaks_a_header() -> None:
    assert (b"x-gateway-target", b"a/m\\xf6del") in identity("id", target="a/mödel")
