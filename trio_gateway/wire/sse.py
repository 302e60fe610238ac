"""Server-sent events, read incrementally and without changing a byte.

An event is what the standard's "event stream" parsing makes of one block of lines: CR,
LF and CRLF end lines, a blank line ends the block, and a block without its blank line
is nothing. What an event's data means is not this module's business.
"""

import re
from typing import Final

# The largest event of a chat completion is one that carries a whole generated image or
# sound in base64; beyond that, somebody forgot to end their lines.
EVENT_BYTES_MAX: Final = 4 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
# The end of a line and a blank line after it. The groups are atomic, so that the two
# halves of a CRLF are never taken for two line ends.
_BLOCK_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
# Blank lines before a block; there may be many, and each means nothing.
_BLANK: Final = re.compile(rb"[\r\n]+")
# The end of a block may have begun in as many of the bytes that were held before.
_BLOCK_END_BEGUN: Final = len(b"\r\n")


class EventTooLong(ValueError):  # noqa: N818 - it says what happened
    """An event passed the bound before its blank line came."""


class Event:
    """One block of the stream.

    `raw` is every byte of it, with its blank line. `data` is its data lines joined by
    LF, None where it has none (a comment, stray blank lines). `name` is its event
    type; `b""` stands for `message`.
    """

    __slots__ = ("data", "name", "raw")

    def __init__(self, raw: bytes, data: bytes | None, name: bytes = b"") -> None:
        self.raw = raw
        self.data = data
        self.name = name

    def __repr__(self) -> str:
        return f"Event({len(self.raw)} bytes)"  # its data is somebody's text


class EventParser:
    """Cuts a byte stream into events, wherever it was split before.

    All events' `raw` joined, and what is held, are the bytes that came in.

    Args:
        event_bytes_max: how long one event may be, in bytes.
    """

    __slots__ = (
        "_event_bytes_max",
        "_has_cr",
        "_held",
        "_is_at_start",
        "_is_broken",
        "is_between",
    )

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._held = bytearray()
        self._has_cr = False  # whether there is a CR in what is held
        self._is_at_start = True  # a BOM may only stand at the start of the stream
        self._is_broken = False
        self.is_between = True  # two events, with nothing held of the second

    @property
    def held(self) -> int:
        """How many bytes of the unfinished event are held back."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Event]:
        """Take more of the stream; return the events that it completed.

        An event goes out with the first byte that can end it: where that is the CR of
        a CRLF, the LF follows as the `raw` of an event without data.

        Raises:
            EventTooLong: an event is longer than the bound. Where whole events came
                before it in `data`, they are returned, and the next call raises.
        """
        if self._is_broken:
            raise EventTooLong
        if not self._held and (events := self._read_at_once(data)):
            return events
        has_cr = self._has_cr or b"\r" in data
        scan = max(0, len(self._held) - _BLOCK_END_BEGUN)
        buffer: bytes | bytearray = data
        if self._held:
            self._held += data
            buffer = self._held
        events = []
        start = 0
        while (end := _block_end(buffer, start, scan, has_cr=has_cr)) is not None:
            if end - start > self._event_bytes_max:
                return self._break(events)
            events.append(self._read_block(bytes(buffer[start:end])))
            start = scan = end
        if len(buffer) - start > self._event_bytes_max:
            return self._break(events)
        self._hold(buffer, start, has_cr=has_cr)
        self.is_between = not self._held
        return events

    def _read_at_once(self, data: bytes) -> list[Event] | None:
        """Read what is nothing but whole events of one line each; None if it is not.

        It nearly always is: upstreams write event by event, and end lines by LF.
        """
        if (
            not data.endswith(b"\n\n")
            or len(data) > self._event_bytes_max
            or b"\r" in data
        ):
            return None
        blocks = data[:-2].split(b"\n\n")
        events = []
        for block in blocks:
            if block[:6] != b"data: " or b"\n" in block:
                return None
            events.append(Event(block + b"\n\n", block[6:]))
        self._is_at_start = False
        return events

    def _hold(self, buffer: bytes | bytearray, start: int, *, has_cr: bool) -> None:
        if buffer is self._held:
            del self._held[:start]
        else:
            self._held += buffer[start:]
        # Searched only when an event has just ended, so that what is held is new: else
        # a long event that comes byte by byte would be searched again for each of them.
        self._has_cr = has_cr and (start == 0 or b"\r" in self._held)

    def _break(self, events: list[Event]) -> list[Event]:
        self._held = bytearray()
        self._is_broken = True
        self.is_between = False
        if not events:
            raise EventTooLong
        return events

    def _read_block(self, raw: bytes) -> Event:
        # Nearly every block is one line of data and a blank one, ended by LF.
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
            data = raw[6:-2]
            if b"\r" not in data:
                self._is_at_start = False
                return Event(raw, data)
        text = raw.removeprefix(_BOM) if self._is_at_start else raw
        self._is_at_start = False
        if raw[0] in b"\r\n":
            return Event(raw, None)
        values: list[bytes] = []
        name = b""
        for line in _LINE_END.split(text):
            field, _, value = line.partition(b":")  # a comment's field is b""
            value = value.removeprefix(b" ")
            if field == b"data":
                values.append(value)
            elif field == b"event":
                name = value
        return Event(raw, b"\n".join(values) if values else None, name)


def _block_end(
    buffer: bytes | bytearray, start: int, scan: int, *, has_cr: bool
) -> int | None:
    """Where the block that begins at `start` ends; None if that is not here yet.

    No block ends before `scan`, unless it is only the blank lines at `start`.
    """
    if start == len(buffer):
        return None
    if blank := _BLANK.match(buffer, start):
        return blank.end()
    if has_cr:
        match = _BLOCK_END.search(buffer, scan)
        return match.end() if match else None
    found = buffer.find(b"\n\n", scan)
    return found + 2 if found >= 0 else None
