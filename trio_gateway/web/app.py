"""The two Quart-Trio apps: the clients' door and the operators'.

They share a gateway, the envelope of every error, and the fields of every answer. All
views are coroutines and quick; what takes time goes past Quart, through `connection`.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Never
from urllib.parse import urlsplit

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from trio_gateway.access.keys import Keyring
from trio_gateway.policy.route import AccessKey, Secret
from trio_gateway.web import answers, chat
from trio_gateway.web.answers import Answer, RefusedError
from trio_gateway.web.catalog import catalog, json_response
from trio_gateway.web.connection import InferenceApp, StrictConnection
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.operators import operators_pages
from trio_gateway.web.page import metrics_response
from trio_gateway.web.rights import key_of
from trio_gateway.web.targets import operators_targets
from trio_gateway.wire.headers import header, sane_request_id

# The views' bodies are short; Quart holds so much of one that comes anyway.
_BODY_BYTES_MAX: Final = 64 * 1024

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEALTH: Final = frozenset({"/livez", "/readyz"})


def create_app(gateway: Gateway) -> QuartTrio:
    """Make the app for clients."""
    app = plain_app(
        "trio_gateway.web",
        gateway.new_id,
        partial(_readiness, gateway),
        make=partial(InferenceApp, gateway),
    )
    app.register_blueprint(catalog(gateway))

    @app.post(chat.PATH)
    async def chat_completions() -> Never:
        """Let Quart know the path, for its 405 and OPTIONS."""
        raise AssertionError("served by the connection")

    return app


def create_admin_app(
    gateway: Gateway,
    *,
    bind_host: str = "127.0.0.1",
    hosts: Iterable[str] = (),
    key: Secret | None = None,
) -> QuartTrio:
    """Make the app for operators.

    Args:
        gateway: the one that clients use.
        bind_host: the address it listens on.
        hosts: other names that it may be called by, without a port.
        key: if given, all but the health checks want it as a bearer token.
    """
    app = plain_app(
        "trio_gateway.web.admin", gateway.new_id, partial(_readiness, gateway)
    )
    guard(
        app,
        {bind_host, *hosts},
        key,
        wall_clock=gateway.relay.wall_clock,
    )
    app.register_blueprint(operators_targets(gateway))
    app.register_blueprint(operators_pages(gateway))

    @app.get("/metrics")
    async def metrics() -> Response:
        view = await gateway.view(with_speeds=False)
        return await metrics_response(gateway.metrics.parts(view))

    return app


def guard(
    app: QuartTrio,
    hosts: Iterable[str],
    key: Secret | None,
    *,
    wall_clock: Callable[[], float],
) -> None:
    """Let nobody in but operators; `create_admin_app` says what the rules are."""
    known = {*_LOOPBACK, *map(_bracketed, hosts)}
    keyring = None if key is None else Keyring([_admin_key(key)])

    @app.before_request
    async def judge() -> None:
        """Keep out pages of other sites that a browser here has open, and strangers."""
        fields = request.scope["headers"]
        host = (header(fields, b"host") or b"").decode("latin-1").lower()
        if _without_port(host) not in known:
            raise RefusedError(answers.forbidden("host", "not a name of this server"))
        origin = header(fields, b"origin")
        if origin is not None and _authority(origin.decode("latin-1")) != host:
            raise RefusedError(answers.forbidden("origin", "another site's"))
        if keyring is None or request.path in _HEALTH:
            return
        if key_of(fields, keyring, wall_now=wall_clock()) is None:
            raise RefusedError(answers.unauthorized())


def _readiness(gateway: Gateway) -> Mapping[str, object]:
    if not gateway.is_ready:
        raise RefusedError(answers.draining())
    return {"status": "ready"}


def plain_app(
    name: str,
    new_id: Callable[[], str],
    readiness: Callable[[], Mapping[str, object]],
    *,
    make: Callable[..., QuartTrio] = QuartTrio,
) -> QuartTrio:
    """An app with the health checks, our envelope, and nothing of Quart's own.

    `readiness` is what `/readyz` says; it raises `RefusedError` where that is no.
    """
    app = make(name, static_folder=None, template_folder=None)
    app.asgi_http_class = StrictConnection
    app.config.update(
        RESPONSE_TIMEOUT=None,  # there is one judge of time, and it is not Quart
        BODY_TIMEOUT=None,
        MAX_CONTENT_LENGTH=_BODY_BYTES_MAX,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # a redirect would drop a client's key

    @app.get("/livez")
    async def livez() -> Response:
        return json_response({"status": "alive"})

    @app.get("/readyz")
    async def readyz() -> Response:
        return json_response(readiness())

    @app.errorhandler(RefusedError)
    async def refused(error: RefusedError) -> Response:
        return _response(error.answer)

    @app.errorhandler(HTTPException)
    async def wrong(error: HTTPException) -> Response:
        return _response(_answer_to(error, app))

    @app.after_request
    async def identify(response: Response) -> Response:
        given = sane_request_id(header(request.scope["headers"], b"x-request-id"))
        for field, value in answers.identity(given or new_id()):
            response.headers[field.decode()] = value.decode()
        return response

    return app


def _answer_to(error: HTTPException, app: QuartTrio) -> Answer:
    match error:
        case NotFound():
            return answers.not_found(_paths(app))
        case MethodNotAllowed():
            return answers.method_not_allowed(error.valid_methods or ())
        case RequestEntityTooLarge():
            return answers.payload_too_large(_BODY_BYTES_MAX)
        case HTTPException(code=int(code)) if code < 500:
            return answers.bad_request({"request": error.name})
        case _:
            return answers.internal_error()


def _response(answer: Answer) -> Response:
    fields = Headers((name.decode(), value.decode()) for name, value in answer.headers)
    return Response(answer.body, answer.status, fields)


def _paths(app: QuartTrio) -> list[str]:
    """The paths there are, as a person writes them."""
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    return sorted(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule) for rule in rules)


def _admin_key(key: Secret) -> AccessKey:
    digest = hashlib.sha256(key.reveal.encode()).digest()
    return AccessKey(name="admin", sha256=digest)


def _without_port(authority: str) -> str:
    return re.sub(r":\d*$", "", authority)


def _bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    host = host.lower()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _authority(origin: str) -> str | None:
    """The host and port of an `Origin`; None for one that has none (`null`)."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
