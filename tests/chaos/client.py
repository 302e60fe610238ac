"""A client that reads one answer from a byte stream and says exactly how it ended."""

from dataclasses import dataclass

import httptools
import trio

from trio_gateway.chaos.upstream import ScriptedStream, ScriptedUpstream
from trio_gateway.chaos.vocabulary.script import Behaviour
from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Account, ProviderKind
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.letterhead import Letterhead
from trio_gateway.relay.port import Call

# How long a client waits for the next byte before it says that all is silent.
PATIENCE_S = 1000.0


@dataclass(frozen=True, slots=True)
class Got:
    """What a client got.

    `ending` is whole, cut, reset, silent or refused (there was no connection).
    """

    status: int | None
    headers: dict[str, str]
    body: bytes
    ending: str


def a_request(
    body: bytes, *, path: str = "/v1/chat/completions", method: str = "POST"
) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: provider\r\nauthorization: Bearer k\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Reader:
    """Reads answers from one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._start()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._has_head = self._is_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._is_whole = True

    async def read(self, *, silent_after: int | None = None) -> Got:
        """Read an answer; if silence is expected after some bytes, wait little for it.

        So real clocks need not be patient, and bytes that come late are not missed.
        """
        self._start()
        ending = "silent"
        while not self._is_whole:
            is_over = silent_after is not None and len(self._body) >= silent_after
            try:
                with trio.fail_after(0.2 if is_over else PATIENCE_S):
                    data = await self._stream.receive_some(65536)
            except trio.TooSlowError:
                break
            except trio.BrokenResourceError:
                ending = "reset"
                break
            if not data:
                ending = "whole" if self._is_close_delimited() else "cut"
                break
            self._parser.feed_data(bytes(data))
        if self._is_whole:
            ending = "whole"
        status = self._parser.get_status_code() if self._has_head else None
        return Got(status, self._headers, bytes(self._body), ending)

    def _is_close_delimited(self) -> bool:
        framed = {"content-length", "transfer-encoding"} & self._headers.keys()
        return self._has_head and not framed


def a_call(body: bytes = b"{}", *, account: str = "a", connect_by: float = 10) -> Call:
    return Call(
        account=Account(
            name=account,
            kind=ProviderKind.OPENAI,
            base_url="http://provider/v1",
            api_key=None,
            failure_domain=account,
        ),
        path="/chat/completions",
        letterhead=Letterhead(()),
        fields=(),
        body=body,
        connect_by=connect_by,
        leash=Leash(),
    )


ENDINGS = {
    "connection refused": "refused",
    "name not resolved": "refused",
    "not connected in time": "refused",
    "closed without an answer": "cut",
    "connection reset": "reset",
    "body cut": "cut",
}


async def read_behind_the_port(behaviour: Behaviour) -> Got:
    """Get what a behaviour gives through the in-memory upstream."""
    upstream = ScriptedUpstream(lambda _: behaviour)
    with trio.move_on_after(PATIENCE_S) as scope:
        opened = await upstream.open(a_call())
    if scope.cancelled_caught:
        return Got(None, {}, b"", "silent")
    if isinstance(opened, Failure):
        return Got(None, {}, b"", ENDINGS[opened.cause])
    body, ending = await _read_to_the_end(opened)
    await opened.aclose()
    headers = {name.decode(): value.decode() for name, value in opened.headers}
    return Got(opened.status, headers, body, ending)


async def _read_to_the_end(stream: ScriptedStream) -> tuple[bytes, str]:
    body = b""
    while True:
        with trio.move_on_after(PATIENCE_S) as scope:
            piece = await stream.receive()
        if scope.cancelled_caught:
            return body, "silent"
        if isinstance(piece, Failure):
            return body, ENDINGS[piece.cause]
        if not piece:
            return body, "whole"
        body += piece
