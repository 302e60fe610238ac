"""Whether a file holds certificates to trust, judged by the library that will read it.

`policy` is pure and cannot ask. An operator should hear of it from `check`, and not
from a provider that is never connected.
"""

import ssl


def why_not_trusted(ca_file: str) -> str | None:
    """Say why a `ca_file` cannot be used; None where it can."""
    try:
        ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        return "no PEM certificate in it"
    except OSError as error:
        return error.strerror or "no reason given"
    return None
