"""How a process that serves is put together."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.web.house import a_house
from trio_gateway.cli.house import Options, drain_of, lag_noted_by
from trio_gateway.serving.awake import AwakeClock

OPTIONS = Options(
    policy=Path("policy.yaml"),
    bind="127.0.0.1:0",
    admin=None,
    admin_key=None,
    is_demo=False,
    is_text=False,
    server="fast",
)


@pytest.mark.parametrize("is_demo", [False, True])
async def test_a_drain_waits_for_requests_on_their_way_unless_it_is_a_demos(
    is_demo: bool,
) -> None:
    gateway = a_house().gateway
    drain = drain_of(gateway, replace(OPTIONS, is_demo=is_demo))
    assert (drain.notice_s > 0, drain.parting_s > 0) == (not is_demo, not is_demo)
    assert drain.limit_s == gateway.policy.gateway.drain_s
    drain.on_start()
    assert not gateway.is_ready


def test_who_stood_still_was_late() -> None:
    seconds = [0.0]
    clock = AwakeClock(lambda: seconds[0], lambda: 0.0)
    gateway = a_house().gateway

    async def main() -> None:
        note = lag_noted_by(gateway)
        note(0.002, trio.current_time())
        seconds[0] += 5.0
        note(0.002, trio.current_time())
        note(0.002, trio.current_time())

    trio.run(main, clock=clock)
    lags = gateway.metrics.families()["trio_gateway_loop_lag_seconds"].samples
    assert lags["trio_gateway_loop_lag_seconds_sum"] == pytest.approx(5.006)
    assert lags['trio_gateway_loop_lag_seconds_bucket{le="0.005"}'] == 2
