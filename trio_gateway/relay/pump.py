"""After the commit point: one winner, no other target, no retry.

Whole events pass byte for byte; the clocks run on. The idle clock counts the upstream's
silence alone, never the client's slowness: while the client is being written to, it has
its own limit. A stream that breaks ends visibly broken: an error event, no `[DONE]`,
and the caller closes without a last chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.alarms import Alarms
from trio_gateway.relay.curfew import Curfew
from trio_gateway.relay.opening import Body, OpenAnswer
from trio_gateway.relay.patience import Patience
from trio_gateway.relay.port import Client
from trio_gateway.wire.errors import error_event

# Comments and other heartbeats show a living connection, not a working model: alone
# they extend the idle limit to this many times itself.
_HEARTBEATS_EXTEND: Final = 3.0

# Once the total is over, a client has so long to take the event that says so.
_LAST_WORDS_S: Final = 1.0

# A client that takes this much within `client_stall` reads, however long all takes it.
_PIECE_BYTES: Final = 64 * 1024


STALLED: Final = Failure(FailureClass.CANCELLED, "the client stopped reading")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The limits after the commit point."""

    idle_s: float
    client_stall_s: float
    total_by: float
    curfew: Curfew
    alarms: Alarms

    def patience(self) -> Patience:
        """Who keeps the limits of a stream's waits."""
        shortest_s = min(self.idle_s, self.client_stall_s)
        return Patience(self.alarms, self.curfew, shortest_s=shortest_s)

    def heard_by(self, asked_at: float, silence_s: float) -> float:
        """When an upstream that is asked must have said something.

        Args:
            asked_at: now.
            silence_s: how long it has said nothing of content before.
        """
        left_s = _HEARTBEATS_EXTEND * self.idle_s - silence_s
        if left_s > self.idle_s:
            left_s = self.idle_s
        by = asked_at + left_s
        return min(by, self.total_by)

    def taken_by(self, now: float, since: float) -> float:
        """When a client must have taken what it is sent; the total holds here too.

        Args:
            now: when it is sent.
            since: when it was sent the first piece of the same.
        """
        by = now + self.client_stall_s
        if by <= self.total_by:
            return by
        if now < self.total_by:
            return self.total_by
        return min(by, max(self.total_by, since + _LAST_WORDS_S))


def pieces(data: bytes) -> Sequence[bytes]:
    """Cut what a client is sent into what it must take within `client_stall`."""
    if len(data) <= _PIECE_BYTES:
        return (data,)
    starts = range(0, len(data), _PIECE_BYTES)
    return [data[at : at + _PIECE_BYTES] for at in starts]


async def pump(
    answer: OpenAnswer, body: Body, client: Client, clocks: Clocks
) -> Failure | None:
    """Pass a stream on to its end; None when it was whole.

    A failure of class `interrupted` means that the client has seen an error event; of
    class `cancelled`, that it stopped reading.
    """
    last: bytes | Failure = b""
    with clocks.patience() as patience:
        last = await _pass_on(answer, body, client, clocks, patience)
    if patience.is_over:
        if patience.is_for_client:
            return STALLED
        cause = _cause(clocks)
        last = b""
        if answer.passage.is_whole:
            answer.passage.end_early(cause)
        else:
            last = Failure(FailureClass.INTERRUPTED, cause)
    if isinstance(last, Failure):
        return await _break(client, last, clocks)
    return await _finish(client, last, clocks)


async def _pass_on(
    answer: OpenAnswer, body: Body, client: Client, clocks: Clocks, patience: Patience
) -> bytes | Failure:
    """Pass on all but the last words, which are returned, or what broke the stream."""
    passage = answer.passage
    data = answer.take_held()
    silence_s = 0.0  # waited for content, the client's own slowness left out
    time_is = trio.lowlevel.current_clock().current_time  # looked at twice a chunk
    now = time_is()
    while not passage.is_over:
        if data:
            since = now
            for piece in pieces(data):
                patience.for_client(clocks.taken_by(now, since))
                await client.send(piece)
                if patience.is_over:  # in the same instant
                    return b""
                now = time_is()
            data = piece = b""  # not kept while nothing comes
        if passage.broken:
            return passage.broken
        asked_at = now
        patience.for_upstream(clocks.heard_by(asked_at, silence_s))
        received = await body.receive()
        if patience.is_over:  # in the same instant: what came is not passed on any more
            break
        if isinstance(received, Failure) or not received:
            if passage.is_whole:
                if received:
                    passage.end_early(received.cause)
                return b""
            return received or Failure(FailureClass.INTERRUPTED, "ended unfinished")
        tokens = passage.tokens
        data, received = passage.feed(received), b""
        now = time_is()
        silence_s += now - asked_at
        if passage.tokens != tokens:
            silence_s = 0.0
    return data


def _cause(clocks: Clocks) -> str:
    """Why the wait for an upstream is over."""
    if clocks.curfew.has_come:
        return "the gateway is ending"
    return "total deadline" if trio.current_time() >= clocks.total_by else "idle"


async def _send(client: Client, data: bytes, by: float) -> Failure | None:
    # Last words have scopes of their own: whoever had patience may have lost it.
    with trio.move_on_at(by) as stall:
        await client.send(data)
    return _stalled(stall)


async def _finish(client: Client, data: bytes, clocks: Clocks) -> Failure | None:
    now = trio.current_time()
    since = now
    *before, last = pieces(data)
    for piece in before:
        stalled = await _send(client, piece, clocks.taken_by(now, since))
        if stalled is not None:
            return stalled
        now = trio.current_time()
    with trio.move_on_at(clocks.taken_by(now, since)) as stall:
        await client.finish(last)
    return _stalled(stall)


async def _break(client: Client, failure: Failure, clocks: Clocks) -> Failure:
    broken = replace(failure, kind=FailureClass.INTERRUPTED)
    event = error_event(message=f"The answer was interrupted: {broken.cause}.")
    now = trio.current_time()
    return await _send(client, event, clocks.taken_by(now, now)) or broken


def _stalled(scope: trio.CancelScope) -> Failure | None:
    if scope.cancelled_caught:
        return STALLED
    return None
