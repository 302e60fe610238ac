"""HTTP/1.1 as we accept it: Hypercorn's protocol and h11's parser, with fewer doors.

`StrictParser` refuses what h11 accepts and a gateway must not (two framings at once, a
head without bound, other versions, tunnels). `StrictProtocol` switches to nothing that
a request offers: no WebSocket, and no HTTP/2 by `Upgrade: h2c`, which was taken out of
HTTP/2 because proxies pass it on unseen. HTTP/2 is chosen before the first request, or
not at all (`connection`).
"""

import re
from dataclasses import replace
from typing import Final

import h11
import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ASGISendEvent

from trio_gateway.serving.context import Context
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.refusals import REFUSALS, identity, refusal_body
from trio_gateway.serving.speech import Ending

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_LOOSE: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")


class StrictParser(h11.Connection):
    """h11's state machine for a connection, refusing what a gateway must not pass."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=limits.head_bytes_max)
        self._limits = limits
        self.has_head_request = False

    @property
    def they_are_waiting_for_100_continue(self) -> bool:
        """Hypercorn asks this before it has asked the app, so the answer is no.

        `StrictProtocol.ask_for_body` sends the 100, when the app wants the body.
        """
        return False

    @property
    def is_past_request(self) -> bool:
        """Whether what comes now is not part of the request that is being answered."""
        return self.their_state not in {h11.IDLE, h11.SEND_BODY}

    @property
    def has_read_all(self) -> bool:
        """Whether a request was read to its end, and nothing after it."""
        return (
            self.their_state in {h11.DONE, h11.MUST_CLOSE} and not self.trailing_data[0]
        )

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Parse one event.

        Raises:
            h11.RemoteProtocolError: With the status to answer.
        """
        if self.their_state is h11.MUST_CLOSE:
            # Bytes after a last request. h11 would answer the request itself with 400.
            return h11.PAUSED
        if self.their_state is h11.IDLE:
            self._skip_empty_lines()
            self._refuse_loose_lines()
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._check(event)
        return event

    def _skip_empty_lines(self) -> None:
        # RFC 9112 2.2: old clients end a body with a line break that nobody counted.
        while self.trailing_data[0].startswith(b"\r\n"):
            self._receive_buffer.maybe_extract_at_most(2)

    def _refuse_loose_lines(self) -> None:
        # h11 takes a line that ends or goes on otherwise than by CR LF; others, before
        # or behind us, may see other lines in it.
        data = self.trailing_data[0]
        end = _END_OF_HEAD.search(data)
        if end is not None and _LOOSE.search(data, 0, end.end()):
            raise h11.RemoteProtocolError("loose line break", error_status_hint=400)

    def _check(self, request: h11.Request) -> None:
        self.has_head_request = request.method == b"HEAD"
        names = [name for name, _ in request.headers]
        size = len(request.target) + sum(
            len(name) + len(value) + len(": \r\n") for name, value in request.headers
        )
        if request.http_version not in {b"1.0", b"1.1"}:
            # The preface of HTTP/2 looks like this, where it is not the first thing.
            raise h11.RemoteProtocolError("HTTP version", error_status_hint=505)
        if size > self._limits.head_bytes_max:
            raise h11.RemoteProtocolError("head too large", error_status_hint=431)
        if len(names) > self._limits.head_fields_max:
            raise h11.RemoteProtocolError("too many fields", error_status_hint=431)
        if request.method == b"CONNECT":
            raise h11.RemoteProtocolError("no tunnels", error_status_hint=501)
        if b"transfer-encoding" in names and (
            b"content-length" in names or request.http_version == b"1.0"
        ):
            # Two readers could disagree where this request ends: request smuggling.
            raise h11.RemoteProtocolError("two framings", error_status_hint=400)


class Http1Stream(HTTPStream):
    """One request and its response, as Hypercorn's stream between h11 and the app."""

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """ASGI's `send`; does nothing once the client has left or the answer is whole.

        Hypercorn tells the app of the end before it has recycled or closed the
        connection, in the app's own task. A framework that cancels itself on that news
        would cut the rest short, so nothing from there on may wait: `Inbox.put` of a
        disconnect does not, and `HypercornConnection.protocol_send` only leaves word.
        """
        if self.closed:
            await trio.lowlevel.checkpoint()
            return
        await super().app_send(message)


class StrictProtocol(H11Protocol):
    """Hypercorn's HTTP/1 protocol, bound to the strict parser and to HTTP alone."""

    connection: StrictParser

    def restrict(self, limits: Limits) -> "StrictProtocol":
        """Put the strict parser in the place of Hypercorn's; to be called first."""
        self.connection = StrictParser(limits)
        self._ends_by_close = False
        return self

    @property
    def has_part_of_head(self) -> bool:
        """Whether some of a request has come that is no request yet."""
        return bool(self.connection.trailing_data[0])

    @property
    def is_past_request(self) -> bool:
        """Whether what comes now is not part of the request that is being answered."""
        return self.connection.is_past_request

    @property
    def has_read_all(self) -> bool:
        """Whether a request was read to its end, and nothing after it."""
        return self.connection.has_read_all

    @property
    def is_torn(self) -> bool:
        """Whether a close would now pass a part of an answer for the whole."""
        return self._ends_by_close and self.connection.our_state is h11.SEND_BODY

    @property
    def has_told_its_end(self) -> bool:
        """Say no: with an answer that announces it, the connection ends."""
        return False

    async def begin(self) -> None:
        """Say nothing: in HTTP/1.1, the client begins."""

    def part(self) -> None:
        """Do nothing: the next answer will announce the close."""

    def drain(self) -> None:
        """Do nothing: the next answer will announce the close."""

    async def farewell(self, ending: Ending) -> None:
        """Answer a head that did not come in time."""
        if ending is Ending.LATE:
            await self.refuse(408)

    async def ask_for_body(self) -> None:
        """Tell a client that waits for it (`Expect: 100-continue`) to send its body."""
        parser = self.connection
        if (
            parser.client_is_waiting_for_100_continue
            and parser.our_state is h11.SEND_RESPONSE
        ):
            await self._send_h11_event(
                h11.InformationalResponse(status_code=100, headers=[])
            )

    async def refuse(self, status: int) -> None:
        """Answer in the app's place."""
        body = b"" if self.connection.has_head_request else refusal_body(status)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *identity(),
            *self.config.response_headers("h11"),
        ]
        reason = REFUSALS.get(status, REFUSALS[400])[0].encode()
        await self._send_h11_event(
            h11.Response(status_code=status, headers=headers, reason=reason)
        )
        if body:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def stream_send(self, event: Event) -> None:
        """Take an event of the app's response; announce a close that will follow.

        It will while parting, and where the body has not come to its end by now.
        """
        is_parting = isinstance(self.context, Context) and self.context.is_parting
        is_last = is_parting or self.connection.their_state is h11.SEND_BODY
        close = (b"connection", b"close")
        if isinstance(event, Response) and is_last and close not in event.headers:
            event = replace(event, headers=[*event.headers, close])
        if isinstance(event, Response):
            self._ends_by_close = self.connection.their_http_version == b"1.0" and all(
                name.lower() != b"content-length" for name, _ in event.headers
            )
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        await self.refuse(status_code)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Switch to nothing: an offered upgrade is ignored, as HTTP allows."""

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = Http1Stream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1


def hypercorn_config(limits: Limits) -> Config:
    """Hypercorn's configuration, silent and without its name in every answer."""
    config = Config()
    config.errorlog = None
    config.accesslog = None
    config.include_server_header = False
    config.include_date_header = limits.sends_date
    return config
