"""The operators' door of several workers: one listener, one answer.

Reads are asked of every worker and merged; what an operator does is done in all of
them, and in those that start later. Who may come in, and how errors look, is as with
one process (`app`). It does not know how workers are reached.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from quart import Response, request
from quart_trio import QuartTrio

from trio_gateway.policy.route import Policy, Secret, Target
from trio_gateway.telemetry.exposition import Families
from trio_gateway.telemetry.recent import EXCHANGES_MAX
from trio_gateway.web import answers, merged
from trio_gateway.web.answers import RefusedError
from trio_gateway.web.app import guard, plain_app
from trio_gateway.web.gateway import PolicyNews
from trio_gateway.web.ids import Ids
from trio_gateway.web.operators import policy_page
from trio_gateway.web.page import metrics_response, page_response
from trio_gateway.web.targets import Action, action_of, body, found


class Reply(Protocol):
    """What a worker answered."""

    @property
    def status(self) -> int:
        """Its HTTP status."""

    @property
    def body(self) -> bytes:
        """Its body."""


class Crew(Protocol):
    """All workers of a supervisor."""

    @property
    def policy(self) -> Policy:
        """What holds: undivided."""

    @property
    def news(self) -> PolicyNews:
        """Where it came from."""

    @property
    def is_draining(self) -> bool:
        """Whether all is about to end."""

    def standing(self) -> "Standing":
        """How many serve."""

    async def ask(self, path: str, query: bytes) -> Sequence[tuple[int, Reply]]:
        """Ask all workers that serve; of those that answer in time, by number."""

    async def counted(self) -> Families:
        """What all workers have counted."""

    def act(self, target: Target, action: Action) -> None:
        """Do this with a target in all workers, and in those that start later."""

    def wall_clock(self) -> float:
        """Seconds since 1970 UTC."""


class Standing(Protocol):
    """How the workers are."""

    @property
    def ready(self) -> int:
        """How many serve."""

    @property
    def count(self) -> int:
        """How many should."""

    @property
    def looping(self) -> Sequence[int]:
        """Those that keep dying."""


def create_crew_app(
    crew: Crew, *, bind_host: str = "127.0.0.1", key: Secret | None = None
) -> QuartTrio:
    """Make the app for operators of several workers; see `create_admin_app`."""
    app = plain_app("trio_gateway.web.crew", Ids(), partial(_readiness, crew))
    guard(app, {bind_host}, key, wall_clock=crew.wall_clock)

    @app.get("/metrics")
    async def metrics() -> Response:
        return await metrics_response([await crew.counted()])

    @app.get("/admin/targets")
    async def targets() -> Response:
        return await page_response(
            merged.targets(await _ask(crew, "/admin/targets")), depth=3
        )

    @app.get("/admin/targets/<path:target_id>")
    async def target(target_id: str) -> Response:
        return await _target(crew, found(crew.policy, target_id))

    @app.post("/admin/targets/<path:target_id>")
    async def act(target_id: str) -> Response:
        target = found(crew.policy, target_id)
        crew.act(target, action_of(await body()))
        return await _target(crew, target)

    @app.get("/admin/policy")
    async def policy() -> Response:
        good = _good(await crew.ask("/admin/policy", b""))
        said = [(index, json.loads(body)) for index, body in good]
        page = policy_page(crew.policy, crew.news)
        return await page_response(merged.policy(page, said), depth=2)

    @app.get("/admin/exchanges")
    async def exchanges() -> Response:
        said = await _ask(crew, "/admin/exchanges", request.query_string)
        most = int(request.args.get("limit", EXCHANGES_MAX))  # they found it good
        return await page_response(merged.exchanges(said, most), depth=2)

    @app.get("/admin/explain/<path:model>")
    async def explanation(model: str) -> Response:
        path, query = f"/admin/explain/{model}", request.query_string
        if request.args.get("format") == "text":
            texts = merged.explanation_text(await _ask_plain(crew, path, query))
            return Response(texts, mimetype="text/plain")
        return await page_response(
            merged.explanation(await _ask(crew, path, query)), depth=3
        )

    return app


def _readiness(crew: Crew) -> Mapping[str, object]:
    if crew.is_draining:
        raise RefusedError(answers.draining())
    standing = crew.standing()
    workers = {
        "ready": standing.ready,
        "of": standing.count,
        "crash_loops": list(standing.looping),
    }
    if not standing.ready:
        raise RefusedError(answers.no_worker(workers))
    return {"status": "ready", "workers": workers}


async def _target(crew: Crew, target: Target) -> Response:
    said = await _ask(crew, f"/admin/targets/{target.id}")
    return await page_response(merged.target(said), depth=2)


async def _ask(crew: Crew, path: str, query: bytes = b"") -> merged.Said:
    """What all workers say in JSON; raises what `_ask_plain` does."""
    plain = await _ask_plain(crew, path, query)
    return [(index, json.loads(body)) for index, body in plain]


async def _ask_plain(
    crew: Crew, path: str, query: bytes
) -> Sequence[tuple[int, bytes]]:
    """What all workers say, as it came.

    Raises:
        RefusedError: With the first one's answer, if all of them refuse, or with ours,
            if there are none.
    """
    replies = await crew.ask(path, query)
    if said := _good(replies):
        return said
    if not replies:
        raise RefusedError(answers.no_worker({}))
    _, first = replies[0]
    raise RefusedError(answers.passed_on(first.status, first.body))


def _good(replies: Sequence[tuple[int, Reply]]) -> list[tuple[int, bytes]]:
    return [(index, reply.body) for index, reply in replies if reply.status == 200]
