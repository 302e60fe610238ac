"""Where a request enters: chat completions go their own way, all else to Quart."""

from urllib.parse import urlsplit

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
)
from quart import Quart
from quart_trio.asgi import TrioASGIHTTPConnection

from trio_gateway.web import chat
from trio_gateway.web.gateway import Gateway


class StrictConnection(TrioASGIHTTPConnection):
    """Quart's own, but every path is one, and no answer to HEAD has a body."""

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, {**scope, "path": _path(scope["path"])})

    async def __call__(
        self, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request."""

        async def send_without_body(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        is_head = self.scope["method"] == "HEAD"
        await super().__call__(receive, send_without_body if is_head else send)


def connection_to(gateway: Gateway) -> type[TrioASGIHTTPConnection]:
    """Make the class of connections of a gateway's app."""

    class Connection(StrictConnection):
        """One request's own scope."""

        async def __call__(
            self, receive: ASGIReceiveCallable, send: ASGISendCallable
        ) -> None:
            """Serve one request, to the last byte of its answer."""
            path = self.scope["path"].rstrip("/")
            if self.scope["method"] == "POST" and path == chat.PATH:
                await chat.serve_chat(gateway, self.scope, receive, send)
            else:
                await super().__call__(receive, send)

    return Connection


def _path(target: str) -> str:
    """The path of a request's target, which may be a whole URL, `*`, or nonsense."""
    if target.startswith("/"):
        return target
    try:
        return "/" + urlsplit(target).path.removeprefix("/")
    except ValueError:
        return "/"
