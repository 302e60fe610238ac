"""A network inside one Trio process: byte streams with latency, bounds and resets.

A byte is stamped with its arrival when it is sent and waited for where it is received,
so latency needs no task and a run in virtual time is exact. Where the clock keeps
alarms (`chaos.clock`), a wait needs no cancel scope either. What is sent before a reset
still arrives before it, as it does over loopback on Linux. There are no sockets here,
and no host but those that somebody listens on.
"""

import errno
import itertools
import operator
import socket
from collections import deque
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Final

import trio

from trio_gateway.chaos.clock import LeapingClock, SetAlarm, sleep

# About what a kernel holds for a stream whose reader is slow.
BUFFER_BYTES: Final = 64 * 1024

# One read never returns more, whatever the caller allows.
RECEIVE_BYTES_MAX: Final = 64 * 1024

# Connections that wait to be accepted; the next one waits outside, like a lost SYN.
BACKLOG: Final = 128

# Where the ports begin that nobody chose: those of clients, and of `port=0`.
FIRST_FREE_PORT: Final = 49152

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MemorySocket:
    """As much of a socket as servers ask of one: who talks with whom."""

    sockname: Address
    peername: Address
    family: socket.AddressFamily = socket.AF_INET

    def getsockname(self) -> Address:
        """Say which address this end has."""
        return self.sockname

    def getpeername(self) -> Address:
        """Say which address the other end has."""
        return self.peername


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(
        self, *, incoming: "_Pipe", outgoing: "_Pipe", ends: MemorySocket
    ) -> None:
        self.socket = ends
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = _OneAtATime("another task is sending on this stream")
        self._receiving = _OneAtATime("another task is receiving from this stream")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; wait where the other end reads too slowly."""
        with self._sending:
            self._outgoing.check_writable()
            await trio.lowlevel.checkpoint()
            self._outgoing.check_writable()
            await self._outgoing.send(memoryview(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room for a byte."""
        with self._sending:
            self._outgoing.check_writable()
            await trio.lowlevel.checkpoint()
            await self._outgoing.wait_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what has arrived; `b""` is the end."""
        bound = RECEIVE_BYTES_MAX if max_bytes is None else operator.index(max_bytes)
        if bound < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            self._incoming.check_readable()
            await self._incoming.wait_arrival()
            return self._incoming.take(min(bound, RECEIVE_BYTES_MAX))

    async def send_eof(self) -> None:
        """Close this end's direction; the other one stays open."""
        with self._sending:
            if self.is_closed:
                raise trio.ClosedResourceError("this end is closed")
            await trio.lowlevel.checkpoint()
            self._outgoing.close_writer()

    async def aclose(self) -> None:
        """Close both directions; what was sent still arrives."""
        self._outgoing.close_writer()
        self._incoming.close_reader()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """End the connection at once: the other end gets an error, not an end."""
        self._outgoing.close_writer(is_reset=True)
        self._incoming.close_reader()

    def is_readable(self) -> bool:
        """Say whether something, if only an end, has arrived: how pools find stale."""
        return self._incoming.is_readable()

    @property
    def is_closed(self) -> bool:
        """Say whether this end has closed or reset the connection."""
        return self._incoming.is_reader_closed


class _Pipe:
    """One direction of a connection: what is under way from its writer to its reader.

    Three things travel besides bytes, each as the instant of its arrival: the end and
    the reset, to the reader; the news that nobody reads any more, to the writer.
    """

    def __init__(
        self, *, latency_s: float, buffer_bytes: int, set_alarm: SetAlarm | None
    ) -> None:
        self._latency_s = latency_s
        self._room = buffer_bytes
        self._set_alarm = set_alarm
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._end_at = inf
        self._reset_at = inf
        self._abandoned_at = inf
        self._is_writer_closed = False
        self.is_reader_closed = False
        self._reader = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()

    def check_writable(self) -> None:
        if self._is_writer_closed:
            raise trio.ClosedResourceError("this end is closed")
        if self._abandoned_at < inf and trio.current_time() >= self._abandoned_at:
            raise trio.BrokenResourceError("connection reset by peer")

    def check_readable(self) -> None:
        if self.is_reader_closed:
            raise trio.ClosedResourceError("this end is closed")

    async def send(self, data: memoryview) -> None:
        while data:
            await self.wait_room()
            piece, data = bytes(data[: self._room]), data[self._room :]
            # What nobody will read takes room as well, until the writer has heard.
            self._room -= len(piece)
            if not self.is_reader_closed:
                self._under_way.append((self._arrival(self._reader), piece))

    async def wait_room(self) -> None:
        self.check_writable()
        while self._room <= 0:
            await self._wait(self._writer, until=self._abandoned_at)
            self.check_writable()

    async def wait_arrival(self) -> None:
        """Wait until something is here, if only an end; a checkpoint in any case."""
        next_at = self._next_arrival()
        is_here = next_at <= trio.current_time()
        if is_here:
            await trio.lowlevel.checkpoint()
            self.check_readable()
        while not is_here:
            await self._wait(self._reader, until=next_at)
            self.check_readable()
            next_at = self._next_arrival()
            is_here = next_at <= trio.current_time()

    def take(self, max_bytes: int) -> bytes:
        """Take the first of what is here; nothing, where that is the end."""
        now = trio.current_time()
        if not self._under_way or self._under_way[0][0] > now:
            if now >= self._reset_at:
                raise trio.BrokenResourceError("connection reset by peer")
            return b""
        arrival, data = self._under_way.popleft()
        if len(data) > max_bytes:
            self._under_way.appendleft((arrival, data[max_bytes:]))
            data = data[:max_bytes]
        self._room += len(data)
        self._writer.unpark_all()
        return data

    def is_readable(self) -> bool:
        return self._next_arrival() <= trio.current_time()

    def _next_arrival(self) -> float:
        first = self._under_way[0][0] if self._under_way else inf
        return min(first, self._end_at, self._reset_at)

    def close_writer(self, *, is_reset: bool = False) -> None:
        """Let an end, or a reset, follow what was sent."""
        self._is_writer_closed = True
        if is_reset:
            self._reset_at = min(self._reset_at, self._arrival(self._reader))
        else:
            self._end_at = min(self._end_at, self._arrival(self._reader))
        self._writer.unpark_all()

    def close_reader(self) -> None:
        """Lose what is under way, and let the writer know in time."""
        if not self.is_reader_closed:
            self.is_reader_closed = True
            self._abandoned_at = self._arrival(self._writer)
            self._under_way.clear()
            self._reader.unpark_all()

    def _arrival(self, who: trio.lowlevel.ParkingLot) -> float:
        """When what sets out now will be there; let know who waits for it."""
        at = trio.current_time() + self._latency_s
        if self._latency_s and self._set_alarm is not None:
            self._set_alarm(at, who.unpark_all)
        else:
            who.unpark_all()  # to wait no longer than until then
        return at

    async def _wait(self, lot: trio.lowlevel.ParkingLot, *, until: float) -> None:
        """Park until woken or, where no alarm does that in time, until an instant."""
        if self._set_alarm is not None:
            await lot.park()
            return
        with trio.move_on_at(until):
            await lot.park()


class _OneAtATime:
    """Refuses a second task where one is already at work, as Trio's streams do."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._is_busy = False

    def __enter__(self) -> None:
        if self._is_busy:
            raise trio.BusyResourceError(self._complaint)
        self._is_busy = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_busy = False


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """Accepts the connections made to one address."""

    def __init__(self, network: "MemoryNetwork", address: Address) -> None:
        self.address = address
        self._network = network
        self._waiting, self._arriving = trio.open_memory_channel[MemoryStream](BACKLOG)
        self._is_closed = False

    async def accept(self) -> MemoryStream:
        """Wait for the next connection."""
        if self._is_closed:
            raise trio.ClosedResourceError("this listener was closed")
        return await self._arriving.receive()

    async def deliver(self, stream: MemoryStream) -> None:
        """Bring a connection; wait where too many others wait to be accepted."""
        try:
            await self._waiting.send(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise _refused(self.address) from None

    async def aclose(self) -> None:
        """Refuse all further connections, and those not accepted yet."""
        if not self._is_closed:
            self._is_closed = True
            self._network.forget(self.address)
            self._reset_waiting()
            self._waiting.close()
            self._arriving.close()
        await trio.lowlevel.checkpoint()

    def _reset_waiting(self) -> None:
        while True:
            try:
                self._arriving.receive_nowait().reset()
            except trio.WouldBlock:
                return


class MemoryNetwork:
    """Hosts and ports of one process, and the connections between them.

    `connect` is a `relay.port.Connect`: a client of the network that takes one runs on
    this instead of on sockets. A connection takes one round trip to make.
    """

    def __init__(
        self, *, latency_s: float = 0.0, buffer_bytes: int = BUFFER_BYTES
    ) -> None:
        self._latency_s = latency_s
        self._buffer_bytes = buffer_bytes
        self._listeners: dict[Address, MemoryListener] = {}
        self._hosts: set[str] = set()
        self._black_holes: set[Address] = set()
        self._free_ports = itertools.count(FIRST_FREE_PORT)

    def listen(self, host: str, port: int = 0) -> MemoryListener:
        """Listen at an address; port 0 takes a free one.

        Raises:
            OSError: somebody listens there already.
        """
        address = (host, port or next(self._free_ports))
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{host}:{port} is in use")
        listener = self._listeners[address] = MemoryListener(self, address)
        self._hosts.add(host)
        return listener

    def swallow(self, host: str, port: int) -> None:
        """Make an address a black hole: connections to it are never made."""
        self._hosts.add(host)
        self._black_holes.add((host, port))

    def forget(self, address: Address) -> None:
        """Refuse connections to an address from now on; the host stays known."""
        self._listeners.pop(address, None)

    async def connect(self, host: str, port: int) -> MemoryStream:
        """Connect to a listener.

        Raises:
            OSError: no such host, or nobody listens on that port.
        """
        if host not in self._hosts:
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(socket.EAI_NONAME, f"no such host: {host}")
        if (host, port) in self._black_holes:
            await trio.sleep_forever()
        await sleep(2 * self._latency_s)
        listener = self._listeners.get((host, port))
        if listener is None:
            raise _refused((host, port))
        near, far = self.stream_pair(
            near=("127.0.0.1", next(self._free_ports)), far=listener.address
        )
        await listener.deliver(far)
        return near

    def stream_pair(
        self, *, near: Address, far: Address
    ) -> tuple[MemoryStream, MemoryStream]:
        """Make a connection that nobody listened for."""
        clock = trio.lowlevel.current_clock()
        set_alarm = clock.set_alarm if isinstance(clock, LeapingClock) else None
        there, back = (
            _Pipe(
                latency_s=self._latency_s,
                buffer_bytes=self._buffer_bytes,
                set_alarm=set_alarm,
            )
            for _ in range(2)
        )
        return (
            MemoryStream(incoming=back, outgoing=there, ends=MemorySocket(near, far)),
            MemoryStream(incoming=there, outgoing=back, ends=MemorySocket(far, near)),
        )


def _refused(address: Address) -> ConnectionRefusedError:
    host, port = address
    return ConnectionRefusedError(
        errno.ECONNREFUSED, f"nobody listens on {host}:{port}"
    )
