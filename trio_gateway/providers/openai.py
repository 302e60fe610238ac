"""Any server that speaks OpenAI's API: its `base_url` ends where `/chat` begins."""

from collections.abc import Sequence

from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Account, Target


def path(target: Target) -> str:
    """The model is named in the body alone."""
    return "/chat/completions"


def credentials(account: Account) -> tuple[tuple[bytes, bytes], ...]:
    """A bearer token; none where the server needs none."""
    if account.api_key is None:
        return ()
    return ((b"authorization", b"Bearer " + account.api_key.reveal.encode()),)


def read_error(
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    *,
    wall_now: float,
) -> Failure:
    """What an answer with an error status means; never raises."""
    raise NotImplementedError


def read_embedded_error(error: object) -> Failure:
    """What an `error` inside a 200 means; never raises."""
    raise NotImplementedError
