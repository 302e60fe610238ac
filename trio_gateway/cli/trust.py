"""The certificates in a file, judged by what will use them.

`policy` is pure and cannot ask. An operator should hear of it from `check`, and not
from a provider that is never connected.
"""

import ssl
from pathlib import Path
from typing import Final

from trio_gateway.policy.check import UntrustedError
from trio_gateway.policy.files.references import read_start
from trio_gateway.policy.route import Authorities
from trio_gateway.upstream.network import trusting

# All the authorities that browsers trust have a quarter of it.
_BYTES_MAX: Final = 1024 * 1024


def authorities_in(ca_file: str) -> str:
    """Read the certificates in a file, as PEM.

    Raises:
        UntrustedError: it cannot be read, or holds none.
    """
    try:
        content = read_start(Path(ca_file), _BYTES_MAX + 1)
    except OSError as error:
        raise UntrustedError(error.strerror or "no reason given") from error
    except ValueError as error:
        raise UntrustedError("a path that can be none") from error
    if len(content) > _BYTES_MAX:
        raise UntrustedError(f"more than {_BYTES_MAX} bytes")
    # Between the certificates there may be words, and names in any language.
    pem = content.decode("ascii", errors="ignore")
    try:
        trusting(Authorities(ca_file, pem))
    except (ssl.SSLError, ValueError) as error:
        raise UntrustedError("no PEM certificate in it") from error
    return pem
