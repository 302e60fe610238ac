"""One watch for the hang-ups of all sockets.

A server that answers does not read, so it does not see its client leave. Most servers
pay for that with a task per connection, or a call per request. Linux tells it for
nothing: an epoll of our own, in which each socket is registered once, edge-triggered,
for EPOLLRDHUP alone, becomes readable when any of them is closed, reset or half-closed
by the other side, and for no other reason. One task waits for that. Where a farewell
may hide in the bytes, as in TLS, the watch also calls when some have come.

A departure that was there before its socket was added is told too. Bytes that a client
left behind do not hide it.
"""

import select
import sys
from collections.abc import Callable

import trio


class HangupWatch:
    """Calls back once when the other side of a socket leaves."""

    # macOS and Windows have other ways; there, sockets are read ahead as any stream.
    is_supported = sys.platform == "linux"

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._readers: dict[int, Callable[[], None]] = {}
        self._life = trio.CancelScope()

    def add(
        self,
        fd: int,
        on_hangup: Callable[[], None],
        *,
        on_bytes: Callable[[], None] | None = None,
    ) -> None:
        """Watch a socket, until `forget`; the callbacks must not raise.

        `on_bytes` must read all there is: it is called once for what comes at once.
        """
        events = select.EPOLLRDHUP | select.EPOLLET
        if on_bytes is not None:
            events |= select.EPOLLIN
        self._epoll.register(fd, events)
        self._callbacks[fd] = on_hangup
        if on_bytes is not None:
            self._readers[fd] = on_bytes

    def forget(self, fd: int) -> None:
        """Stop watching a socket; to be called before it is closed."""
        del self._callbacks[fd]
        self._readers.pop(fd, None)
        self._epoll.unregister(fd)

    async def run(self) -> None:
        """Watch until `stop`."""
        gone = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        try:
            with self._life:
                while True:
                    await trio.lowlevel.wait_readable(self._epoll.fileno())
                    for fd, events in self._epoll.poll(0):
                        if events & select.EPOLLIN:
                            self._readers[fd]()
                        if events & gone:
                            self._callbacks[fd]()
        finally:
            self._epoll.close()

    def stop(self) -> None:
        """End `run`; nothing may be watched any more."""
        self._life.cancel()
