"""What a simulated provider does with one request, as a value.

A `Script` is made by `faults` from a request and a seed; `chaos.upstream` plays
it in memory behind the port, `chaos.provider` on sockets as HTTP/1.1. Both therefore
misbehave alike. Offsets and sizes are bytes of the body, before HTTP's framing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Send:
    """Send these body bytes now."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, then go on."""

    seconds: float


class Ending(Enum):
    """How the body ends after its last step."""

    CLEAN = "clean"  # with proper framing
    CUT = "cut"  # the connection closes in mid-frame
    RESET = "reset"  # the connection is reset
    HANG = "hang"  # nothing more comes, and nothing closes
    EOF = "eof"  # close-delimited: the socket closes, and that is all
    UNTERMINATED = "unterminated"  # all chunks are whole, but none says it is the last


class Aftermath(Enum):
    """What becomes of a connection after an answer that ended well."""

    USUAL = "usual"  # it serves the next request
    DEAF = "deaf"  # half-open: it stays, and nobody is there any more
    GONE = "gone"  # it closes, though it said that it would stay


Step = Send | Pause


@dataclass(frozen=True, slots=True)
class Script:
    """One answer: its head after a while, its body step by step, its ending.

    The last four are of a connection, not of an answer: behind the port, in memory,
    nobody can see them.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    head_after_s: float = 0.0  # when the head is whole
    steps: tuple[Step, ...] = ()
    ending: Ending = Ending.CLEAN
    head_drips_s: float = 0.0  # so long before, its first byte comes, then one by one
    interim: tuple[int, ...] = ()  # 1xx heads that come before
    stray: bytes = b""  # follows an answer that is complete
    aftermath: Aftermath = Aftermath.USUAL

    @property
    def declared_length(self) -> int | None:
        """How long its own `content-length` says the body is; None without one."""
        for name, value in self.headers:
            if name.lower() == "content-length":
                return int(value)
        return None

    @property
    def body(self) -> bytes:
        """All that its steps send."""
        return b"".join(step.data for step in self.steps if isinstance(step, Send))


class Refusal(Enum):
    """What happens instead of an answer."""

    CONNECT_REFUSED = "refuse"  # in memory only; on sockets, a port nobody listens on
    CONNECT_HANG = "connect_hang"  # the connection is never made
    NAME_UNKNOWN = "dns"  # the host's name has no address; in memory only
    CLOSE = "close"  # the request is read, then the connection closes
    RESET = "reset"  # the request is read, then the connection is reset
    SILENCE = "silence"  # the request is read, and nothing ever comes


Behaviour = Script | Refusal
"""What is done with one request."""


class UnderWay(StrEnum):
    """What becomes of an answer that is under way when an outage begins."""

    GOES_ON = "goes_on"
    RESET = "reset"  # its connection is reset, whether or not it has begun to come
    SILENT = "silent"  # nothing more of it comes, and nothing closes


# A process that is gone takes along what it was answering; of a network that is gone,
# nothing more is heard. A name without an address is missed by new connections alone.
_TAKEN_ALONG: Final[Mapping[Refusal, UnderWay]] = {
    Refusal.CONNECT_REFUSED: UnderWay.RESET,
    Refusal.CONNECT_HANG: UnderWay.SILENT,
}


def usual_under_way(what: object) -> UnderWay:
    """What becomes of open answers when this begins, if nobody says otherwise."""
    if not isinstance(what, Refusal):
        return UnderWay.GOES_ON
    return _TAKEN_ALONG.get(what, UnderWay.GOES_ON)


@dataclass(frozen=True, slots=True)
class Onset:
    """The beginning of an outage, as one answer meets it."""

    at_s: float  # on the clock of whoever says so
    under_way: UnderWay


@dataclass(frozen=True, slots=True)
class Overtaken:
    """What is done with a request until an outage begins, if it is not over by then."""

    behaviour: Behaviour
    onset: Onset


def taken_apart(decided: Behaviour | Overtaken) -> tuple[Behaviour, Onset | None]:
    """What is done with a request, and which outage will meet its answer."""
    if isinstance(decided, Overtaken):
        return decided.behaviour, decided.onset
    return decided, None
