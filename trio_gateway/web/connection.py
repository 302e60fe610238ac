"""Where a request enters: chat completions go their own way, all else to Quart."""

from typing import Any
from urllib.parse import urlsplit

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)
from quart import Quart, Request
from quart_trio import QuartTrio
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


class InferenceApp(QuartTrio):
    """Quart's app, past which chat completions go from its ASGI entry on."""

    def __init__(self, gateway: Gateway, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._gateway = gateway

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one request, to the last byte of its answer."""
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and _is_for_chat(scope["path"])
        ):
            await chat.serve_chat(self._gateway, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _is_for_chat(target: str) -> bool:
    return target == chat.PATH or _path(target).rstrip("/") == chat.PATH


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
