"""Any server that speaks OpenAI's API: its `base_url` ends where `/chat` begins."""

from collections.abc import Mapping, Sequence
from typing import Final

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import Account, Target
from trio_gateway.providers.classes import classify
from trio_gateway.providers.retry_after import hint_s
from trio_gateway.providers.said import Said, read_body, read_parsed

# The statuses that mean "later"; with others, a hint is about something else.
_LATER: Final = frozenset({429, 503, 529})

_REFUSALS: Final = frozenset(
    {
        FailureClass.CLIENT_ERROR,
        FailureClass.CONTEXT_LENGTH,
        FailureClass.CONTENT_FILTER,
    }
)

_CAUSES: Final[Mapping[FailureClass, str]] = {
    FailureClass.SERVER_ERROR: "server error",
    FailureClass.OVERLOADED: "overloaded",
    FailureClass.RATE_LIMIT: "rate limit",
    FailureClass.QUOTA: "quota used up",
    FailureClass.AUTH: "credential refused",
    FailureClass.NOT_FOUND: "no such model",
    FailureClass.BAD_ANSWER: "unexpected status",
    FailureClass.CLIENT_ERROR: "request refused",
    FailureClass.CONTEXT_LENGTH: "prompt too long",
    FailureClass.CONTENT_FILTER: "content refused",
}


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
    said = read_body(body)
    kind = classify(status, said)
    hint = _hint(status, headers, said, wall_now=wall_now)
    return Failure(kind, _CAUSES[kind], status, hint, said.summary)


def read_embedded_error(error: object) -> Failure:
    """What an `error` inside a 200 means; never raises.

    The status is the one that the error names, if any; a refused request that names
    none is an ordinary 400.
    """
    said = read_parsed(error)
    kind = classify(said.status, said)
    status = 400 if said.status is None and kind in _REFUSALS else said.status
    hint = _hint(status, (), said, wall_now=0.0)  # it has no dates to compare with
    cause = f"error inside a 200: {_CAUSES[kind]}"
    return Failure(kind, cause, status, hint, said.summary)


def _hint(
    status: int | None,
    headers: Sequence[tuple[bytes, bytes]],
    said: Said,
    *,
    wall_now: float,
) -> float | None:
    if status not in _LATER:
        return None
    message = said.summary.message if said.summary else ""
    return hint_s(headers, said.error, message, wall_now=wall_now)
