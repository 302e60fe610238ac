import json

from tests.telemetry.records import COMPLETED, FAILED
from trio_gateway.failover.failures import FailureClass
from trio_gateway.telemetry.attention import Attention


def test_a_refused_credential_is_told_to_the_operator_once_a_minute() -> None:
    lines: list[str] = []
    attention = Attention(lines.append)
    refused = FAILED._replace(failure=FailureClass.AUTH, status=401)

    for second in range(0, 120, 10):
        record = COMPLETED._replace(attempts=(refused,), admitted_at=1e9 + second)
        attention.observe(record)

    assert len(lines) == 2
    told = json.loads(lines[0])
    assert told["target"] == refused.target
    assert told["failure"] == "auth"
    assert "api_key" in told["remedy"]


def test_what_passes_by_itself_is_not_told() -> None:
    lines: list[str] = []
    sick = FAILED._replace(failure=FailureClass.SERVER_ERROR)

    Attention(lines.append).observe(COMPLETED._replace(attempts=(sick,)))

    assert lines == []
