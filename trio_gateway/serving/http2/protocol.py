"""One connection of HTTP/2: from frames to streams, and how all of it ends.

It takes the place of Hypercorn's `H2Protocol`, and is told and tells as that is: bytes
come with `handle`, `send` takes bytes, changes of phase, and the wish to close.
`handle` never waits, for the client or for an app, so that every frame is seen at once.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as IOEvent

from trio_gateway.serving.http2.calm import FUTILE_COST
from trio_gateway.serving.http2.frames import (
    LAST_POSSIBLE_STREAM,
    STREAMS_MAX,
    Frames,
)
from trio_gateway.serving.http2.head import MalformedError, check_trailers, read_head
from trio_gateway.serving.http2.stream import Http2Stream, Shared
from trio_gateway.serving.http2.way_out import WayOut
from trio_gateway.serving.linger import CLOSE_GRACE_S
from trio_gateway.serving.refusals import RefusedError
from trio_gateway.serving.speech import Ending

# Streams of one connection, with those whose apps are still cleaning up.
_ENDING_TOO_MAX: Final = 2 * STREAMS_MAX


class Http2:
    """Serves the streams of one connection."""

    # As the connection asks of either version of HTTP. Nothing is pipelined here, and
    # who closes with frames on their way always waits for the client to see ours.
    is_past_request = False
    has_read_all = False

    def __init__(
        self, shared: Shared, send: Callable[[IOEvent], Awaitable[None]]
    ) -> None:
        self._shared = shared
        self._context = shared.context
        self._send = send
        self._frames = Frames(shared.limits)
        self._way_out = WayOut(self._frames, shared.limits)
        self._streams: dict[int, Http2Stream] = {}
        self._has_last = False  # nothing may begin any more

    @property
    def is_torn(self) -> bool:
        """Say no: each stream says itself when it ends."""
        return False

    @property
    def has_told_its_end(self) -> bool:
        """Whether the client knows that it may not ask again here."""
        return self._has_last

    async def begin(self) -> None:
        """Say our settings, and begin to write."""
        self._frames.begin()
        self._shared.nursery.start_soon(self._way_out.run, self._write)
        self._way_out.flush()
        if self._context.is_draining:
            self.drain()
        elif self._context.is_parting:
            self.part()

    async def _write(self, data: bytes) -> None:
        await self._send(RawData(data))

    @property
    def has_part_of_head(self) -> bool:
        """Whether something has begun to arrive that is not yet complete."""
        return self._frames.incoming_buffer.holds_part

    # The client's frames.

    async def handle(self, event: IOEvent) -> None:
        """Take bytes, or the end of the connection."""
        if isinstance(event, Closed):
            for stream in self._streams.values():
                stream.leave()
            self._way_out.notice()
            return
        assert isinstance(event, RawData)
        try:
            for each in self._frames.receive_data(event.data):
                await self._take(each)
        except ProtocolError as error:
            self._frames.give_up(error.error_code)
        self._frames.open_window()
        self._way_out.flush()
        self._way_out.notice()
        if self._frames.is_over or self._way_out.is_flooded:
            await self._send(Closed())

    async def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                await self._take_request(event)
            case DataReceived(stream_id=int(number)):
                if stream := self._streams.get(number):
                    stream.take_body(event.data, event.flow_controlled_length)
            case TrailersReceived(stream_id=int(number)):
                try:
                    check_trailers(event.headers)
                except MalformedError:
                    self._turn_away(number, ErrorCodes.PROTOCOL_ERROR)
            case StreamEnded(stream_id=int(number)):
                stream = self._streams.get(number)
                if stream is not None and not stream.take_end():
                    self._turn_away(number, ErrorCodes.PROTOCOL_ERROR)
            case StreamReset(stream_id=int(number)):
                self._take_reset(number)
            case ConnectionTerminated():
                await self._take_goaway(event)
            case _:
                pass  # h2 has done what there is to do

    async def _take_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        assert number is not None
        if not self._frames.is_open(number):
            self._frames.charge(FUTILE_COST)  # left in the packet that brought it
            return
        if self._has_last or self._is_full:
            self._turn_away(number, ErrorCodes.REFUSED_STREAM)
            return
        try:
            head = read_head(event.headers, self._shared.limits)
        except MalformedError:
            self._turn_away(number, ErrorCodes.PROTOCOL_ERROR)
        except RefusedError as error:
            self._frames.charge(FUTILE_COST)
            is_head = (b":method", b"HEAD") in event.headers
            stream = await self._enter(number)
            refuse = partial(stream.turn_away, error.status, is_head=is_head)
            self._shared.nursery.start_soon(refuse)
        else:
            await (await self._enter(number)).begin(head)

    @property
    def _is_full(self) -> bool:
        """Whether there is one stream too many: for this client, or for all."""
        here = len(self._streams)
        # For the client, one that it left is over, though its app may not have ended.
        heard = sum(not stream.closed for stream in self._streams.values())
        return (
            heard >= STREAMS_MAX
            or here >= _ENDING_TOO_MAX
            or (here > 0 and self._context.is_full)
        )

    def _turn_away(self, number: int, code: ErrorCodes) -> None:
        """Reset a stream that is not to be served, or not further."""
        self._frames.reset(number, code)
        self._take_reset(number)

    def _take_reset(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None or not stream.has_answered:
            self._frames.charge(FUTILE_COST)
        if stream is not None:
            stream.leave()

    async def _take_goaway(self, event: ConnectionTerminated) -> None:
        """Begin nothing more; who says it for an error has closed already."""
        self._has_last = True
        if event.error_code or not self._streams:
            await self._send(Closed())

    # Streams.

    async def _enter(self, number: int) -> Http2Stream:
        stream = self._streams[number] = Http2Stream(
            number, self._shared, self._way_out, self._note_end
        )
        if len(self._streams) > 1:
            self._context.extra_exchanges += 1
        else:
            await self._send(Updated(idle=False))
        return stream

    async def _note_end(self, stream: Http2Stream) -> None:
        """Forget a stream whose app has ended."""
        del self._streams[stream.stream_id]
        if self._streams:
            self._context.extra_exchanges -= 1
        elif self._has_last:
            await self._send(Closed())
        else:
            await self._send(Updated(idle=True))

    # How it ends.

    def part(self) -> None:
        """Ask the client to begin nothing more here; what it begins is still served."""
        self._frames.announce_end(LAST_POSSIBLE_STREAM)
        self._way_out.flush()

    def drain(self) -> None:
        """Begin nothing more; what has begun goes on."""
        if not self._has_last:
            self._has_last = True
            self._frames.announce_end()
            self._way_out.flush()

    async def farewell(self, ending: Ending) -> None:
        """Send what is left, with a GOAWAY unless the client is gone, and no more."""
        if ending not in {Ending.DEPARTED, Ending.BROKEN}:
            is_late = ending is Ending.LATE
            self._frames.give_up(
                ErrorCodes.PROTOCOL_ERROR if is_late else ErrorCodes.NO_ERROR
            )
            self._way_out.flush()
            with trio.move_on_after(CLOSE_GRACE_S):
                await self._way_out.written()
        self._way_out.close()
