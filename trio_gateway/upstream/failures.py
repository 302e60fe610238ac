"""What it means that no connection could be made: one table for every way to connect.

The text of an exception stays here, for it may hold addresses.
"""

import socket
import ssl
from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.upstream.proxy import ProxyRefusedError

# The first row that fits is taken; what has none is a bug of ours, and loud.
_CAUSES: Final = (
    (socket.gaierror, "name not resolved"),
    (ConnectionRefusedError, "connection refused"),
    (ssl.SSLCertVerificationError, "certificate not accepted"),
    (ssl.SSLError, "TLS handshake failed"),
    (OSError, "not connected"),
    (trio.BrokenResourceError, "broken while connecting"),
)
NOT_CONNECTED: Final[tuple[type[Exception], ...]] = (OSError, trio.BrokenResourceError)
"""The exceptions that `not_connected` knows."""


def not_connected(error: Exception) -> Failure:
    """Say why there is no connection; raises what it does not know."""
    if isinstance(error, ProxyRefusedError):
        return Failure(FailureClass.CONNECT, error.cause)
    for kind, cause in _CAUSES:
        if isinstance(error, kind):
            return Failure(FailureClass.CONNECT, cause)
    raise error
