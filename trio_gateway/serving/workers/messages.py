"""What supervisor and worker say to each other.

Values inside are the application's own: the supervisor passes them on unseen.
"""

from dataclasses import dataclass

# To the worker.


@dataclass(frozen=True, slots=True)
class Begin:
    """The first message: what to serve."""

    order: object


@dataclass(frozen=True, slots=True)
class Tell:
    """Something changed, for all workers."""

    order: object


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the worker's own admin app; `number` is for its `Answer`."""

    number: int
    path: str
    query: bytes = b""


@dataclass(frozen=True, slots=True)
class Leave:
    """Drain and end; others go on serving (a rolling restart), or all end."""

    do_others_serve: bool


@dataclass(frozen=True, slots=True)
class EndNow:
    """End at once."""


# From the worker.


@dataclass(frozen=True, slots=True)
class Ready:
    """It accepts clients."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot begin, and ends: why, in a line for the operator."""

    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the admin app said to an `Ask`."""

    number: int
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Farewell:
    """It has drained; these are its last words (what it has counted)."""

    words: bytes


ToWorker = Begin | Tell | Ask | Leave | EndNow
FromWorker = Ready | Failed | Answer | Farewell
