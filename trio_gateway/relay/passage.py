"""What of an upstream's stream may pass: whole events only, and nothing after a break.

Bytes go in as they came; out come the bytes of the events that are complete, unchanged.
On the side every event is read, to know when the answer has begun, whether it is whole,
and whether it broke. The tail of an unfinished event is held, and never passes.
"""

from collections.abc import Callable

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.wire.answers import AnswerReader, Meaning
from trio_gateway.wire.sse import EventParser, EventTooLong


class Passage:
    """One stream's gate. Once `is_over` or `broken`, it lets nothing more pass.

    Args:
        choices: how many choices the client asked for.
        read_error: what an `error` member inside the stream means.
    """

    __slots__ = (
        "_parser",
        "_read_error",
        "_reader",
        "broken",
        "broken_after",
        "is_over",
        "tokens",
    )

    def __init__(
        self, *, choices: int, read_error: Callable[[object], Failure]
    ) -> None:
        self._parser = EventParser()
        self._reader = AnswerReader(choices=choices)
        self._read_error = read_error
        self.tokens = 0  # events that carried content
        self.is_over = False  # nothing that could come would matter to the client
        self.broken: Failure | None = None
        self.broken_after: str | None = None  # what came of it once it was whole

    @property
    def has_begun(self) -> bool:
        """Whether a token has come."""
        return self.tokens > 0

    @property
    def is_whole(self) -> bool:
        """Whether every choice has its `finish_reason`."""
        return self._reader.is_whole

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return those that may pass now."""
        if self.is_over or self.broken:
            return b""
        if self._parser.is_between and self._reader.is_another_word(data):
            self.tokens += 1
            return data
        try:
            events = self._parser.feed(data)
        except EventTooLong:
            self._break(Failure(FailureClass.BAD_ANSWER, "event too long"))
            return b""
        passing = []
        for event in events:
            if event.data is not None and not self._admits(event.data, event.name):
                break
            passing.append(event.raw)
            if self.is_over:
                break
        return b"".join(passing)

    def _admits(self, data: bytes, name: bytes) -> bool:
        match self._reader.read(data, name):
            case Meaning.NOTHING:
                return True
            case Meaning.TOKEN:
                self.tokens += 1
                return True
            case Meaning.DONE:
                if self.is_whole:
                    self.is_over = True
                    return True
                self._break(Failure(FailureClass.BAD_ANSWER, "ended unfinished"))
            case Meaning.ERROR:
                self._break(self._read_error(self._reader.error))
            case Meaning.MALFORMED:
                self._break(Failure(FailureClass.BAD_ANSWER, "malformed event"))
        return False

    def _break(self, failure: Failure) -> None:
        """Stop here. What breaks after the last `finish_reason` loses no text."""
        if self.is_whole:
            self.end_early(failure.cause)
        else:
            self.broken = failure

    def end_early(self, cause: str) -> None:
        """Stop here, since it is whole and what could still follow will not come."""
        self.is_over = True
        self.broken_after = cause
