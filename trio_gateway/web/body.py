"""The answer's way out: ASGI messages, and what is known of them afterwards."""

from typing import Final

import trio
from hypercorn.typing import ASGISendCallable

from trio_gateway.web.answers import Answer, Headers

# An error answer fits into the socket's buffer, unless the client has stopped reading
# whatever came before it on the same connection.
_ANSWER_S: Final = 30.0


def _nobody_is_there() -> None:
    """Nothing is done for this reply yet."""


class Reply:
    """One response. The relay's `Client` once its `head` is set.

    `abandon` cancels whatever is done for it; it is set by who runs that. The head goes
    with the first bytes; a reply that is not finished is an answer that broke, and the
    server then closes without a last chunk.
    """

    def __init__(self, send: ASGISendCallable) -> None:
        self._send = send
        self.abandon = _nobody_is_there
        self.head: Headers = ()  # of a 200
        self.status: int | None = None  # as sent
        self.bytes_out = 0
        self.is_ending = False  # all of it is with the server

    async def send(self, data: bytes) -> None:
        """Send bytes of the answer; the head goes with the first of them."""
        if self.status is None:
            await self._start(200, self.head)
        self.bytes_out += len(data)
        await self._send(
            {"type": "http.response.body", "body": data, "more_body": True}
        )

    async def finish(self, data: bytes = b"") -> None:
        """Send the last bytes and end the answer cleanly."""
        if self.status is None:
            await self._start(200, self.head)
        await self._end(data)

    async def refuse(self, answer: Answer, identity: Headers) -> None:
        """Send an error answer in full; a client that does not take it is left."""
        with trio.move_on_after(_ANSWER_S):
            await self._start(answer.status, (*answer.headers, *identity))
            await self._end(answer.body)

    async def _start(self, status: int, headers: Headers) -> None:
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": headers,
                "trailers": False,
            }
        )

    async def _end(self, data: bytes) -> None:
        # Servers report a disconnect as soon as the last message is out, even from
        # within this call: it says nothing about the client.
        self.is_ending = True
        self.bytes_out += len(data)
        await self._send(
            {"type": "http.response.body", "body": data, "more_body": False}
        )
