"""Simulated clients: when they come, what they want, and how they ask again.

A client has one *question*. Its library may ask it several times, each time as a new
exchange, by the rules of the official libraries: it obeys `x-should-retry` and
`retry-after`, and backs off by itself where it was told nothing.
"""

from math import inf, log
from random import Random
from typing import Final

from trio_gateway.chaos.worlds.world import Arrivals, Clients
from trio_gateway.failover.commands import Refuse
from trio_gateway.failover.deadlines import Wish

# openai-python: half a second, doubled to eight, less up to a quarter; a longer hint
# than two minutes is no reason to wait but to give up.
_BACKOFF_S: Final = 0.5
_BACKOFF_MAX_S: Final = 8.0
_BACKOFF_SPREAD: Final = (0.75, 1.0)
_HINT_MAX_S: Final = 120.0

_EVEN: Final = Arrivals.EVEN  # found more quickly than the member, in Python 3.11


class Question:
    """What one client wants, until it has it or has gone."""

    __slots__ = ("asked_at", "crowd", "is_over", "name", "tokens", "tries")

    def __init__(self, name: str, crowd: "Crowd", asked_at: float, tokens: int) -> None:
        self.name = name
        self.crowd = crowd
        self.asked_at = asked_at
        self.tokens = tokens  # how long its answer will be
        self.tries = 0
        self.is_over = False


class Crowd:
    """One kind of clients, coming one after the other.

    Args:
        clients: what they are like.
        name: of their dice.
    """

    __slots__ = ("_count", "_dice", "_name", "again", "clients", "first")

    def __init__(self, clients: Clients, name: str) -> None:
        self.clients = clients
        self._name = name
        self._dice = Random(f"{name}/arrivals")
        self._count = 0
        library = clients.library
        self.first = Wish(
            is_stream=clients.is_stream,
            max_tokens=clients.max_tokens,
            request_bytes=clients.request_bytes,
            patience_s=library.timeout_s if library else None,
        )
        self.again = Wish(
            is_stream=clients.is_stream,
            max_tokens=clients.max_tokens,
            request_bytes=clients.request_bytes,
            patience_s=library.timeout_s if library else None,
            is_client_retry=True,
        )

    def first_at(self) -> float:
        """When the first one comes; inf where nobody does."""
        if self.clients.arrivals is Arrivals.EVEN and self.clients.rate_per_s > 0.0:
            return self.clients.from_s
        return self.next_at(self.clients.from_s)

    def next_at(self, now: float) -> float:
        """When the one after this one comes; inf where nobody does."""
        clients = self.clients
        rate = clients.rate_per_s
        if rate <= 0.0:
            return inf
        if clients.arrivals is _EVEN:
            at = now + 1.0 / rate
        else:  # exponential, without the call into `random` that only does this
            at = now - log(1.0 - self._dice.random()) / rate
        return at if at < clients.until_s else inf

    def question(self, now: float) -> Question:
        """The one who comes now."""
        self._count += 1
        tokens = int(self.clients.answer_tokens.at(self._dice.random())) or 1
        return Question(f"{self._name}/{self._count}", self, now, tokens)

    def patience_s(self) -> float:
        """How long the one who has just come will stay, whatever happens."""
        patience = self.clients.patience
        return inf if patience is None else patience.at(self._dice.random())

    def asks_again_s(self, question: Question, refuse: Refuse | None) -> float | None:
        """After what time a library asks again; None: it gives up.

        Args:
            question: asked `tries` times so far.
            refuse: what it was told; None where it has left by itself.
        """
        library = self.clients.library
        if library is None or question.tries > library.retries_max:
            return None
        hint_s = None
        if refuse is not None:
            if not refuse.is_retry_welcome:
                return None
            hint_s = refuse.retry_after_s
        if hint_s is not None:
            return hint_s if hint_s <= _HINT_MAX_S else None
        most_s = min(_BACKOFF_MAX_S, _BACKOFF_S * 2.0 ** (question.tries - 1))
        dice = Random(f"{question.name}/again/{question.tries}")
        return most_s * dice.uniform(*_BACKOFF_SPREAD)
