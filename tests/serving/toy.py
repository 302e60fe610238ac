"""A small ASGI app whose paths are the situations that a server must get right."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Handler = Callable[[Receive, Send], Awaitable[None]]

KIB_64 = b"x" * 65536


class Toy:
    """Call it as an ASGI app; afterwards it can say what its requests went through."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.started = trio.Event()
        self.ended = trio.Event()
        self.may_answer = trio.Event()
        self.lifespan: list[str] = []
        self.ways: dict[str, Handler] = {}  # in place of the `at_` of a name

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self.seen.append(f"{scope['method']} {scope['path']}")
        self.started.set()
        try:
            name = scope["path"].strip("/*")
            usual: Handler = getattr(self, f"at_{name}", self.at_nothing)
            await self.ways.get(name, usual)(receive, send)
        finally:
            self.ended.set()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            self.lifespan.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def at_(self, receive: Receive, send: Send) -> None:
        await answer(send, b"root")

    async def at_nothing(self, receive: Receive, send: Send) -> None:
        await answer(send, b"nothing here", status=404)

    async def at_hi(self, receive: Receive, send: Send) -> None:
        await answer(send, b"hi")

    async def at_slow(self, receive: Receive, send: Send) -> None:
        await trio.sleep(0.01)
        await answer(send, b"slow")

    async def at_early(self, receive: Receive, send: Send) -> None:
        """Answers without asking for the body."""
        await answer(send, b"no", status=413)

    async def at_afterwards(self, receive: Receive, send: Send) -> None:
        """Answers, and asks what comes then."""
        await whole_body(receive)
        await answer(send, b"hi")
        self.seen.append((await receive())["type"])

    async def at_talks_first(self, receive: Receive, send: Send) -> None:
        """Answers in part, and only then asks for the body."""
        await begin(send)
        await part(send, b"a")
        await part(send, await whole_body(receive), more=False)

    async def at_late_answer(self, receive: Receive, send: Send) -> None:
        """Answers when the test says so, without having asked for the body."""
        await self.may_answer.wait()
        await answer(send, b"no", status=413)

    async def at_busy(self, receive: Receive, send: Send) -> None:
        """Streams without a pause, as a framework does."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_disconnect(receive)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await begin(send)
            while True:
                await part(send, b"data: x\n\n")
                await trio.lowlevel.checkpoint()

    async def at_echo(self, receive: Receive, send: Send) -> None:
        await answer(send, b"%d" % len(await whole_body(receive)))

    async def at_wait(self, receive: Receive, send: Send) -> None:
        """Works for ever, unless the client leaves."""
        await whole_body(receive)
        await until_disconnect(receive)
        self.seen.append("disconnect")

    async def at_stream(self, receive: Receive, send: Send) -> None:
        """Streams as a framework does: its own nursery, cancelled on a disconnect."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_disconnect(receive)
                self.seen.append("disconnect")
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await begin(send)
            while True:
                await part(send, b"data: x\n\n")
                await trio.sleep(0.02)

    async def at_three(self, receive: Receive, send: Send) -> None:
        await begin(send)
        for _ in range(3):
            await part(send, b"x")
            await trio.sleep(0.3)
        await part(send, b"", more=False)

    async def at_framework(self, receive: Receive, send: Send) -> None:
        """Ends as a framework does: it is cancelled at its last send's disconnect."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_disconnect(receive)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await answer(send, b"hi")
            nursery.cancel_scope.cancel()

    async def at_flood(self, receive: Receive, send: Send) -> None:
        """Sends as fast as the client takes it, and watches for its departure."""
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_disconnect(receive)
                self.seen.append("disconnect")
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await begin(send)
            while True:
                await part(send, KIB_64)

    async def at_blind_flood(self, receive: Receive, send: Send) -> None:
        await begin(send)
        while True:
            await part(send, KIB_64)

    async def at_deadline(self, receive: Receive, send: Send) -> None:
        """Gives a client that does not read half a second."""
        await begin(send)
        with trio.move_on_after(0.5):
            while True:
                await part(send, KIB_64)
        self.seen.append("deadline")

    async def at_cut(self, receive: Receive, send: Send) -> None:
        await begin(send)
        await part(send, b"half")

    async def at_bug(self, receive: Receive, send: Send) -> None:
        raise KeyError("a secret")

    async def at_late_bug(self, receive: Receive, send: Send) -> None:
        await begin(send)
        await part(send, b"half")
        raise KeyError("a secret")


async def begin(
    send: Send, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def part(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def answer(send: Send, body: bytes, *, status: int = 200) -> None:
    length = (b"content-length", b"%d" % len(body))
    await begin(send, status=status, headers=(length,))
    await part(send, body, more=False)


async def whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def request(
    path: str = "/hi", *fields: str, method: str = "GET", body: bytes = b""
) -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", *fields]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
