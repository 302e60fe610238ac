"""What there is to ask for, and whose it is: models, and the providers behind them.

Every list holds only what the request's key may use. Of a provider it tells a name and
a kind, never an address or a credential.
"""

import json
import math
from collections.abc import Sequence
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from quart import Blueprint, Response, request

from trio_gateway.policy.route import AccessKey, Account, Policy, Route
from trio_gateway.web import answers
from trio_gateway.web.answers import Answer, RefusedError
from trio_gateway.web.gateway import Gateway
from trio_gateway.web.rights import key_of, route_of, routes_of

# OpenAI's clients want to know when a model was made. A policy does not say, and an
# invented time would differ between workers.
_CREATED: Final = 0

# A page is never larger, so that no client can ask for everything at once.
PAGE_SIZE_MAX: Final = 1000
_PAGE_SIZE: Final = 100

# Slugs may hold slashes, ids may not. The same slug has the same id everywhere.
_MODEL_IDS: Final = uuid5(NAMESPACE_URL, "trio-gateway:model")


def catalog(gateway: Gateway) -> Blueprint:
    """Return the views of the catalog."""
    views = Blueprint("catalog", __name__)

    @views.get("/v1/models")
    async def models() -> Response:
        policy, key = _entered(gateway)
        listed = [_openai_model(route) for route in routes_of(policy, key)]
        return json_response({"object": "list", "data": listed})

    @views.get("/v1/models/<path:slug>")
    async def model(slug: str) -> Response:
        policy, key = _entered(gateway)
        return json_response(_openai_model(_found(route_of(policy, key, slug))))

    @views.get("/v1/router/models")
    async def router_models() -> Response:
        policy, key = _entered(gateway)
        return _page([_router_model(route) for route in routes_of(policy, key)])

    @views.get("/v1/router/models/<path:model_id>/providers")
    async def providers(model_id: str) -> Response:
        policy, key = _entered(gateway)
        by_id = {model_id_of(slug): slug for slug in policy.routes}
        route = _found(route_of(policy, key, by_id.get(model_id, model_id)))
        return _page(_providers_of(route))

    return views


def model_id_of(slug: str) -> str:
    """Return the id that the catalog gives to a model."""
    return str(uuid5(_MODEL_IDS, slug))


def json_response(body: object, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(json.dumps(body), status, content_type="application/json")


def _entered(gateway: Gateway) -> tuple[Policy, AccessKey]:
    policy = gateway.policy
    now = gateway.relay.wall_clock()
    key = key_of(request.scope["headers"], gateway.keyring, wall_now=now)
    if key is None:
        raise RefusedError(answers.unauthorized())
    return policy, key


def _found(route: Route | Answer) -> Route:
    if isinstance(route, Answer):
        raise RefusedError(route)
    return route


def _openai_model(route: Route) -> dict[str, object]:
    return {
        "id": route.slug,
        "object": "model",
        "created": _CREATED,
        "owned_by": "trio-gateway",
    }


def _router_model(route: Route) -> dict[str, object]:
    return {"id": model_id_of(route.slug), "slug": route.slug, "name": route.name}


def _providers_of(route: Route) -> list[dict[str, object]]:
    """Each provider that may be sent the model's requests, and its models for them."""
    models: dict[str, list[str]] = {}
    accounts: dict[str, Account] = {}
    for target in (*route.targets, *route.context_chain):
        accounts[target.account.name] = target.account
        listed = models.setdefault(target.account.name, [])
        if target.model not in listed:
            listed.append(target.model)
    return [
        {"id": name, "name": name, "kind": account.kind, "models": models[name]}
        for name, account in accounts.items()
    ]


def _page(entries: Sequence[object]) -> Response:
    page = query_number("page", default=1, most=10**9)
    size = query_number("page_size", default=_PAGE_SIZE, most=PAGE_SIZE_MAX)
    start = (page - 1) * size
    return json_response(
        {
            "data": entries[start : start + size],
            "pagination": {
                "page": page,
                "page_size": size,
                "page_count": math.ceil(len(entries) / size),
                "total_count": len(entries),
            },
        }
    )


def query_number(name: str, *, default: int, most: int) -> int:
    """Return a number of the request's query, from 1 to `most`."""
    text = request.args.get(name)
    if text is None:
        return default
    is_short = len(text) <= len(str(most))
    if is_short and text.isascii() and text.isdigit() and 1 <= int(text) <= most:
        return int(text)
    why = f"must be a whole number from 1 to {most}"
    raise RefusedError(answers.bad_request({name: why}))
