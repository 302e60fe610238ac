"""What the driver tells the engine; each event names its attempt.

As with the commands, nobody changes one; those of every request and of every failure
are not frozen, for that is four times as dear.
"""

from dataclasses import dataclass

from trio_gateway.failover.failures import Failure


@dataclass(slots=True)
class Opened:
    """An attempt reached its commit point: a first token, or a whole answer."""

    attempt: int


@dataclass(slots=True)
class AttemptFailed:
    """An attempt ended before its commit point."""

    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class TimeCame:
    """The instant of the `WakeAt` in force has come."""


@dataclass(frozen=True, slots=True)
class Called:
    """The fleet called this exchange: a slot is kept for it, or a target has opened."""


@dataclass(slots=True)
class AnswerEnded:
    """The winner's answer ended: whole where `failure` is None, else broken."""

    attempt: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """Nobody waits any more; the driver has cancelled what was running."""


@dataclass(frozen=True, slots=True)
class CutShort:
    """The gateway is ending and cannot wait any longer for this exchange."""


Event = Opened | AttemptFailed | TimeCame | Called | AnswerEnded | ClientLeft | CutShort
