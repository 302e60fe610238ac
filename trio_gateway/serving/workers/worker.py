"""The supervisor as a worker sees it: orders come, answers go, its end is our end."""

import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
)

from trio_gateway.serving.process import Drain, Shutdown
from trio_gateway.serving.workers.line import Line
from trio_gateway.serving.workers.messages import (
    Answer,
    Ask,
    Begin,
    EndNow,
    Failed,
    Farewell,
    Leave,
    Ready,
    Tell,
)
from trio_gateway.serving.workers.turns import Turn

# Rolling: long enough for a client that asks every second to ask once more on its
# connection, and to be told that it was the last time.
PARTING_S: Final = 2.0

# What others do to a whole group of processes is for the supervisor to understand.
_NOT_FOR_US: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

SIGNALS: Final = (signal.SIGTERM,)
"""What `serving.process.run` should listen to in a worker."""


class OrphanError(Exception):
    """There is no supervisor."""


class WorkerShutdown(Shutdown):
    """As the supervisor or a signal asks.

    Service managers signal every process. So a signal beside the supervisor's order to
    drain means the same; only a second signal means at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_signalled = False

    def request(self) -> None:
        """A signal came."""
        self.draining.set()
        if self._is_signalled:
            self.ending.set()
        self._is_signalled = True


class Boss:
    """The supervisor, at the other end of our line."""

    def __init__(self, line: Line, shutdown: Shutdown, drain: Drain) -> None:
        self._line = line
        self._shutdown = shutdown
        self._drain = drain
        self.listening = trio.Event()
        """To be set when clients are served."""

    async def farewell(self, words: bytes) -> None:
        """Say the last words."""
        await self._line.send(Farewell(words))

    async def obey(
        self, on_order: Callable[[object], Awaitable[None]], admin: ASGIFramework
    ) -> None:
        """Take orders until the line ends; then drain, for nobody else would say so."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_ready)
            while (message := await self._line.receive()) is not None:
                match message:
                    case Tell(order):
                        await on_order(order)
                    case Ask():
                        nursery.start_soon(self._answer, admin, message)
                    case Leave(do_others_serve):
                        self._leave(do_others_serve=do_others_serve)
                    case EndNow():
                        self._shutdown.draining.set()
                        self._shutdown.ending.set()
                    case _:
                        raise TypeError(f"{message!r} is no order")
            self._leave(do_others_serve=False)
            await trio.sleep_forever()

    async def _say_ready(self) -> None:
        await self.listening.wait()
        await self._line.send(Ready())

    def _leave(self, *, do_others_serve: bool) -> None:
        if do_others_serve:
            self._drain.notice_s, self._drain.parting_s = 0.0, PARTING_S
        self._shutdown.draining.set()

    async def _answer(self, admin: ASGIFramework, ask: Ask) -> None:
        status, body = await visit(admin, ask.path, ask.query)
        await self._line.send(Answer(ask.number, status, body))


async def visit(app: ASGIFramework, path: str, query: bytes) -> tuple[int, bytes]:
    """GET a page of an app in this process: its status and its body."""
    status, body, over = 500, b"", trio.Event()
    is_asked = False

    async def receive() -> ASGIReceiveEvent:
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: ASGISendEvent) -> None:
        nonlocal status, body
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body += message["body"]
            if not message.get("more_body"):
                over.set()

    scope: HTTPScope = {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
        "state": ConnectionState({}),
        "extensions": {},
    }
    await app(scope, receive, send)
    return status, body


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the supervisor leaves open for us: descriptors, and our place."""

    place: int
    line_fd: int
    places_fd: int
    socket_fds: tuple[int, ...]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Inherited":
        """Read the arguments that `child.Spawner` adds to a command."""
        place, line, places, *sockets = map(int, arguments)
        return cls(place, line, places, tuple(sockets))

    def turn(self) -> Turn:
        """Our turn among the workers."""
        return Turn(self.places_fd, self.place)

    def listeners(self) -> list[trio.SocketListener]:
        """The listening sockets that the supervisor has bound."""
        sockets = [socket.socket(fileno=fd) for fd in self.socket_fds]
        return [
            trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            for sock in sockets
        ]


async def begin(line_fd: int) -> tuple[Line, object]:
    """Ignore what is not for us, and take the first order.

    Raises:
        OrphanError: If the supervisor is gone before it gave one.
    """
    for number in _NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    sock = trio.socket.from_stdlib_socket(socket.socket(fileno=line_fd))
    line = Line(trio.SocketStream(sock))
    first = await line.receive()
    if not isinstance(first, Begin):
        raise OrphanError("the supervisor is gone")
    return line, first.order


async def fail(line: Line, why: str) -> None:
    """Say why there is nothing to be begun."""
    await line.send(Failed(why))
