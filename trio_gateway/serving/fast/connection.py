"""One connection: requests are awaited and answered one after the other, in one task.

    idle --first byte--> head --empty line--> answering --all said, body read--> idle

Each of these waits has its own limit. Idle and head are queues of the sweeper, so is
a body that does not come at once; answering is as long as the app takes, but a send
without headway is not, and a client that leaves ends it. Pipelined requests wait in
`Client.held`, or in the kernel.

Nothing that goes wrong here leaves `run`: one stranger must not end the server. A
response that its app leaves unfinished ends without its last chunk; where the body is
framed by the close alone (HTTP/1.0), the connection is reset.
"""

import trio

from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.exchange import Exchange
from trio_gateway.serving.fast.head import END_OF_HEAD, Head, check_part, parse_head
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue
from trio_gateway.serving.refusals import RefusedError, refusal


class Connection:
    """Serves one client; `await connection.run()` returns when all of it has ended."""

    def __init__(
        self,
        client: Client,
        shared: Shared,
        *,
        idle: DeadlineQueue["Connection"],
        parting: DeadlineQueue["Connection"],
        heads: DeadlineQueue["Connection"],
        bodies: DeadlineQueue[Exchange],
    ) -> None:
        self._client = client
        self._shared = shared
        self._idle = idle
        self._parting = parting
        self._heads = heads
        self._bodies = bodies
        self._waits_in: DeadlineQueue[Connection] | None = None
        self._has_answered = False
        self._is_late = False
        self._last_words = b""
        self._must_linger = False

    async def run(self) -> None:
        """Serve the client to the end and close. Raises only `trio.Cancelled`."""
        client = self._client
        try:
            try:
                with client.scope:
                    self._wait_in(self._idle)  # shaking hands is as good as being idle
                    await client.wire.carry(self._converse)
            finally:  # or a limit would interrupt what is said last
                self._wait_in(None)
            if not client.is_broken:
                await client.wire.say_last(
                    self._last_words, must_linger=self._must_linger
                )
        except* Exception as failures:  # noqa: BLE001 # it must not end the server
            self._shared.failures.note("connection_failed", failures)
        finally:
            await client.wire.close()

    def close_if_idle(self) -> None:
        """Close it unless a request has begun: to drain, or to make room."""
        if self in self._idle:
            self._wait_in(None)
            self.end_idleness()

    def end_idleness(self) -> None:
        """Wait no longer for a request."""
        self._client.wire.interrupt()

    def give_up(self) -> None:
        """Wait no longer for the rest of a request."""
        self._is_late = True
        self._client.wire.interrupt()

    def _wait_in(self, queue: DeadlineQueue["Connection"] | None) -> None:
        """Wait by the limit of a queue from now on, and of no other; None: by none."""
        if self._waits_in is not None:
            self._waits_in.leave(self)
        self._waits_in = queue
        if queue is not None:
            queue.enter(self)

    async def _converse(self) -> None:
        has_body = True
        try:
            while head := await self._next_head():
                has_body = head.method != "HEAD"
                exchange = Exchange(head, self._client, self._shared, self._bodies)
                await exchange.run()
                if not await self._goes_on(exchange):
                    return
                has_body = True
        except RefusedError as refused:
            self._must_linger = True
            self._last_words = refusal(
                refused.status, self._shared.date_line(), has_body=has_body
            )

    async def _next_head(self) -> Head | None:
        """Await a request; None if there will be none.

        Raises:
            RefusedError: If it is not one that we serve.
        """
        client = self._client
        client.is_past_request = False
        held = client.held
        while True:
            if held.startswith(b"\r\n"):
                # RFC 9112 2.2: old clients end a body with an uncounted line break.
                held = _without_empty_lines(held)
            end = held.find(END_OF_HEAD)
            if end >= 0:
                break
            if len(held) > self._shared.limits.head_bytes_max:
                raise RefusedError(431)
            check_part(held)
            self._await_more(has_begun=bool(held))
            data = await client.read()
            if self._is_late:
                raise RefusedError(408)  # even if some more came in that moment
            if not data:
                return None
            held += data
        self._wait_in(None)
        end += len(END_OF_HEAD)
        if end > self._shared.limits.head_bytes_max:
            raise RefusedError(431)
        client.held = held[end:]
        return parse_head(held[:end], self._shared.limits)

    def _await_more(self, *, has_begun: bool) -> None:
        if has_begun:
            if self._waits_in is not self._heads:
                self._wait_in(self._heads)
        elif not self._shared.is_draining:
            self._wait_in(self._idle)
        elif self._has_answered:
            self._idle = self._parting
            self._wait_in(self._idle)
        else:
            self._wait_in(None)
            self.end_idleness()

    async def _goes_on(self, exchange: Exchange) -> bool:
        """Say whether another request may follow; where so, make way for it.

        Raises:
            RefusedError: If the app gave no answer.
        """
        client, response = self._client, exchange.response
        if client.is_broken:
            return False
        if not response.is_started:
            raise RefusedError(exchange.refused or 500)
        if response.is_last or not response.is_finished:
            self._must_linger = bool(client.held) or not exchange.has_read_all
            return False
        if not exchange.has_read_all:
            self._wait_in(self._heads)
            if not await exchange.skip_body() or self._is_late:
                self._must_linger = True
                return False
            self._wait_in(None)
        if client.held:
            await trio.lowlevel.checkpoint()  # let others have their turn
        self._has_answered = True
        return True


def _without_empty_lines(data: bytes) -> bytes:
    at = 0
    while data.startswith(b"\r\n", at):
        at += 2
    return data[at:]
