"""What a provider must be able to say about itself. Nothing else asks which one it is.

A provider is a module of pure functions. To add one: add the module, one row in
`PROVIDERS`, and its row in the conformance test.
"""

from collections.abc import Sequence
from typing import Protocol

from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Account, Target


class Provider(Protocol):
    """One dialect of the chat completions API."""

    def path(self, target: Target) -> str:
        """The path and query of a chat completion, to follow the `base_url`."""

    def credentials(self, account: Account) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields that carry our credential."""

    def read_error(
        self,
        status: int,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        wall_now: float,
    ) -> Failure:
        """What an answer with an error status means; never raises."""

    def read_embedded_error(self, error: object) -> Failure:
        """What an `error` inside a 200 means: the value of that member, parsed."""
