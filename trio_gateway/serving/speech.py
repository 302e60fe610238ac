"""What a connection asks of the version of HTTP that it speaks."""

from enum import Enum, auto
from typing import Protocol

from hypercorn.events import Event


class Ending(Enum):
    """Why a connection ends."""

    DEPARTED = auto()  # the client closed, reset, or buried us in bytes
    IDLE = auto()  # no request came, or we are draining
    LATE = auto()  # a head did not arrive in time
    FINISHED = auto()  # the protocol wants the connection closed
    BROKEN = auto()  # a send failed, stalled or was cancelled


class Speech(Protocol):
    """Either version, between the connection's bytes and the app."""

    @property
    def has_part_of_head(self) -> bool:
        """Whether some of a request has come that is no request yet."""

    @property
    def is_past_request(self) -> bool:
        """Whether what comes now is not part of the request that is being answered."""

    @property
    def has_read_all(self) -> bool:
        """Whether nothing is on its way to us, as far as we know."""

    @property
    def has_told_its_end(self) -> bool:
        """Whether the client knows that it may not ask again here."""

    @property
    def is_torn(self) -> bool:
        """Whether a close would now pass a part of an answer for the whole."""

    async def begin(self) -> None:
        """Say what comes first."""

    async def handle(self, event: Event) -> None:
        """Take bytes, or the end of the connection."""

    def part(self) -> None:
        """Have the client ask elsewhere, after what it is asking now."""

    def drain(self) -> None:
        """Begin nothing more."""

    async def farewell(self, ending: Ending) -> None:
        """Say what is said last; nothing may be said after it."""
