"""One request and its response, as the app sees them: ASGI's scope, receive and send.

`receive` reads the body from the wire when the app asks, and not before, so a client
sends no faster than the app takes it. After the body it waits for the client's
departure, which overtakes whatever else there is.

An app that does not want to wait for that in a task of its own says so:

    cancels = scope["extensions"].get("trio_gateway.cancels")
    if cancels is not None:
        cancels["on_departure"]()

From then on a departure before the answer is out cancels the app itself, in whatever it
awaits, and it must let `trio.Cancelled` pass. `cancels["has_left"]()` says afterwards
whether that was it: the end of a drain cancels too. And `cancels["refused"]()` says,
after a disconnect in place of the body, which status the server answers to a body that
is none or that did not come in time; None where the client left. So an app that knows
of this needs no limit of its own for the body. `cancels["abandon"]()` counts the client
as gone, for it takes nothing: the connection ends, and the app is cancelled.
"""

from typing import Final
from urllib.parse import unquote

import trio
from hypercorn.typing import (
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
)

from trio_gateway.serving.fast.body import CountedBody, body_of
from trio_gateway.serving.fast.client import Client
from trio_gateway.serving.fast.head import Head
from trio_gateway.serving.fast.response import Response, ResponseError
from trio_gateway.serving.fast.shared import Shared
from trio_gateway.serving.fast.sweeper import DeadlineQueue
from trio_gateway.serving.refusals import RefusedError

CANCELS: Final = "trio_gateway.cancels"

# Of a body that its app did not want: reading this much costs less than the client's
# next connection, and more than this is not worth it.
SKIP_BYTES_MAX: Final = 64 * 1024

_CONTINUE: Final = b"HTTP/1.1 100 \r\n\r\n"


class Exchange:
    """One request that is being answered; to be run once."""

    __slots__ = (
        "_awaits_continue",
        "_bodies",
        "_body",
        "_cancels_on_departure",
        "_client",
        "_head",
        "_is_delivered",
        "_is_over",
        "_is_sent",
        "_over",
        "_shared",
        "_waits",
        "refused",
        "response",
    )

    def __init__(
        self,
        head: Head,
        client: Client,
        shared: Shared,
        bodies: DeadlineQueue["Exchange"],
    ) -> None:
        self._head = head
        self._client = client
        self._shared = shared
        self._body = body_of(head)
        self._bodies = bodies  # where it waits for the rest of its request, if it does
        self._waits = False
        self._is_delivered = False  # the app has all of the body
        self._awaits_continue = head.awaits_continue
        self._over: trio.Event | None = None  # if the app waits for it
        self._cancels_on_departure = False
        self._is_sent = False  # all of the response
        self._is_over = client.is_broken  # nothing more can be said
        self.response = Response(head)
        self.refused: int | None = None  # the status for a body that is none

    async def run(self) -> None:
        """Run the app; whatever is wrong with it is noted, and ends only this."""
        self._client.is_past_request = self._body.is_complete
        self._client.on_end = self._note_end
        try:
            await self._shared.app(self._scope(), self.receive, self.send)
        except Exception as error:  # noqa: BLE001 # whatever it is, see above
            self._shared.failures.note("app_failed", error)
        finally:
            self._client.on_end = None
            self._wait_no_more()

    def _scope(self) -> HTTPScope:
        head, wire = self._head, self._client.wire
        path = head.path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "http_version": head.version,
            "method": head.method,
            "scheme": wire.scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.fields,
            "client": wire.client,
            "server": wire.server,
            "state": ConnectionState(self._shared.state.copy()),
            "extensions": {
                CANCELS: {
                    "on_departure": self._cancel_on_departure,
                    "has_left": self._has_left,
                    "refused": self._refused,
                    "abandon": self._client.departed,
                }
            },
        }

    # The client's departure.

    def _cancel_on_departure(self) -> None:
        self._cancels_on_departure = True
        self._note_end()

    def _has_left(self) -> bool:
        return self._client.has_left

    def _refused(self) -> int | None:
        return self.refused

    def give_up(self) -> None:
        """Wait no longer for the rest of the request."""
        self._refuse(408)
        self._client.wire.interrupt()

    def _refuse(self, status: int) -> None:
        self.refused = status
        self._is_over = True

    def _note_end(self) -> None:
        """Tell the app, as it asked to be told, that nothing more can be said."""
        client = self._client
        self._is_over = self._is_over or client.is_broken or self._is_sent
        if self._over is not None and self._is_over:
            self._over.set()
        if self._cancels_on_departure and client.has_left and not self._is_sent:
            client.scope.cancel()

    # The request.

    async def receive(self) -> ASGIReceiveEvent:
        """ASGI's `receive`: the body as it comes, then for ever `http.disconnect`."""
        if self._is_over:
            await trio.lowlevel.checkpoint()
        elif self._is_delivered:
            self._over = self._over or trio.Event()
            await self._over.wait()
        else:
            try:
                part = await self._next_part()
            except RefusedError as error:
                self._refuse(error.status)
                part = None
            if part is not None:
                is_complete = self._is_delivered = self._body.is_complete
                return {
                    "type": "http.request",
                    "body": part,
                    "more_body": not is_complete,
                }
        return {"type": "http.disconnect"}

    async def _next_part(self) -> bytes | None:
        """Read some of the body; None if the client is gone."""
        client, body = self._client, self._body
        if body.has_more:
            await trio.lowlevel.checkpoint()
        part, client.held = body.take(client.held)
        while not part and not body.is_complete:
            if body.has_more:
                await trio.lowlevel.checkpoint()
                part, client.held = body.take(b"")
                continue
            if not self._waits:
                self._waits = True
                self._bodies.enter(self)
            if self._awaits_continue and not self.response.is_started:
                self._awaits_continue = False
                await client.write(_CONTINUE)
            data = await client.read()
            if self.refused is not None:
                return None
            if not data:
                client.departed()
                return None
            part, client.held = body.take(data)
        if body.is_complete:
            self._wait_no_more()
            client.is_past_request = True
        return part

    def _wait_no_more(self) -> None:
        if self._waits:
            self._waits = False
            self._bodies.leave(self)

    async def skip_body(self) -> bool:
        """Read what the app left of the body; False where that cannot be done."""
        skipped = 0
        try:
            while not self._body.is_complete:
                if self._is_too_much_left():
                    return False
                part = await self._next_part()
                if part is None:
                    return False
                skipped += len(part)
                if skipped > SKIP_BYTES_MAX:
                    return False
        except RefusedError:
            return False  # it has had its answer
        finally:
            self._wait_no_more()  # or it would be interrupted when others have it
        return True

    def _is_too_much_left(self) -> bool:
        """Whether to close rather than read a body that the app does not want."""
        if self._body.is_complete:
            return False
        if self._awaits_continue:
            return True  # it may never come
        left = self._body.left if isinstance(self._body, CountedBody) else 0
        return left - len(self._client.held) > SKIP_BYTES_MAX

    @property
    def has_read_all(self) -> bool:
        """Whether the request came to its end."""
        return self._body.is_complete

    # The response.

    async def send(self, message: ASGISendEvent) -> None:
        """ASGI's `send`; does nothing when the client has left or all is said."""
        response, client = self.response, self._client
        if self._is_over or response.is_finished:
            await trio.lowlevel.checkpoint()
            return
        if message["type"] == "http.response.start":
            response.start(message["status"], message.get("headers", ()))
            return
        if message["type"] != "http.response.body":
            raise ResponseError(f"{message['type']} is nothing that is sent here")
        date = b""
        if not response.is_started:
            date = self._shared.date_line()
            if self._shared.is_parting or self._is_too_much_left():
                response.is_last = True
        has_more = message.get("more_body", False)
        data = response.part(message.get("body", b""), has_more=has_more, date=date)
        if response.ends_by_close:
            client.wire.set_torn(is_torn=True)
        if data:
            await client.write(data)
        if not data or client.is_broken:
            # An app that a departure cancels must not go on as if it had said this.
            await trio.lowlevel.checkpoint()
        if not has_more:
            self._is_sent = not client.is_broken
            if response.ends_by_close and self._is_sent:
                client.wire.set_torn(is_torn=False)
            self._note_end()
