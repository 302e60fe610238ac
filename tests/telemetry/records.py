"""Records as the relay makes them, for the tests of telemetry."""

from typing import Any

from trio_gateway.failover.commands import Reason
from trio_gateway.failover.failures import FailureClass
from trio_gateway.relay.record import AttemptRecord, ExchangeRecord, Outcome

FAILED = AttemptRecord(
    number=1,
    target="flaky/demo",
    reason=Reason.FIRST,
    started_s=0.001,
    ended_s=0.015,
    opened_s=None,
    failure=FailureClass.SERVER_ERROR,
    status=503,
    cause="status 503",
    head_s=0.0145,
    in_flight=3,
    left_s=45.0,
)
WON = AttemptRecord(
    number=2,
    target="steady/demo",
    reason=Reason.FAILOVER,
    started_s=0.015,
    ended_s=0.3118,
    opened_s=0.215,
    failure=None,
    status=200,
    head_s=0.115,
    bytes_in=4500,
    left_s=44.986,
)
COMPLETED = ExchangeRecord(
    id="6f1c3a52-7c80-4d0e-9d2f-0f2f6a3a0001",
    request_id="client-7",
    key="support-bot",
    org="acme",
    project="support",
    model="demo-chat",
    is_stream=True,
    admitted_at=1_764_072_224.25,
    duration_s=0.312,
    first_token_s=0.216,
    outcome=Outcome.COMPLETED,
    status=200,
    target="steady/demo",
    attempts=(FAILED, WON),
    bytes_out=4321,
    winner=2,
)


def a_record(**changes: Any) -> ExchangeRecord:
    return COMPLETED._replace(**changes)
