"""How much of us one stranger, and all strangers together, may use.

Every number bounds something that a client could otherwise make grow or last. They are
values here; `server` and both serving loops keep to them.
"""

import resource
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one app's connections; durations in seconds, sizes in bytes."""

    # From the first byte of a request to the end of its head. An honest client sends
    # both in one packet; this is generous to a mobile network.
    head_s: float = 10.0
    # The rest of a request that our own loop reads, however much headway it makes. The
    # largest body over a slow mobile uplink takes minutes.
    body_s: float = 300.0
    # Between requests. Well above the 5 s after which httpx drops its idle connections,
    # and above the 60 s of common balancers: the side that asks should close first.
    idle_s: float = 75.0
    # The same while we drain, after an answer that had begun before and could not say
    # that it is the last: who asks again at once would lose that request, sent before
    # our close was seen. Longer than a round trip.
    parting_s: float = 0.5
    # A send of one piece without any headway. The app's own limit is smaller; this one
    # is for answers that it does not watch.
    stall_s: float = 30.0
    # TLS, before anything is known about the client.
    handshake_s: float = 10.0
    # Request line and fields together; what large cookies and tokens need, doubled.
    head_bytes_max: int = 64 * 1024
    head_fields_max: int = 128
    # Bytes held of what a client sends before its answer is complete. Whoever pipelines
    # more than this is not a client of ours, and would hide its own departure.
    ahead_bytes_max: int = 256 * 1024
    # Connections at once; see `connections_for`.
    connections_max: int = 1000
    # Off where an answer's bytes must not depend on the wall clock.
    sends_date: bool = True


# Listeners, logs, the event loop, DNS, connections being refused.
FILES_RESERVED: Final = 200

# Beyond this many, memory ends before file descriptors do.
CONNECTIONS_MAX: Final = 20_000


def raise_file_limit() -> int:
    """Raise this process's limit of open files as far as it may; return the new one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return FILES_RESERVED + 2 * CONNECTIONS_MAX
    return hard


def connections_for(file_limit: int) -> int:
    """How many clients fit under a limit of open files.

    Half of what is left after the reserve: each client may need an upstream connection.
    """
    return max(1, min((file_limit - FILES_RESERVED) // 2, CONNECTIONS_MAX))
