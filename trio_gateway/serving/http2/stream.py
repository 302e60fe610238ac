"""One stream: one request and its answer, between the app and the frames.

What ASGI asks of an answer is Hypercorn's `HTTPStream`, as in HTTP/1.1; where it is
wrong for HTTP/2, this says otherwise. An answer ends with END_STREAM if the app has
said all of it, and in any other case with RST_STREAM (INTERNAL_ERROR), so that no
client takes a part for the whole.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

import trio
from h2.errors import ErrorCodes
from hypercorn.config import Config
from hypercorn.protocol.events import (
    Body,
    EndBody,
    Event,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    Scope,
)
from hypercorn.utils import suppress_body

from trio_gateway.serving.context import Context
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.http2.calm import EARNED_BY_ANSWER
from trio_gateway.serving.http2.head import Fields, Head
from trio_gateway.serving.http2.stream_inbox import StreamInbox
from trio_gateway.serving.http2.way_out import WayOut
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import Lingering
from trio_gateway.serving.refusals import identity, refusal_body

SendToStream = Callable[[ASGISendEvent | None], Awaitable[None]]


class LengthError(Exception):
    """An app's body is not as long as its Content-Length said."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Whose connection it is, and what all its requests have in common."""

    app: AppWrapper
    config: Config
    context: Context
    state: ConnectionState
    is_tls: bool
    client: tuple[str, int] | None
    server: tuple[str, int] | None
    limits: Limits
    failures: FailureLog
    nursery: trio.Nursery  # for all that the connection does


class Http2Stream(HTTPStream):
    """One request that is being answered."""

    def __init__(
        self,
        stream_id: int,
        shared: Shared,
        way_out: WayOut,
        on_end: "Callable[[Http2Stream], Awaitable[None]]",
    ) -> None:
        super().__init__(
            shared.app,
            shared.config,
            shared.context,
            self,  # type: ignore[arg-type] # see spawn_app
            shared.is_tls,
            shared.client,
            shared.server,
            self._take,
            stream_id,
        )
        self._shared = shared
        self._way_out = way_out
        self._frames = way_out.frames
        self._on_end = on_end  # the app, too, has ended
        self._inbox = StreamInbox(self._ask_for_body, self._open_window)
        self._expected: int | None = None  # of the request's body
        self._received = 0
        self._has_rest = trio.Event()  # all of the request that we wait for
        self._awaits_continue = False
        self._left: int | None = None  # of the answer's body
        self._is_whole = False  # all of the answer is framed
        self.has_answered = False  # it has begun

    # What the client sends.

    async def begin(self, head: Head) -> None:
        """Run the app for this request."""
        self._expected = head.length
        self._awaits_continue = head.awaits_continue
        await self.handle(
            Request(
                stream_id=self.stream_id,
                headers=head.fields,
                http_version="2",
                method=head.method,
                raw_path=head.target,
                state=self._shared.state,
            )
        )

    def take_body(self, data: bytes, flow_bytes: int) -> None:
        """Take a part of the body, and what it took of the client's window."""
        self._received += len(data)
        if not self.closed:
            self._open_window(flow_bytes - len(data))  # padding
            self._inbox.put(data)
        elif self._lingering.go_on(len(data)):
            self._open_window(flow_bytes)
        else:
            self._has_rest.set()

    @cached_property
    def _lingering(self) -> Lingering:
        """The bounds of what we take of the body after the answer."""
        return Lingering()

    def take_end(self) -> bool:
        """Take the end of the body; False if it is not as long as was said."""
        if self._expected not in {None, self._received}:
            return False
        self._inbox.complete()
        self._has_rest.set()
        return True

    def leave(self) -> None:
        """Note that nobody is there any more; the app is told, and may clean up."""
        self._tell_app()
        self._has_rest.set()

    # The app.

    async def spawn_app(
        self, app: AppWrapper, _config: Config, scope: Scope, send: SendToStream
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Run the app: all that Hypercorn's stream wants of its task group."""
        assert scope["type"] == "http"
        scope["extensions"] = {}  # there is no push, and no trailers
        self._shared.nursery.start_soon(self._run_app, app, scope, send)
        return self._put

    async def _put(self, message: ASGIReceiveEvent) -> None:
        self._inbox.end()  # Hypercorn has nothing else to tell it

    async def _run_app(self, app: AppWrapper, scope: Scope, send: SendToStream) -> None:
        try:
            if not self.closed:  # or it was left in the packet that brought it
                await app(
                    scope,
                    self._inbox.receive,
                    send,
                    trio.to_thread.run_sync,
                    trio.from_thread.run,
                )
        except Exception as error:  # noqa: BLE001 # whatever it is, it ends this exchange
            self._shared.failures.note("app_failed", error)
        try:
            # Answers 500 if there is no answer, resets if there is an unfinished one.
            await send(None)
        finally:
            await self._end()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """ASGI's `send`; does nothing once the client has left or the answer is whole.

        The app is told of the end within its last send. A framework that cancels itself
        on that news loses nothing, for nothing waits from there on.
        """
        if self.closed:
            await trio.lowlevel.checkpoint()
            return
        await super().app_send(message)

    async def _ask_for_body(self) -> None:
        """Tell a client that waits for it (`Expect: 100-continue`) to send its body."""
        if self._awaits_continue and not (self.has_answered or self._received):
            self._awaits_continue = False
            await self._way_out.send_fields(self.stream_id, [(b":status", b"100")])

    def _open_window(self, flow_bytes: int) -> None:
        """Let the client send so much more."""
        if flow_bytes and self._frames.is_open(self.stream_id):
            self._frames.acknowledge_received_data(flow_bytes, self.stream_id)
            self._way_out.flush()

    # The answer.

    async def turn_away(self, status: int, *, is_head: bool) -> None:
        """Answer in the app's place, and end."""
        try:
            await self._refuse(status, is_head=is_head)
        finally:
            await self._end()

    async def _send_error_response(self, status_code: int) -> None:
        await self._refuse(status_code, is_head=self.scope["method"] == "HEAD")

    async def _refuse(self, status: int, *, is_head: bool) -> None:
        body = refusal_body(status)
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *identity(),
        ]
        await self._send_head(status, fields)
        if not is_head:
            await self._send_body(body)
        await self._send_end()

    async def _take(self, event: Event) -> None:
        """Take an event of the answer from Hypercorn's stream."""
        match event:
            case Response(headers=fields, status_code=status):
                if not suppress_body(self.scope["method"], status):
                    self._left = _length_said(fields)
                await self._send_head(status, fields)
            case Body(data=data):
                if self._left is not None:
                    self._left -= len(data)
                self._check_length(is_end=False)
                await self._send_body(data)
            case EndBody():
                self._check_length(is_end=True)
                await self._send_end()
            case StreamClosed():
                self._close()
            case _:  # a push or a hint, which was not offered
                await trio.lowlevel.checkpoint()

    def _check_length(self, *, is_end: bool) -> None:
        left = self._left or 0
        if left < 0 or (left and is_end):
            raise LengthError("the body is not as long as was said")

    async def _send_head(self, status: int, fields: Fields) -> None:
        self.has_answered = True
        dated = self._shared.config.response_headers("h2")
        whole = [(b":status", b"%d" % status), *fields, *dated]
        send_fields = self._way_out.send_fields
        await self._or_cut(send_fields(self.stream_id, whole))

    async def _send_body(self, data: bytes) -> None:
        await self._or_cut(self._way_out.send_data(self.stream_id, data))

    async def _or_cut(self, sending: Awaitable[bool]) -> None:
        """Send, or break off: a torn answer must never be continued."""
        is_sent = False
        try:
            is_sent = await sending
        finally:
            if not is_sent:
                self._close()

    async def _send_end(self) -> None:
        if self._frames.is_open(self.stream_id):
            self._frames.end_stream(self.stream_id)
            self._frames.calm.earn(EARNED_BY_ANSWER)
            self._is_whole = True
            self._way_out.flush()
            await self._way_out.written()

    def _close(self) -> None:
        """Tell the app that it is over; the stream breaks off unless all was said."""
        if not self._is_whole:
            self._frames.reset(self.stream_id, ErrorCodes.INTERNAL_ERROR)
            self._way_out.flush()
        self._tell_app()

    def _tell_app(self) -> None:
        self.closed = True
        self._inbox.end()

    async def _end(self) -> None:
        """End the stream when its app has ended."""
        self._close()
        try:
            if self._frames.is_open(self.stream_id):
                await self._skip_rest()
        finally:
            await self._on_end(self)

    async def _skip_rest(self) -> None:
        """Take for a while what is left of a request whose answer is out.

        RFC 9113 8.1 would have us reset it at once, without an error. But there are
        clients that see no answer, nor reset, before they have sent all they have.
        """
        self._lingering.go_on(0)
        try:
            with self._lingering.pause:
                await self._has_rest.wait()
        finally:
            self._frames.reset(self.stream_id, ErrorCodes.NO_ERROR)
            self._way_out.flush()


def _length_said(fields: Fields) -> int | None:
    for name, value in fields:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None
