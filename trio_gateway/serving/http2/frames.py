"""HTTP/2's frames as we accept them: h2's state machine, with every growth bounded.

h2 4.4 knows the protocol, but where a stream should end, it ends the connection, and
some of what a client sends it keeps for ever. What it does, and what we do:

| what comes | h2 4.4 | here |
| --- | --- | --- |
| PING, SETTINGS, PRIORITY, RST_STREAM, WINDOW_UPDATE, empty DATA | no limit | `Calm` |
| CONTINUATION | 64 frames of any size | also bounded in bytes |
| fields that unpack to more and more | hpack ends the connection | the same |
| settings that nobody knows | kept, each of 65,536 | dropped |
| a vast table for our own fields | filled, as long as it lasts | 4 KiB |
| a stream that has ended | 65,536 remembered | 512 |
| a body that is not as long as was said | ends the connection | resets the stream |
| a malformed head | ends the connection | resets the stream (see `head`) |
| a stream too many | ends the connection | refused (see `protocol`) |
| GOAWAY | no stream may go on | they may, as RFC 9113 6.8 has it |
| more than a window | ends the connection | the same |

The subclass reaches into h2's private parts, as its table of frames has no public ones;
the tests in `tests/serving/http2` fail loudly if an upgrade moves them.
"""

from typing import Final

import trio
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset
from h2.exceptions import (
    DenialOfServiceError,
    InvalidBodyLengthError,
    ProtocolError,
)
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy
from hpack.exceptions import HPACKError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

from trio_gateway.serving.http2.calm import FRAME_COST, Calm
from trio_gateway.serving.limits import Limits

# What most clients take for granted before they have heard our number.
STREAMS_MAX: Final = 100

# How many more h2 lets pass, for us to refuse one by one: a client may not have heard.
_STREAMS_BORNE: Final = 10 * STREAMS_MAX

# HPACK's default, which fits what our answers have in common.
_TABLE_BYTES_MAX: Final = 4096

# A head may be so much larger than allowed and still be answered, with 431.
_HEAD_LEEWAY: Final = 2

# All streams together may send what each may: the window of the connection never
# matters, so that one whose app does not read holds back no other. It is opened anew
# when half of it is used.
_WINDOW_MAX: Final = 2**31 - 1
_WINDOW_HALF: Final = 2**30

# That of a GOAWAY which only announces another one.
LAST_POSSIBLE_STREAM: Final = 2**31 - 1


# To whom there is no room for: nothing of it was served, and it may come back.
TURNED_AWAY: Final = (
    SettingsFrame(0).serialize()
    + GoAwayFrame(0, 0, ErrorCodes.ENHANCE_YOUR_CALM).serialize()
)


class BoundedFrames(FrameBuffer):
    """Bytes becoming frames."""

    def __init__(self, head_bytes_max: int) -> None:
        super().__init__(server=True)
        self._head_bytes_max = head_bytes_max

    @property
    def holds_part(self) -> bool:
        """Whether something has begun to arrive that is not yet complete."""
        return bool(self._preamble_len or self._data or self._headers_buffer)

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        whole = super()._update_header_buffer(f)
        held = sum(len(part.data) for part in self._headers_buffer)
        if held > self._head_bytes_max:
            raise DenialOfServiceError("a head without end")
        return whole


class Frames(H2Connection):
    """One connection's state, to be begun with `begin`; see above."""

    MAX_CLOSED_STREAMS = 512

    incoming_buffer: BoundedFrames

    def __init__(self, limits: Limits) -> None:
        super().__init__(
            H2Configuration(
                client_side=False, header_encoding=None, validate_inbound_headers=False
            )
        )
        self._limits = limits
        head_bytes_max = _HEAD_LEEWAY * limits.head_bytes_max
        self.incoming_buffer = BoundedFrames(head_bytes_max)
        self.decoder.max_header_list_size = head_bytes_max
        self.calm = Calm(trio.current_time())

    def begin(self) -> None:
        """Say our settings, which comes first."""
        self.local_settings = self._settings(STREAMS_MAX)
        self.initiate_connection()
        self.local_settings = self._settings(_STREAMS_BORNE)
        self.open_window()

    def _settings(self, streams_max: int) -> Settings:
        return Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: streams_max,
                SettingCodes.MAX_HEADER_LIST_SIZE: self._limits.head_bytes_max,
                SettingCodes.INITIAL_WINDOW_SIZE: self._limits.ahead_bytes_max,
            },
        )

    def open_window(self) -> None:
        """Let the connection's window never run out."""
        missing = _WINDOW_MAX - self.inbound_flow_control_window
        if missing > _WINDOW_HALF and not self.is_over:
            self.increment_flow_control_window(missing)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be said."""
        return self.state_machine.state is ConnectionState.CLOSED

    def is_open(self, stream_id: int) -> bool:
        """Whether somebody is still there to hear an answer."""
        stream = self.streams.get(stream_id)
        return not self.is_over and stream is not None and stream.open

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream, unless it has ended."""
        if self.is_open(stream_id):
            self.reset_stream(stream_id, code)

    def announce_end(self, last_stream_id: int | None = None) -> None:
        """Send GOAWAY, and go on: h2's own would end the streams that are open."""
        if not self.is_over:
            if last_stream_id is None:
                last_stream_id = self.highest_inbound_stream_id
            frame = GoAwayFrame(0, last_stream_id, ErrorCodes.NO_ERROR)
            self._prepare_for_sending([frame])

    def give_up(self, code: ErrorCodes) -> None:
        """Send GOAWAY, and nothing more; h2 may have done so already."""
        if not self.is_over:
            self.close_connection(code)

    def charge(self, cost: float) -> None:
        """Take something out of the client's allowance.

        Raises:
            DenialOfServiceError: It is used up.
        """
        self.calm.spend(cost, trio.current_time())

    # What h2 would do otherwise.

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if not isinstance(frame, HeadersFrame) and not _carries(frame):
            self.charge(FRAME_COST)
        try:
            return super()._receive_frame(frame)
        except InvalidBodyLengthError:
            return self._malformed(frame.stream_id)
        except ProtocolError as error:
            if isinstance(frame, HeadersFrame) and self._is_of_stream(frame, error):
                return self._malformed(frame.stream_id)
            raise

    def _is_of_stream(self, frame: HeadersFrame, error: ProtocolError) -> bool:
        """Whether a head was wrong in itself: both tables are still the same."""
        return (
            type(error) is ProtocolError
            and not isinstance(error.__cause__, HPACKError)
            and not self.is_over
            and frame.stream_id in self.streams
        )

    def _malformed(self, stream_id: int) -> list[Event]:
        stream = self.streams[stream_id]
        if stream.closed:  # by the error itself, which h2 tells nobody
            stream.state_machine.stream_closed_by = StreamClosedBy.SEND_RST_STREAM
            frame = RstStreamFrame(stream_id, ErrorCodes.PROTOCOL_ERROR)
            self._prepare_for_sending([frame])
        else:
            self.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        code = ErrorCodes.PROTOCOL_ERROR
        return [StreamReset(stream_id=stream_id, error_code=code, remote_reset=False)]

    def _receive_settings_frame(
        self, frame: SettingsFrame
    ) -> tuple[list[Frame], list[Event]]:
        known = {code: frame.settings[code] for code in _KNOWN & frame.settings.keys()}
        table = SettingCodes.HEADER_TABLE_SIZE
        if table in known:
            known[table] = min(known[table], _TABLE_BYTES_MAX)
        frame.settings = known
        return super()._receive_settings_frame(frame)

    def _receive_goaway_frame(
        self, frame: GoAwayFrame
    ) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]


_KNOWN: Final[frozenset[int]] = frozenset(SettingCodes)


def _carries(frame: Frame) -> bool:
    """Whether a frame brings some of a request, or its end."""
    return isinstance(frame, DataFrame) and bool(
        frame.data or "END_STREAM" in frame.flags
    )
