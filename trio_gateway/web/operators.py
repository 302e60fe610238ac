"""The operators' pages of the policy and of what has just happened.

`/admin/policy` says which policy holds and what was refused since; `/admin/exchanges`
lists the last exchanges with their attempts; `/admin/explain/{model}` says what would
become of a request now, with the health that the targets have now.
"""

from collections.abc import Callable

import trio
from quart import Blueprint, Response, request

from trio_gateway.policy.explanation.explain import explain
from trio_gateway.policy.explanation.explain_text import as_json, as_text
from trio_gateway.policy.route import Policy
from trio_gateway.relay.record import ExchangeRecord, Outcome
from trio_gateway.telemetry.log import exchange_fields, iso
from trio_gateway.telemetry.recent import EXCHANGES_MAX
from trio_gateway.web import answers
from trio_gateway.web.answers import RefusedError
from trio_gateway.web.catalog import query_number
from trio_gateway.web.gateway import Gateway, PolicyNews, PolicyRefusal
from trio_gateway.web.nearest import near_to
from trio_gateway.web.page import page_response

_FILTERS = ("model", "outcome", "limit")
_FORMS = ("json", "text")


def operators_pages(gateway: Gateway) -> Blueprint:
    """Return the views of `/admin/policy`, `/admin/exchanges` and `/admin/explain`."""
    views = Blueprint("operators", __name__)

    @views.get("/admin/policy")
    async def policy() -> Response:
        return await page_response(policy_page(gateway.policy, gateway.news), depth=2)

    @views.get("/admin/exchanges")
    async def exchanges() -> Response:
        most = query_number("limit", default=EXCHANGES_MAX, most=EXCHANGES_MAX)
        records = gateway.recent.newest(most, where=_wanted())
        page = {"exchanges": list(map(exchange_fields, records))}
        return await page_response(page, depth=2)

    @views.get("/admin/explain/<path:model>")
    async def explanation(model: str) -> Response:
        route = gateway.policy.routes.get(model)
        if route is None:
            near = near_to(answers.shortened(model), gateway.policy.routes)
            raise RefusedError(answers.unknown_model(model, near))
        form = request.args.get("format", "json")
        if form not in _FORMS:
            why = f"must be one of {', '.join(_FORMS)}"
            raise RefusedError(answers.bad_request({"format": why}))
        told = explain(route, gateway.relay.fleet, trio.current_time())
        if form == "text":
            return Response(as_text(told) + "\n", mimetype="text/plain")
        return await page_response(as_json(told), depth=3)

    return views


def policy_page(policy: Policy, news: PolicyNews) -> dict[str, object]:
    """What `/admin/policy` says."""
    return {
        "revision": news.number,
        "hash": policy.revision,
        "loaded_at": iso(news.loaded_at),
        "source": news.source,
        "models": list(policy.routes),
        "changes": list(news.changes),
        "files_refused": news.are_files_refused,
        "last_refusal": _refusal(news.last_refusal),
    }


def _refusal(refusal: PolicyRefusal | None) -> dict[str, object] | None:
    if refusal is None:
        return None
    return {"at": iso(refusal.at), "report": list(refusal.report)}


def _wanted() -> Callable[[ExchangeRecord], bool]:
    """The condition that the query asks for."""
    unknown = sorted(set(request.args) - set(_FILTERS))
    if unknown:
        why = f"is no filter: there are {', '.join(_FILTERS)}"
        raise RefusedError(answers.bad_request({unknown[0]: why}))
    model, outcome = request.args.get("model"), request.args.get("outcome")
    if outcome is not None and outcome not in list(Outcome):
        why = f"must be one of {', '.join(Outcome)}"
        raise RefusedError(answers.bad_request({"outcome": why}))

    def is_wanted(record: ExchangeRecord) -> bool:
        return model in (None, record.model) and outcome in (None, record.outcome)

    return is_wanted
