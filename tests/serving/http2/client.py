"""A client of HTTP/2 whose every frame a test can choose, over any stream of bytes."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import trio
import trio.testing
from h2.errors import ErrorCodes
from hyperframe.frame import Frame

Fields = list[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

GET: Fields = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "x"),
    (":path", "/hi"),
]


@dataclass
class Answer:
    """What came on one stream so far, and how it ended, if it did."""

    status: int | None = None
    interim: list[int] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    reset: ErrorCodes | int | None = None

    @property
    def is_over(self) -> bool:
        return self.is_whole or self.reset is not None


class Client:
    """Takes whatever comes; sends what h2 would not, too."""

    def __init__(self, stream: trio.abc.Stream, *, reads: bool = True) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.reads = reads  # opens its windows again
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []  # code and last stream
        self.has_ended = False

    async def begin(self) -> "Client":
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def send(self, *frames: Frame) -> None:
        """Send frames that h2 knows nothing of."""
        await self.stream.send_all(b"".join(frame.serialize() for frame in frames))

    async def ask(
        self,
        path: str = "/hi",
        *fields: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        is_whole: bool = True,
    ) -> int:
        """Send a request, or its head and some of its body; return the stream."""
        head = [*GET, *fields]
        head[0], head[3] = (":method", method), (":path", path)
        return await self.ask_with(head, body=body, is_whole=is_whole)

    async def ask_with(
        self, head: Fields, *, body: bytes | None = None, is_whole: bool = True
    ) -> int:
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        ends = is_whole and body is None
        self.h2.send_headers(number, head, end_stream=ends)
        await self.flush()
        if body is not None:
            await self.upload(number, body, is_whole=is_whole)
        return number

    async def upload(self, number: int, body: bytes, *, is_whole: bool) -> None:
        """Send as much as the windows hold, and then as they open."""
        rest = body
        while rest:
            window = self.h2.local_flow_control_window(number)
            size = min(window, self.h2.max_outbound_frame_size, len(rest))
            if not size:
                assert await self.receive(), "the window never opened"
                continue
            self.h2.send_data(number, rest[:size])
            await self.flush()
            rest = rest[size:]
        if is_whole:
            self.h2.end_stream(number)
            await self.flush()

    async def leave(self, number: int) -> None:
        self.h2.reset_stream(number, ErrorCodes.CANCEL)
        await self.flush()

    async def open(self, number: int, size: int) -> None:
        """Let the server send so much more of an answer."""
        self.h2.increment_flow_control_window(size)
        self.h2.increment_flow_control_window(size, number)
        await self.flush()

    async def say_goodbye(self) -> None:
        """Send GOAWAY, and go on listening."""
        self.h2.close_connection()
        await self.flush()
        self._listen_on()

    async def receive(self) -> bool:
        """Take what comes next; False at the end of the connection."""
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.has_ended = True
            return False
        for event in self.h2.receive_data(bytes(data)):
            self._take(event)
        # Who stops waiting says so all the same: windows that h2 was told of, and not
        # the server, would never open again.
        with suppress(trio.BrokenResourceError), trio.move_on_after(1.0, shield=True):
            await self.flush()
        return True

    async def receive_what_is_there(self) -> None:
        """Let everybody run, then take what has come, without waiting for more."""
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.001):  # of virtual time
            while await self.receive():
                pass

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Receive until something is so, or the end comes."""
        while not is_so() and await self.receive():
            pass

    async def answer(self, number: int) -> Answer:
        """Wait for the end of an answer, or of the connection."""
        await self.until(lambda: self.answers[number].is_over)
        return self.answers[number]

    async def first(self) -> Answer:
        """Wait for the answer to the `request` that was sent as bytes."""
        self.h2.initiate_connection()
        number = self.h2.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.h2.send_headers(number, GET, end_stream=True)
        self.h2.clear_outbound_data_buffer()  # it is all said
        return await self.answer(number)

    async def part_of(self, number: int) -> Answer:
        """Wait for the first bytes of an answer's body."""
        answer = self.answers[number]
        await self.until(lambda: bool(answer.body) or answer.is_over)
        return answer

    async def get(self, path: str = "/hi", *fields: tuple[str, str]) -> Answer:
        return await self.answer(await self.ask(path, *fields))

    async def to_the_end(self) -> None:
        """Receive until the connection ends."""
        await self.until(lambda: False)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.InformationalResponseReceived(stream_id=int(number)):
                fields = {str(name): str(value) for name, value in event.headers}
                self.answers[number].interim.append(int(fields[":status"]))
            case h2.events.ResponseReceived(stream_id=int(number)):
                fields = {str(name): str(value) for name, value in event.headers}
                self.answers[number].status = int(fields.pop(":status"))
                self.answers[number].fields = fields
            case h2.events.DataReceived(stream_id=int(number)):
                self.answers[number].body += event.data
                if self.reads and event.flow_controlled_length:
                    size = event.flow_controlled_length
                    self.h2.acknowledge_received_data(size, number)
            case h2.events.StreamEnded(stream_id=int(number)):
                self.answers[number].is_whole = True
            case h2.events.StreamReset(stream_id=int(number)):
                self.answers[number].reset = event.error_code
            case h2.events.ConnectionTerminated():
                last = event.last_stream_id or 0
                self.goaways.append((int(event.error_code or 0), last))
                self._listen_on()
            case _:
                pass

    def _listen_on(self) -> None:
        """Go on with the streams that are open, which h2 would not after a GOAWAY."""
        self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN


def request(
    path: str = "/hi",
    *fields: tuple[str, str],
    method: str = "GET",
    body: bytes = b"",
) -> bytes:
    """The bytes of a connection that begins with one request, in whole."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    head = [*GET, *fields]
    head[0], head[3] = (":method", method), (":path", path)
    connection.send_headers(1, head, end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    return connection.data_to_send()
