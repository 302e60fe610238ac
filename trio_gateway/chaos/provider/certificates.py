"""A certificate authority for one run, so that TLS can be simulated as well.

Its certificate is written to a file that clients are pointed at; its key, and the
server's, never leave this process.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server needs for TLS, and what its clients must trust."""

    ca_pem: Path
    context: ssl.SSLContext


def make_server_tls(
    folder: Path, *, hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
) -> ServerTls:
    """Make an authority and a certificate of it; write `ca.pem` into a folder.

    Blocks for the milliseconds that files and keys take: call it before the event loop.
    """
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*hosts).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    ca_pem = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_pem))
    return ServerTls(ca_pem=ca_pem, context=context)
