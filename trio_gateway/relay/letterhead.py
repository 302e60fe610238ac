"""The fields that all requests to an account carry, written once for many."""

from typing import Final

from trio_gateway.policy.route import Account
from trio_gateway.providers.table import provider_for

Fields = tuple[tuple[bytes, bytes], ...]

# An operator has some dozens of accounts. Those of a policy that was replaced go too,
# when there are more than this.
_HELD_MAX: Final = 1_000


class Letterhead:
    """An account's own fields: names in lower case, each once, credentials among them.

    It is itself alone that it equals, so that what was made of it can be found again.
    """

    __slots__ = ("fields", "names")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.names = frozenset(name for name, _ in fields)


class Letterheads:
    """One for each account and kind of answer, made when first used."""

    def __init__(self) -> None:
        # The account is kept beside, so that its identity is not another's later on.
        self._held: dict[tuple[int, bool], tuple[Account, Letterhead]] = {}

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    def of(self, account: Account, *, is_stream: bool) -> Letterhead:
        """Find or write the letterhead of requests for a stream, or for one answer."""
        held = self._held.get((id(account), is_stream))
        if held is None:
            if len(self._held) >= _HELD_MAX:
                self.forget()
            held = (account, _letterhead(account, is_stream=is_stream))
            self._held[id(account), is_stream] = held
        return held[1]

    def forget(self) -> None:
        """Let go of all, for their accounts' secrets may be of yesterday."""
        self._held.clear()


def _letterhead(account: Account, *, is_stream: bool) -> Letterhead:
    fields = {
        b"content-type": b"application/json",
        b"accept": b"text/event-stream" if is_stream else b"application/json",
        b"user-agent": b"trio-gateway",
    }
    for name, value in account.headers:
        fields[name.lower().encode("latin-1")] = value.encode("latin-1")
    fields.update(provider_for(account).credentials(account))
    return Letterhead(tuple(fields.items()))
