"""TLS for clients: a certificate and its key from files, and what new connections use.

Files are read once, into a `Certificate`; it is that value which is checked, handed to
other processes, and put in the place of the one before. So whoever starts while the
files are being replaced, or are wrong, still has what was last good.

TLS 1.2 and later, with Python's ciphers. Of protocols it offers HTTP/1.1, and HTTP/2
before that where the loop asks for it. The key's file must be readable without a
passphrase.
"""

import logging
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from trio_gateway.serving.addresses import addresses
from trio_gateway.serving.handshakes import Handshakes, Reason
from trio_gateway.serving.linger import linger
from trio_gateway.serving.refusals import refusal

logger = logging.getLogger("trio_gateway.serving")

# A chain of five large certificates has 20 kB; this is for whoever names a wrong file.
FILE_BYTES_MAX: Final = 1024 * 1024

# All that is done for somebody who speaks plain HTTP to us.
PLAIN_GRACE_S: Final = 1.0

_PLAIN_TOLD: Final = "This port speaks TLS: write https:// where you wrote http://"

_CERTIFICATE: Final = re.compile(rb"-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----")
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(rb"BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED")

# The last one: an RSA key where the certificate has an elliptic curve.
_MISMATCHES: Final = frozenset(
    {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
)


# Their names in ALPN.
HTTP_1: Final = "http/1.1"
HTTP_2: Final = "h2"


class TlsError(Exception):
    """A certificate or key cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a certificate is, in PEM, with its chain; and its key, if not there."""

    cert: Path
    key: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return (self.cert,) if self.key is None else (self.cert, self.key)

    def read(self) -> "Certificate":
        """Read the files, and see that a server can use them. Blocks.

        Raises:
            TlsError: One cannot be read, or they do not make a certificate.
        """
        chain = _read("--tls-cert", self.cert)
        if not _CERTIFICATE.search(chain):
            raise TlsError(
                f"--tls-cert {self.cert}: no certificate in it: a file in PEM is "
                "wanted, which has a line -----BEGIN CERTIFICATE-----"
            )
        key = chain if self.key is None else _read("--tls-key", self.key)
        self._check_key(key)
        certificate = Certificate(chain, key)
        try:
            certificate.context()
        except ssl.SSLError as error:
            raise TlsError(self._why_refused(error)) from error
        except OSError as error:
            why = error.strerror or str(error)
            raise TlsError(f"--tls-cert {self.cert}: cannot be tried: {why}") from error
        return certificate

    def _check_key(self, key: bytes) -> None:
        if not _KEY.search(key):
            raise TlsError(
                f"--tls-cert {self.cert}: no private key in it: name the key's file "
                "with --tls-key"
                if self.key is None
                else f"--tls-key {self.key}: no private key in it: a file in PEM is "
                "wanted, which has a line -----BEGIN PRIVATE KEY-----"
            )
        if _ENCRYPTED.search(key):
            raise TlsError(
                f"{self._named_key}: the key is encrypted, and nobody is there to "
                "type its passphrase: decrypt it with `openssl pkey -in FILE -out "
                "NEW`, and let nobody but the gateway read the new file"
            )

    def _why_refused(self, error: ssl.SSLError) -> str:
        if error.reason in _MISMATCHES:
            return (
                f"{self._named_key}: the key is not that of the first certificate in "
                f"{self.cert}: name the key that the certificate was issued for; in "
                "a chain, the server's own certificate comes first"
            )
        return (
            f"--tls-cert {self.cert}: a certificate, a key or the chain is refused: "
            f"{error.reason or 'it is damaged'}: see what `openssl x509 -text -in` "
            "and `openssl pkey -check -in` say of the files"
        )

    @property
    def _named_key(self) -> str:
        return (
            f"--tls-cert {self.cert}" if self.key is None else f"--tls-key {self.key}"
        )


def _read(option: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TlsError(
            f"{option} {path}: cannot be read: {why}: name a file that is there and "
            "that the gateway's user may read"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise TlsError(f"{option} {path}: too large to be a certificate or a key")
    return data


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain and its key, in PEM; two that are equal are the same one."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """What a server shakes hands with.

        Raises:
            OSError: `ssl.SSLError` if OpenSSL does not take it.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # its cost is the client's to choose
        context.set_alpn_protocols([HTTP_1])
        with _as_file(self.chain) as chain, _as_file(self.key) as key:
            context.load_cert_chain(chain, key, password="")  # else it asks a terminal
        return context


@contextmanager
def _as_file(pem: bytes) -> Iterator[str]:
    """Give a name to bytes, for OpenSSL takes these from files alone."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as named:
            named.write(pem)
            named.flush()
            yield named.name
        return
    with os.fdopen(os.memfd_create("pem"), "wb") as memory:  # no disk ever has it
        memory.write(pem)
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"


class Tls:
    """What the connections of one process are secured with."""

    def __init__(
        self, certificate: Certificate, handshakes: Handshakes | None = None
    ) -> None:
        self._protocols = [HTTP_1]
        self._context = certificate.context()
        self.handshakes = handshakes or Handshakes()
        """Takes note of those that fail."""

    def offer_http_2(self) -> None:
        """Let clients choose it from now on, as the better one."""
        self._protocols = [HTTP_2, HTTP_1]
        self._context.set_alpn_protocols(self._protocols)

    def renew(self, certificate: Certificate) -> None:
        """Use this one for new connections; those that are open go on."""
        try:
            context = certificate.context()
            context.set_alpn_protocols(self._protocols)
            self._context = context
        except OSError as error:  # out of files, maybe: what we have is still good
            logger.error("certificate_not_renewed error=%r", error)  # noqa: TRY400 # its text says all

    @property
    def context(self) -> ssl.SSLContext:
        """The one for a new connection."""
        return self._context

    def secure(self, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream]:
        """Put TLS on a client's stream; `shake_hands` comes first."""
        # https_compatible: many clients close without TLS's farewell, and HTTP's
        # framing tells a cut anyway.
        return trio.SSLStream(
            stream, self._context, server_side=True, https_compatible=True
        )


async def shake_hands(
    stream: trio.abc.Stream,
    limit_s: float,
    patience: trio.CancelScope,
    handshakes: Handshakes | None,
) -> bool:
    """Agree on keys, where a stream is TLS's; say whether it can be used.

    One who speaks plain HTTP is told, in plain HTTP. `patience` is entered here, so
    that others can end it. Where there is TLS, there are handshakes to be noted.
    """
    if not isinstance(stream, trio.SSLStream):
        return True
    assert handshakes is not None
    client, _ = addresses(stream.transport_stream)
    patience.deadline = trio.current_time() + limit_s
    with patience:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as broken:
            reason = handshakes.failed(broken.__cause__ or broken, client)
            if reason is Reason.PLAIN_HTTP:
                await _tell_plain(stream.transport_stream)
            return False
        return True
    if trio.current_time() >= patience.deadline:
        handshakes.failed(None, client)
    return False


async def _tell_plain(stream: trio.abc.Stream) -> None:
    with trio.move_on_after(PLAIN_GRACE_S):
        try:
            await stream.send_all(plain_refusal())
            await linger(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it did not wait for it


def plain_refusal() -> bytes:
    """What to answer to that, without TLS."""
    return refusal(400, message=_PLAIN_TOLD)
