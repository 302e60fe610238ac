"""One connection to a simulated provider: reads all the time, and plays behaviours.

Reading never stops while an answer is played, because a client that leaves in the
middle of a silence says so only there. Nothing is closed while tasks still use it: a
behaviour says how the connection is left, and that is done when all else has ended.
"""

import socket
import struct
from enum import Enum
from ipaddress import IPv6Address, ip_address
from math import inf
from typing import Final, Protocol, assert_never

import trio

from trio_gateway.chaos.clock import sleep, sleep_until
from trio_gateway.chaos.network import MemoryStream
from trio_gateway.chaos.provider.http1 import (
    LAST_CHUNK,
    PIPELINED_MAX,
    Framing,
    HttpRequest,
    RequestParser,
    RequestRefusedError,
    frame_bytes,
    framing_of,
    head_bytes,
    interim_bytes,
)
from trio_gateway.chaos.provider.seen import RequestEnding, SeenRequest
from trio_gateway.chaos.provider.turns import Turn
from trio_gateway.chaos.vocabulary.errors import http_error_script
from trio_gateway.chaos.vocabulary.script import (
    Aftermath,
    Behaviour,
    Ending,
    Onset,
    Overtaken,
    Pause,
    Refusal,
    Script,
    Send,
    UnderWay,
    taken_apart,
)

# A connection may wait so long for its next request to be whole; longer than pools
# keep one, so that it is they who close.
IDLE_S: Final = 120.0

# A silence lasts until the client leaves. One that never does, because its host
# vanished, must not keep a task for ever.
SILENCE_S: Final = 3600.0

# After an error to bytes that were not read, the client gets so long to read it: a
# socket closed with unread bytes is reset, and the error would be lost.
LINGER_S: Final = 1.0

# A close is a few system calls; over TLS, one message more.
CLOSE_GRACE_S: Final = 1.0

RECEIVE_BYTES: Final = 64 * 1024


class Parting(Enum):
    """How a connection is left after an answer."""

    KEEP = "keep"  # it is not: the next request may come
    DEAF = "deaf"  # nor is it, but nobody will answer it
    CLOSE = "close"
    CUT = "cut"  # closed without TLS's goodbye, as by a process that died
    RESET = "reset"


class Desk(Protocol):
    """Where requests are written down and decided upon."""

    def begin(
        self, request: HttpRequest, *, is_near: bool
    ) -> tuple[SeenRequest, Behaviour | Overtaken, Turn]:
        """Take a request that is whole; `is_near` if it comes from this machine."""

    def end(self, seen: SeenRequest, ending: RequestEnding) -> None:
        """Take note of how it ended."""


class Connection:
    """Serves the requests of one client, one after the other."""

    def __init__(self, stream: trio.abc.Stream, desk: Desk) -> None:
        self._stream = stream
        self._desk = desk
        self._is_near = _is_near(stream)
        self._has_client_left = False
        self._parting = Parting.CLOSE
        self._idling: trio.CancelScope | None = None
        self._is_leaving = False
        self.answering: SeenRequest | None = None
        self._fate = trio.CancelScope()  # of the answer that is under way
        self._silent_from = inf

    def befall(self, onset: Onset | None) -> None:
        """Say which outage meets the answer that is under way; None: none does."""
        at_s = inf if onset is None else onset.at_s
        is_silent = onset is not None and onset.under_way is UnderWay.SILENT
        self._silent_from = at_s if is_silent else inf
        self._fate.deadline = inf if is_silent else at_s

    def leave_soon(self) -> None:
        """Close it, after the answer that is under way if there is one."""
        self._is_leaving = True
        if self._idling is not None:
            self._idling.cancel()

    async def run(self) -> None:
        """Serve until one side ends it; leave as the last behaviour said."""
        try:
            async with trio.open_nursery() as nursery:
                inbox, requests = trio.open_memory_channel[
                    HttpRequest | RequestRefusedError
                ](PIPELINED_MAX)
                nursery.start_soon(self._read, inbox, nursery.cancel_scope)
                self._parting = await self._answer_all(requests)
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(CLOSE_GRACE_S, shield=True):
                await self._leave()

    async def _read(
        self,
        inbox: trio.MemorySendChannel[HttpRequest | RequestRefusedError],
        connection: trio.CancelScope,
    ) -> None:
        """Pass requests on; cancel the whole connection when the client leaves."""
        parser = RequestParser()
        is_refused = False
        try:
            while data := await self._stream.receive_some(RECEIVE_BYTES):
                if is_refused:
                    continue  # what follows is read only to be thrown away
                try:
                    for request in parser.feed(bytes(data)):
                        inbox.send_nowait(request)
                except RequestRefusedError as refused:
                    is_refused = True
                    inbox.send_nowait(refused)
        except (trio.BrokenResourceError, trio.WouldBlock):
            pass  # reset, or far too many requests at once: either way it is over
        self._has_client_left = True
        connection.cancel()

    async def _answer_all(
        self, requests: trio.MemoryReceiveChannel[HttpRequest | RequestRefusedError]
    ) -> Parting:
        while not self._is_leaving:
            with trio.move_on_after(IDLE_S) as patience:
                self._idling = patience
                request = await requests.receive()
            self._idling = None
            if patience.cancelled_caught:
                return Parting.CLOSE
            if isinstance(request, RequestRefusedError):
                await self._refuse(request)
                return Parting.CLOSE
            parting = await self._answer(request)
            if parting is Parting.DEAF:
                await trio.sleep(SILENCE_S)
                return Parting.CUT
            if parting is not Parting.KEEP:
                return parting
        return Parting.CLOSE

    async def _refuse(self, refused: RequestRefusedError) -> None:
        """Say what is wrong with bytes that are no request; there is no log of them."""
        error = http_error_script(refused.status)
        head = head_bytes(error, Framing.LENGTH, keeps_alive=False)
        bodies = [step.data for step in error.steps if isinstance(step, Send)]
        try:
            await self._stream.send_all(head + b"".join(bodies))
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
        except trio.BrokenResourceError:
            return
        await trio.sleep(LINGER_S)

    async def _answer(self, request: HttpRequest) -> Parting:
        """Play what the desk decides, and tell it how that ended."""
        seen, decided, turn = self._desk.begin(request, is_near=self._is_near)
        behaviour, onset = taken_apart(decided)
        ending = RequestEnding.STOPPED
        self.answering, self._fate = seen, trio.CancelScope()
        self.befall(onset)
        parting = Parting.RESET
        try:
            with self._fate:
                await turn.come()
                parting = await self._play(behaviour, request, seen)
            is_cut = self._fate.cancelled_caught or self._is_silent()
            is_proper = _is_proper(behaviour) and not is_cut
            ending = RequestEnding.ANSWERED if is_proper else RequestEnding.FAULT
            if self._is_silent():
                parting = Parting.DEAF
        except trio.BrokenResourceError:
            self._has_client_left = True
            parting = Parting.CLOSE
        finally:
            self.answering = None
            if self._has_client_left and ending is RequestEnding.STOPPED:
                ending = RequestEnding.CLIENT_LEFT
            turn.leave()
            self._desk.end(seen, ending)
        return parting

    async def _play(
        self, behaviour: Behaviour, request: HttpRequest, seen: SeenRequest
    ) -> Parting:
        match behaviour:
            case Script():
                return await self._play_script(behaviour, request, seen)
            case Refusal.CLOSE:
                return Parting.CLOSE
            # A connection that was made can no longer be refused: this is the nearest.
            case Refusal.RESET | Refusal.CONNECT_REFUSED | Refusal.NAME_UNKNOWN:
                return Parting.RESET
            case Refusal.SILENCE | Refusal.CONNECT_HANG:
                await trio.sleep(SILENCE_S)
                return Parting.CLOSE
            case _:
                assert_never(behaviour)

    async def _play_script(
        self, script: Script, request: HttpRequest, seen: SeenRequest
    ) -> Parting:
        framing = framing_of(script, request)
        keeps_alive = request.keeps_alive and framing is not Framing.CLOSE
        keeps_alive &= script.ending is not Ending.UNTERMINATED
        await sleep(max(0.0, script.head_after_s - script.head_drips_s))
        for status in script.interim:
            await self._send(interim_bytes(status))
        await self._send_head(
            head_bytes(script, framing, keeps_alive=keeps_alive), script.head_drips_s
        )
        seen.status = script.status
        seen.head_at = trio.current_time()
        if request.method != "HEAD":
            await self._play_body(script, framing, seen)
        match script.ending:
            case Ending.CLEAN if _is_short(script):
                return Parting.CUT
            case Ending.CLEAN:
                if framing is Framing.CHUNKED:
                    await self._send(LAST_CHUNK)
                if script.stray:
                    await self._send(script.stray)
                return _after(script.aftermath) if keeps_alive else Parting.CLOSE
            case Ending.CUT:
                return Parting.CUT
            case Ending.RESET:
                return Parting.RESET
            case Ending.EOF | Ending.UNTERMINATED:
                return Parting.CLOSE
            case Ending.HANG:
                await trio.sleep(SILENCE_S)
                return Parting.CUT
            case _:
                assert_never(script.ending)

    async def _send_head(self, head: bytes, drips_s: float) -> None:
        """Send a head, at once or byte by byte."""
        if not drips_s:
            await self._send(head)
            return
        begun_at = trio.current_time()
        for place in range(len(head)):
            await trio.sleep_until(begun_at + drips_s * place / (len(head) - 1))
            await self._send(head[place : place + 1])

    async def _send(self, data: bytes) -> None:
        """Send, unless nothing comes through any more."""
        if not self._is_silent():
            await self._stream.send_all(data)

    def _is_silent(self) -> bool:
        return trio.current_time() >= self._silent_from

    async def _play_body(
        self, script: Script, framing: Framing, seen: SeenRequest
    ) -> None:
        """Send the steps on the script's own timetable, counted from the head.

        A slow reader may hold a step up; the next ones do not wait longer for that.
        """
        breaks_at = _last_send(script) if _breaks_frame(script) else None
        due_at = trio.current_time()
        for place, step in enumerate(script.steps):
            if isinstance(step, Pause):
                due_at += step.seconds
            elif step.data:
                await sleep_until(due_at)
                is_whole = place != breaks_at
                await self._send(frame_bytes(step.data, framing, is_whole=is_whole))
                seen.bytes_sent += len(step.data)
        # A client may leave as soon as it has all: no checkpoint where nothing waits.
        if due_at > trio.current_time():
            await sleep_until(due_at)

    async def _leave(self) -> None:
        match self._parting:
            case Parting.RESET:
                await reset(self._stream)
            case Parting.CUT:
                await _transport(self._stream).aclose()
            case Parting.KEEP | Parting.DEAF | Parting.CLOSE:
                await self._stream.aclose()
            case _:
                assert_never(self._parting)


def _is_proper(behaviour: Behaviour) -> bool:
    """Say whether a behaviour is an answer that ends as it announced."""
    if not isinstance(behaviour, Script) or behaviour.ending is not Ending.CLEAN:
        return False
    is_as_long = behaviour.declared_length in (None, len(behaviour.body))
    is_last = behaviour.aftermath is not Aftermath.USUAL
    return is_as_long and not behaviour.stray and not is_last


def _after(aftermath: Aftermath) -> Parting:
    match aftermath:
        case Aftermath.USUAL:
            return Parting.KEEP
        case Aftermath.DEAF:
            return Parting.DEAF
        case Aftermath.GONE:
            return Parting.CLOSE


def _is_near(stream: trio.abc.Stream) -> bool:
    """Say whether the other end is on this machine."""
    transport = _transport(stream)
    if not isinstance(transport, trio.SocketStream | MemoryStream):
        return False
    try:
        host = str(transport.socket.getpeername()[0])
    except OSError:
        return False  # it has gone already
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def _is_short(script: Script) -> bool:
    """Say whether a body announces more than comes."""
    announced = script.declared_length
    return announced is not None and len(script.body) < announced


def _breaks_frame(script: Script) -> bool:
    return script.ending in (Ending.CUT, Ending.RESET)


def _last_send(script: Script) -> int | None:
    sends = [
        place
        for place, step in enumerate(script.steps)
        if isinstance(step, Send) and step.data
    ]
    return sends[-1] if sends else None


async def reset(stream: trio.abc.Stream) -> None:
    """End a connection with a reset, where the stream can; else just close it."""
    transport = _transport(stream)
    match transport:
        case MemoryStream():
            transport.reset()
        case trio.SocketStream():
            # To linger for no time at all is how a socket is told to reset.
            no_linger = struct.pack("ii", 1, 0)
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        case _:
            pass
    await trio.aclose_forcefully(transport)


def _transport(stream: trio.abc.Stream) -> trio.abc.Stream:
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
