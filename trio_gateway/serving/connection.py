"""One client's connection: Hypercorn's TCP server with every wait bounded.

It speaks HTTP/1.1 (`protocol`) or HTTP/2 (`http2`), which the client chooses before its
first request: by ALPN where there is TLS, else by beginning with HTTP/2's preface.

Three tasks share it. The *reader* (the connection's own task) only reads, so that it
sees a departure at once, whatever else is going on; it alone closes the stream. The
*pump* parses what was read and may wait for the app. The *app* runs once per request.
Nothing that goes wrong here leaves `run`: one stranger must not end the server.

A half-closed client counts as gone. A response that its app leaves unfinished ends
without its last chunk; where the body is framed by the close alone (HTTP/1.0), the
connection is reset.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    Scope,
)

from trio_gateway.serving.addresses import addresses
from trio_gateway.serving.context import Context
from trio_gateway.serving.failure_log import FailureLog
from trio_gateway.serving.handshakes import Handshakes
from trio_gateway.serving.http2.protocol import Http2
from trio_gateway.serving.http2.stream import Shared
from trio_gateway.serving.inbox import Inbox, ReadAhead
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.linger import (
    CLOSE_GRACE_S,
    arrival,
    linger,
    reset_at_close,
    say_goodbye,
    socket_under,
)
from trio_gateway.serving.protocol import StrictProtocol
from trio_gateway.serving.speech import Ending, Speech
from trio_gateway.serving.tls import HTTP_2, shake_hands

# Headway of a large send is judged by pieces of this size: with the default limit of
# 30 s, a client slower than 0.5 kB/s counts as stalled.
PIECE_BYTES: Final = 16 * 1024

# What a client of HTTP/2 sends first, whatever it knows of us.
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

SendToStream = Callable[[ASGISendEvent | None], Awaitable[None]]


class Phase(Enum):
    """Where a connection stands between two requests."""

    IDLE = auto()  # nothing of the next request has come
    HEAD = auto()  # some of its head has
    BUSY = auto()  # it is being answered


class HypercornConnection(TCPServer):
    """Serves one stream; `await connection.run()` returns when all of it has ended."""

    protocol: Speech  # type: ignore[assignment] # ours instead of Hypercorn's
    context: Context

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: Context,
        state: ConnectionState,
        stream: trio.abc.Stream,
        *,
        limits: Limits,
        failures: FailureLog,
        idle: "dict[HypercornConnection, None]",
        handshakes: Handshakes | None = None,
    ) -> None:
        # Hypercorn says SSLStream and means any stream.
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]
        self.stream: trio.abc.Stream = stream  # type: ignore[assignment] # as above
        self._limits = limits
        self._failures = failures
        self._handshakes = handshakes  # there are some with TLS
        self._idle = idle  # the server's, in the order of becoming idle
        self._phase = Phase.BUSY
        self._ending: Ending | None = None
        self._greeting = trio.CancelScope()
        self._reading = trio.CancelScope()  # its deadline is the phase's
        self._pumping = trio.CancelScope()
        self._pump_ended = trio.Event()
        self._ahead = ReadAhead(limits.ahead_bytes_max)
        self._has_greeted = False  # there is a protocol
        self._may_switch = False  # to HTTP/2, by its preface
        self._idle_by = float("inf")  # which no ping prolongs
        self._has_answered = False
        self._is_torn = False  # a close would look like the end of an answer

    async def run(self) -> None:
        """Serve the stream to its end and close it. Raises only `trio.Cancelled`."""
        try:
            self._phase = Phase.IDLE  # shaking hands is as good as that
            self._idle[self] = None
            limit_s, noted = self._limits.handshake_s, self._handshakes
            if await shake_hands(self.stream, limit_s, self._greeting, noted):
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self.protocol = self._agreed()
                    await self.protocol.begin()
                    self._has_greeted = True
                    self._idle_by = trio.current_time() + self._limits.idle_s
                    self._await_request()
                    nursery.start_soon(self._pump)
                    await self._read()
                    await self._end()
        except* Exception as failures:  # noqa: BLE001 # it must not end the server
            self._failures.note("connection_failed", failures)
        finally:
            self._idle.pop(self, None)
            self._ending = self._ending or Ending.BROKEN
            await trio.aclose_forcefully(self.stream)

    def close_if_idle(self) -> None:
        """Close it unless a request has begun: to drain, or to make room."""
        if self._phase is Phase.IDLE:
            self._stop(Ending.IDLE)

    def part(self) -> None:
        """Have the client ask elsewhere, after what it is asking now."""
        if self._has_greeted:
            self.protocol.part()

    def drain(self) -> None:
        """Begin nothing more, and close it now unless something is going on."""
        if self._has_greeted:
            self.protocol.drain()
        self.close_if_idle()

    # Which HTTP.

    def _agreed(self) -> Speech:
        """Speak as was agreed on in the handshake; where none was, HTTP/1.1."""
        if isinstance(self.stream, trio.SSLStream):
            is_http_2 = self.stream.selected_alpn_protocol() == HTTP_2
            return self._http_2() if is_http_2 else self._http_1()
        self._may_switch = True
        return self._http_1()

    async def _first_bytes(self) -> bytes:
        """Take what comes first; speak HTTP/2 from now on if that is its preface."""
        data = await self._ahead.take()
        while self._may_switch and len(data) < len(PREFACE):
            if not PREFACE.startswith(data):
                break
            data += await self._ahead.take()
        if self._may_switch and data.startswith(PREFACE):
            self.protocol = self._http_2()
            await self.protocol.begin()
        return data

    def _http_1(self) -> Speech:
        client, server = addresses(self._transport)
        return StrictProtocol(
            self.app,
            self.config,
            self.context,
            self,  # type: ignore[arg-type] # see spawn_app
            ConnectionState(self.state),
            self._transport is not self.stream,
            client,
            server,
            self.protocol_send,
        ).restrict(self._limits)

    def _http_2(self) -> Speech:
        client, server = addresses(self._transport)
        return Http2(
            Shared(
                self.app,
                self.config,
                self.context,
                ConnectionState(self.state),
                self._transport is not self.stream,
                client,
                server,
                self._limits,
                self._failures,
                self._nursery,
            ),
            self.protocol_send,
        )

    @property
    def _transport(self) -> trio.abc.Stream:
        is_tls = isinstance(self.stream, trio.SSLStream)
        return self.stream.transport_stream if is_tls else self.stream  # type: ignore[attr-defined] # of SSLStream

    # The reader.

    async def _read(self) -> None:
        """Read until there is a reason to stop; leave that reason in `_ending`."""
        with self._reading:
            while data := await self._receive():
                if self._phase is Phase.IDLE:
                    self._enter(Phase.HEAD, limit_s=self._limits.head_s)
                self._ahead.put(data)
                if self._ahead.is_full:
                    if self.protocol.is_past_request:
                        break
                    await self._ahead.wait_for_room()
            self._stop(Ending.DEPARTED)
        if self._ending is None:
            self._stop(Ending.LATE if self._phase is Phase.HEAD else Ending.IDLE)

    async def _receive(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some(MAX_RECV))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _end(self) -> None:
        """Tell the app, then close: politely if an answer is on its way."""
        # A pump that is about to run may still begin a request; none may begin after.
        self._pumping.cancel()
        await self._pump_ended.wait()
        await self.protocol.handle(Closed())
        await self.protocol.farewell(self._ending or Ending.BROKEN)
        self._set_torn(is_torn=self.protocol.is_torn)
        if self._ending in {Ending.LATE, Ending.FINISHED}:
            await self._close()
        self._ending = Ending.BROKEN  # sends do nothing from here on
        await trio.aclose_forcefully(self.stream)

    def _set_torn(self, *, is_torn: bool) -> None:
        """Let a close be a reset, or not; over memory there is none."""
        sock = socket_under(self.stream)
        if is_torn is not self._is_torn and sock is not None:
            self._is_torn = is_torn
            reset_at_close(sock, resets=is_torn)

    async def _close(self) -> None:
        sock = socket_under(self.stream)
        if self._is_torn and sock is not None:
            await arrival(sock)
            return
        with trio.move_on_after(CLOSE_GRACE_S) as sending:
            async with self.send_lock:
                pass  # all is said
        if sending.cancelled_caught:
            return
        self._ending = Ending.BROKEN  # and nothing more will be
        if self._ahead or not self.protocol.has_read_all:
            await linger(self.stream)
        with trio.move_on_after(CLOSE_GRACE_S):
            await say_goodbye(self.stream)

    # The pump.

    async def _pump(self) -> None:
        with self._pumping:
            data = await self._first_bytes()
            while True:
                await self.protocol.handle(RawData(data))
                if self._phase is Phase.HEAD and not self._has_part_of_head():
                    self._await_request()
                data = await self._ahead.take()
        self._pump_ended.set()

    def _has_part_of_head(self) -> bool:
        return bool(self._ahead) or self.protocol.has_part_of_head

    # The app.

    async def spawn_app(
        self, app: AppWrapper, _config: Config, scope: Scope, send: SendToStream
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Run the app for one request; what is returned takes the request's messages.

        This is all that Hypercorn's HTTP/1 wants of its task group, so the connection
        is that group.
        """
        assert isinstance(self.protocol, StrictProtocol)
        inbox = Inbox(self.protocol.ask_for_body)
        self._nursery.start_soon(self._run_app, app, scope, inbox, send)
        return inbox.put

    async def _run_app(
        self, app: AppWrapper, scope: Scope, inbox: Inbox, send: SendToStream
    ) -> None:
        try:
            await app(
                scope,
                inbox.receive,
                send,
                trio.to_thread.run_sync,
                trio.from_thread.run,
            )
        except Exception as error:  # noqa: BLE001 # whatever it is, it ends this exchange
            self._failures.note("app_failed", error)
        # Answers 500 if there is no answer, closes if there is an unfinished one.
        await send(None)

    # What the protocol tells us.

    async def protocol_send(self, event: Event) -> None:
        """Take bytes, a change of phase, or the wish to close, from the protocol."""
        match event:
            case RawData(data=data):
                await self._send(data)
            case Closed():
                self._stop(Ending.FINISHED)
            case Updated(idle=True):
                self._has_answered = True
                self._idle_by = trio.current_time() + self._limits.idle_s
                self._await_request()
            case _:
                self._enter(Phase.BUSY, limit_s=float("inf"))

    async def _send(self, data: bytes) -> None:
        """Send, or break the connection: a torn answer must never be continued."""
        if self._ending is Ending.BROKEN:
            await trio.lowlevel.checkpoint()
            return
        is_sent = False
        if self.protocol.is_torn:
            self._set_torn(is_torn=True)
        try:
            async with self.send_lock:
                is_sent = await self._send_with_headway(data)
        finally:
            if not is_sent:
                self._ending = Ending.BROKEN
                self._reading.cancel()

    async def _send_with_headway(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            with trio.move_on_after(self._limits.stall_s) as patience:
                try:
                    await self.stream.send_all(rest[:PIECE_BYTES])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return False
            if patience.cancelled_caught:
                return False
            rest = rest[PIECE_BYTES:]
        return True

    # Phases.

    def _await_request(self) -> None:
        if self._has_part_of_head():
            self._enter(Phase.HEAD, limit_s=self._limits.head_s)
            return
        limit_s = self._idle_by - trio.current_time()
        is_draining = self.context.is_draining
        if is_draining:
            limit_s = min(limit_s, self._limits.parting_s)
        self._enter(Phase.IDLE, limit_s=limit_s)
        self._idle[self] = None
        if is_draining and (self.protocol.has_told_its_end or not self._has_answered):
            self._stop(Ending.IDLE)

    def _enter(self, phase: Phase, *, limit_s: float) -> None:
        self._phase = phase
        self._idle.pop(self, None)
        self._reading.deadline = trio.current_time() + limit_s

    def _stop(self, ending: Ending) -> None:
        if self._ending is None:
            self._ending = ending
            self._greeting.cancel()
            self._reading.cancel()
