"""Server-sent events, read incrementally and without changing a byte."""

from typing import Final

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024


class EventTooLong(ValueError):  # noqa: N818 - it says what happened
    """An event passed the bound before its blank line came."""


class Event:
    """One block of the stream, up to and with its blank line."""

    __slots__ = ("data", "name", "raw")

    def __init__(self, raw: bytes, data: bytes | None, name: bytes = b"") -> None:
        self.raw = raw
        self.data = data
        self.name = name


class EventParser:
    """Cuts a byte stream into events, wherever it was split before."""

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max

    @property
    def held(self) -> int:
        """How many bytes of the unfinished event are held back."""
        raise NotImplementedError

    def feed(self, data: bytes) -> list[Event]:
        """Take more of the stream; return the events that it completed."""
        raise NotImplementedError
