"""Where a request enters: chat completions go their own way, all else to Quart."""

from urllib.parse import urlsplit

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
)
from quart import Quart, Request
from quart_trio.asgi import TrioASGIHTTPConnection

from trio_gateway.web import chat
from trio_gateway.web.gateway import Gateway


class StrictConnection(TrioASGIHTTPConnection):
    """Quart's own, but a strange path or host is harmless, and HEAD gets no body."""

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

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        # No route depends on the host, but Quart would look at it, and raise at one
        # that no name can be. Who wants to judge it finds it in the scope.
        request.headers["Host"] = "localhost"
        return request


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
    """The path of a request's target, which may be a whole URL, `*`, or nonsense.

    It begins with one slash: Quart ignores further ones, and we must see what it sees.
    """
    if not target.startswith("/"):
        try:
            target = urlsplit(target).path
        except ValueError:
            target = ""
    return "/" + target.lstrip("/")
