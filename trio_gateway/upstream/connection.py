"""One HTTP/1.1 connection: a link, and the reader of the answers that come on it.

It carries one request and its answer at a time. What a broken link means depends on how
far the answer has come, and that is said here, once.
"""

from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.upstream.links import Link
from trio_gateway.upstream.network import STALE_WITHIN_S
from trio_gateway.upstream.reader import HttpReader

_RESET: Final = FailureClass.RESET
_CUT: Final = FailureClass.INTERRUPTED

_STALE: Final = Failure(FailureClass.NOT_PROCESSED, "reused connection was closed")
_UNANSWERED: Final = Failure(_RESET, "closed before an answer")
_HEAD_RESET: Final = Failure(_RESET, "reset inside the head")
_HEAD_CLOSED: Final = Failure(_RESET, "closed by us")
_BODY_RESET: Final = Failure(_CUT, "reset inside the body")
_BODY_CLOSED: Final = Failure(_CUT, "closed by us")
ABANDONED: Final = Failure(_CUT, "read was abandoned")


class Connection:
    """A connection that is used again and again, as long as it is in step.

    `ask`, then `receive` to the end; `is_ready_again` says whether to `ask` once more.
    Whatever fails or is cancelled, the owner closes it. Instants are on Trio's clock.
    """

    def __init__(self, link: Link, *, made_at: float) -> None:
        self.made_at = made_at
        self.idle_since = made_at
        self._link = link
        self._reader = HttpReader()
        self._is_reused = False

    @property
    def status(self) -> int:
        """The status of the answer, once `ask` has brought its head."""
        return self._reader.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of the answer, likewise; names in lower case."""
        return self._reader.headers

    async def ask(self, request: bytes, *, now: float) -> Failure | None:
        """Send a request and wait for the head of its answer; None when it has come."""
        reader, link = self._reader, self._link
        try:
            rest = await link.send(request)
            while rest and not self._is_refused():
                # A promise of an answer is kept when all of the request has come.
                rest = await link.send(rest, heeds=not reader.has_head)
        except trio.BrokenResourceError:
            # A server may refuse a body before it has read it, and say so: look for
            # its answer all the same.
            reader.is_in_step = False
        except trio.ClosedResourceError:
            return _HEAD_CLOSED
        else:
            if rest:
                reader.is_in_step = False  # it has not heard all of the request
        while not reader.has_head:
            if reader.failure is not None:
                return reader.failure
            try:
                data = await link.receive()
            except trio.BrokenResourceError:
                return _HEAD_RESET if reader.has_bytes else self._unanswered(now)
            except trio.ClosedResourceError:
                return _HEAD_CLOSED
            if data:
                reader.feed(data)
            elif reader.has_bytes:
                reader.feed_end()
            else:
                return self._unanswered(now)
        return None

    def _is_refused(self) -> bool:
        """Hear what is said in the middle of a request; say whether to stop sending."""
        reader = self._reader
        data = self._link.receive_nowait()
        if data:
            reader.feed(data)
        is_error = reader.has_head and not 200 <= reader.status < 300
        return data == b"" or is_error or reader.failure is not None

    def take_rest(self) -> bytes | None:
        """Take what is left of a body, if there is something, and all of it is here."""
        reader = self._reader
        return reader.take() if reader.is_whole and reader.pieces else None

    async def receive(self) -> bytes | Failure:
        """Wait for more of the body; `b""` is its clean end. It stays, as failures do.

        What one read brings is given at once, and joined; and nothing is read before it
        is wanted, so that a reader that is slow makes the sender wait.
        """
        reader = self._reader
        while True:
            if reader.pieces:
                return reader.take()
            if reader.is_whole:
                return b""
            if reader.failure is not None:
                return reader.failure
            try:
                data = await self._link.receive()
            except trio.BrokenResourceError:
                reader.failure = _BODY_RESET
            except trio.ClosedResourceError:
                reader.failure = _BODY_CLOSED
            except BaseException:
                reader.failure = ABANDONED  # a link may have lost what it had read
                raise
            else:
                if data:
                    reader.feed(data)
                else:
                    reader.feed_end()

    @property
    def end(self) -> bytes | Failure:
        """What `receive` would say from now on, if no more came."""
        reader = self._reader
        if reader.is_whole and not reader.pieces:
            return b""
        return reader.failure or ABANDONED

    def is_ready_again(self) -> bool:
        """Say whether this answer is over and another request may follow; prepare that.

        The end of a stream is often not asked for, since its last words say enough: if
        it has come by now, the connection is worth keeping.
        """
        reader = self._reader
        if not reader.is_whole and (data := self._link.receive_nowait()):
            reader.feed(data)
        if not (reader.is_whole and reader.is_in_step):
            return False
        reader.begin()
        self._is_reused = True
        return True

    def is_spent(self) -> bool:
        """Say whether an idle connection has ended, or got what nobody asked for."""
        return self._link.is_readable()

    def abort(self) -> None:
        """Let whoever waits on it get a failure; it is of no use any more."""
        self._reader.is_in_step = False
        self._link.abort()

    async def aclose(self) -> None:
        """Close at once; whoever waits on it gets a failure."""
        await self._link.aclose()

    def _unanswered(self, asked_at: float) -> Failure:
        is_soon = trio.current_time() - asked_at < STALE_WITHIN_S
        return _STALE if self._is_reused and is_soon else _UNANSWERED
