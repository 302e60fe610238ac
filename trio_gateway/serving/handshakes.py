"""Which clients could not agree with us on TLS, and why: counted, and told to the log.

A stranger may fail as often as it likes, so lines are rationed, reasons are few, and of
what OpenSSL says only its own name for it is written. Whoever closes before the end is
counted alone: balancers that look whether a port is open do nothing else.
"""

import logging
import re
import ssl
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from trio_gateway.serving.addresses import Address
from trio_gateway.serving.failure_log import Ration

logger = logging.getLogger("trio_gateway.serving")


class Reason(StrEnum):
    """Why a handshake failed."""

    PLAIN_HTTP = "plain_http"  # http:// where https:// was meant
    CERTIFICATE = "certificate"  # the client does not accept ours
    VERSION = "version"  # the client speaks none of TLS that we do
    CIPHER = "cipher"  # there is none that both sides know
    TIMEOUT = "timeout"
    LEFT = "left"  # the client closed before the end
    OTHER = "other"  # what came was no TLS, mostly


# What OpenSSL calls them; alerts are a client's own words, and have several names.
_REASONS: Final = {
    "HTTP_REQUEST": Reason.PLAIN_HTTP,
    "UNSUPPORTED_PROTOCOL": Reason.VERSION,
    "NO_SHARED_CIPHER": Reason.CIPHER,
    "UNEXPECTED_EOF_WHILE_READING": Reason.LEFT,
}
_ALERT: Final = re.compile(
    r"\w*_ALERT_(?:(?P<version>PROTOCOL_VERSION)|\w*CERTIFICATE\w*|UNKNOWN_CA)"
)


def _count_nothing(_: Reason) -> None:
    """Nobody wants to know how many."""


class Handshakes:
    """Takes note of those that fail.

    Args:
        count: Told of each.
    """

    def __init__(self, count: Callable[[Reason], None] = _count_nothing) -> None:
        self._count = count
        self._ration = Ration()

    def failed(self, error: BaseException | None, client: Address) -> Reason:
        """Note one that failed by an error, or by none: it took too long."""
        reason = _reason_of(error)
        self._count(reason)
        if reason is not Reason.LEFT and (dropped := self._ration.take()) is not None:
            said = error.reason if isinstance(error, ssl.SSLError) else None
            host = None if client is None else client[0]
            text = "handshake_failed reason=%s client=%s openssl=%s dropped=%d"
            logger.warning(text, reason, host, said, dropped)
        return reason


def _reason_of(error: BaseException | None) -> Reason:
    match error:
        case None:
            return Reason.TIMEOUT
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return Reason.LEFT
        case ssl.SSLError():
            return _meaning_of(error.reason or "")
        case _:
            return Reason.LEFT


def _meaning_of(name: str) -> Reason:
    if alert := _ALERT.fullmatch(name):
        return Reason.VERSION if alert["version"] else Reason.CERTIFICATE
    return _REASONS.get(name, Reason.OTHER)
