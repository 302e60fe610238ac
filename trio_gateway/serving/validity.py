"""From when until when the certificates of a chain hold, read from their own bytes.

Python tells the dates of a certificate only to who has verified it, as a client does.
They stand near the beginning, in DER:

    SEQUENCE                         the certificate
      SEQUENCE                       what is signed
        [0]                          version, where it is not the first
        INTEGER SEQUENCE SEQUENCE    serial number, algorithm, issuer
        SEQUENCE                     validity
          TIME TIME                  from, until
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----(.+?)-----END", re.DOTALL
)
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17  # two digits for the year, from 1950 to 2049


@dataclass(frozen=True, slots=True)
class Lapse:
    """A certificate that does not hold at some instant."""

    number: int  # in the chain; 1 is the server's own
    why: str


def lapse_of(chain: bytes, wall_now: float) -> Lapse | None:
    """Find the first certificate of a chain, in PEM, that does not hold now."""
    now = datetime.fromtimestamp(wall_now, UTC)
    for number, pem in enumerate(_PEM.finditer(chain), 1):
        dates = _dates(pem[1])
        if dates is None:
            continue
        which = "" if number == 1 else f"certificate {number} of its chain "
        begins, ends = dates
        if now > ends:
            return Lapse(number, f"{which}expired on {_written(ends)}")
        if now < begins:
            return Lapse(number, f"{which}is not valid before {_written(begins)}")
    return None


def _dates(pem: bytes) -> tuple[datetime, datetime] | None:
    """From when until when; None where that is written as nobody should write it."""
    try:
        der = b64decode(pem)
        certificate = next(_elements(der))[1]
        signed = _elements(next(_elements(certificate))[1])
        tag, _ = next(signed)
        before = 2 if tag != _VERSION else 3
        for _ in range(before):
            next(signed)
        begins, ends = (_time(*each) for each in _elements(next(signed)[1]))
    except (ValueError, StopIteration):
        return None
    return begins, ends


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Each element's tag and content."""
    while len(der) >= 2:
        tag, length, start = der[0], der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start])
        yield tag, der[start : start + length]
        der = der[start + length :]


def _time(tag: int, text: bytes) -> datetime:
    written = text.decode("ascii")
    if tag == _UTC_TIME:
        written = f"{'19' if written >= '5' else '20'}{written}"
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
