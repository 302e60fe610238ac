"""From when until when the certificates of a chain hold.

Python's own `ssl` tells the dates of a certificate only to who has verified it, as a
client does, so they are read by the library `cryptography`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Lapse:
    """A certificate that does not hold at some instant."""

    number: int  # in the chain; 1 is the server's own
    why: str


def lapse_of(chain: bytes, wall_now: float) -> Lapse | None:
    """Find the first certificate of a chain, in PEM, that does not hold now.

    What cannot be read is left to OpenSSL, which is asked to use it.
    """
    # Here, because it takes megabytes and most gateways serve without TLS.
    from cryptography import x509

    now = datetime.fromtimestamp(wall_now, UTC)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except (ValueError, x509.InvalidVersion):
        return None
    for number, certificate in enumerate(certificates, 1):
        which = "" if number == 1 else f"certificate {number} of its chain "
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > ends:
            return Lapse(number, f"{which}expired on {_written(ends)}")
        if now < begins:
            return Lapse(number, f"{which}is not valid before {_written(begins)}")
    return None


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
