"""After the commit point: one winner, no other target, no retry.

Whole events pass byte for byte; the clocks run on. The idle clock counts the upstream's
silence alone, never the client's slowness: while the client is being written to, it has
its own limit. A stream that breaks ends visibly broken: an error event, no `[DONE]`,
and the caller closes without a last chunk.
"""

from dataclasses import dataclass, replace
from typing import Final

import trio

from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.curfew import Curfew
from trio_gateway.relay.opening import Body, OpenAnswer
from trio_gateway.relay.port import Client
from trio_gateway.wire.errors import error_event

# Comments and other heartbeats show a living connection, not a working model: alone
# they extend the idle limit to this many times itself.
_HEARTBEATS_EXTEND: Final = 3.0

# Once the total is over, a client has so long to take the event that says so.
_LAST_WORDS_S: Final = 1.0


STALLED: Final = Failure(FailureClass.CANCELLED, "the client stopped reading")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The limits after the commit point."""

    idle_s: float
    client_stall_s: float
    total_by: float
    curfew: Curfew

    def taken_by(self) -> float:
        """When a client must have taken what it is sent; the total holds here too."""
        now = trio.current_time()
        last_s = _LAST_WORDS_S if now >= self.total_by else self.total_by - now
        return now + min(self.client_stall_s, last_s)


async def pump(
    answer: OpenAnswer, body: Body, client: Client, clocks: Clocks
) -> Failure | None:
    """Pass a stream on to its end; None when it was whole.

    A failure of class `interrupted` means that the client has seen an error event; of
    class `cancelled`, that it stopped reading.
    """
    passage = answer.passage
    data = answer.held
    silence_s = 0.0  # waited for content, the client's own slowness left out
    while True:
        if passage.is_over:
            return await _finish(client, data, clocks)
        if data and (stalled := await _send(client, data, clocks)):
            return stalled
        if passage.broken:
            return await _break(client, passage.broken, clocks)
        asked_at = trio.current_time()
        received = await _receive(body, clocks, silence_s=silence_s)
        if isinstance(received, Failure) or not received:
            if passage.is_whole:
                return await _finish(client, b"", clocks)
            ended = received or Failure(FailureClass.INTERRUPTED, "ended unfinished")
            return await _break(client, ended, clocks)
        tokens = passage.tokens
        data = passage.feed(received)
        silence_s += trio.current_time() - asked_at
        if passage.tokens != tokens:
            silence_s = 0.0


async def _receive(body: Body, clocks: Clocks, *, silence_s: float) -> bytes | Failure:
    left_s = _HEARTBEATS_EXTEND * clocks.idle_s - silence_s
    idle_by = trio.current_time() + min(clocks.idle_s, left_s)
    with clocks.curfew.until(min(idle_by, clocks.total_by)) as wait:
        return await body.receive()
    assert wait.cancelled_caught
    if clocks.curfew.has_come:
        cause = "the gateway is ending"
    elif trio.current_time() >= clocks.total_by:
        cause = "total deadline"
    else:
        cause = "idle"
    return Failure(FailureClass.INTERRUPTED, cause)


async def _send(client: Client, data: bytes, clocks: Clocks) -> Failure | None:
    with trio.move_on_at(clocks.taken_by()) as stall:
        await client.send(data)
    return _stalled(stall)


async def _finish(client: Client, data: bytes, clocks: Clocks) -> Failure | None:
    with trio.move_on_at(clocks.taken_by()) as stall:
        await client.finish(data)
    return _stalled(stall)


async def _break(client: Client, failure: Failure, clocks: Clocks) -> Failure:
    broken = replace(failure, kind=FailureClass.INTERRUPTED)
    event = error_event(message=f"The answer was interrupted: {broken.cause}.")
    return await _send(client, event, clocks) or broken


def _stalled(scope: trio.CancelScope) -> Failure | None:
    if scope.cancelled_caught:
        return STALLED
    return None
