"""Handshakes that fail are counted, each, and told to the log by ration."""

import ssl

import pytest
import trio
from trio.testing import MockClock

from trio_gateway.serving.failure_log import LINES_MAX, WINDOW_S
from trio_gateway.serving.handshakes import Handshakes, Reason

CLIENT = ("10.0.0.7", 51034)


def an_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return error


REFUSED = an_error("TLSV1_ALERT_UNKNOWN_CA")


@pytest.fixture
def noted() -> list[Reason]:
    return []


@pytest.fixture
def handshakes(noted: list[Reason]) -> Handshakes:
    return Handshakes(noted.append)


async def test_a_line_says_why_and_whose_it_was(
    handshakes: Handshakes, noted: list[Reason], caplog: pytest.LogCaptureFixture
) -> None:
    handshakes.failed(REFUSED, CLIENT)
    handshakes.failed(None, None)

    assert noted == [Reason.CERTIFICATE, Reason.TIMEOUT]
    refused, late = caplog.messages
    assert refused == (
        "handshake_failed reason=certificate client=10.0.0.7 "
        "openssl=TLSV1_ALERT_UNKNOWN_CA dropped=0"
    )
    assert late.startswith("handshake_failed reason=timeout client=None ")


async def test_a_stranger_cannot_fill_the_log(
    handshakes: Handshakes,
    noted: list[Reason],
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    for _ in range(LINES_MAX + 100):
        handshakes.failed(REFUSED, CLIENT)
    assert len(noted) == LINES_MAX + 100
    assert len(caplog.messages) == LINES_MAX

    await trio.sleep(WINDOW_S)
    handshakes.failed(REFUSED, CLIENT)
    assert caplog.messages[-1].endswith("dropped=100")


@pytest.mark.parametrize(
    "error", [ssl.SSLEOFError(8, "EOF"), ConnectionResetError(), BrokenPipeError()]
)
async def test_who_only_looks_whether_the_port_is_open_is_counted_and_not_told(
    error: OSError,
    handshakes: Handshakes,
    noted: list[Reason],
    caplog: pytest.LogCaptureFixture,
) -> None:
    handshakes.failed(error, CLIENT)

    assert noted == [Reason.LEFT]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", Reason.CERTIFICATE),
        ("SSLV3_ALERT_BAD_CERTIFICATE", Reason.CERTIFICATE),
        ("TLSV1_ALERT_PROTOCOL_VERSION", Reason.VERSION),
        ("TLSV1_ALERT_INTERNAL_ERROR", Reason.OTHER),
        ("LENGTH_MISMATCH", Reason.OTHER),
    ],
)
async def test_reasons_are_few(
    said: str, reason: Reason, handshakes: Handshakes, noted: list[Reason]
) -> None:
    handshakes.failed(an_error(said), CLIENT)

    assert noted == [reason]
