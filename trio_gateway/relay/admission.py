"""Who asked, and under which names: what is known before anything is decided."""

from typing import NamedTuple


class Admission(NamedTuple):
    """One request at the door."""

    id: str  # our UUID of the exchange
    request_id: str  # what `x-request-id` answers
    admitted_at: float  # wall time
    started_at: float  # Trio's clock
    key: str | None = None  # the access key's name
    org: str | None = None
    project: str | None = None
    forwarded: tuple[tuple[bytes, bytes], ...] = ()  # the fields upstreams may see
    is_client_retry: bool = False  # its library asks again, after a refusal
    client_patience_s: float | None = None  # as its library says
