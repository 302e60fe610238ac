"""The yardstick: a relay with failover, written as one would write it first.

Quart-Trio on Hypercorn, with httpx. It has no deadlines, no health, no retries, no log
and no metrics, and trusts its upstream; everything that it leaves out makes it faster.
"""

import os
import resource
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

from trio_gateway.bench.loads import FAILOVERS

app = QuartTrio(__name__)
limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
client = httpx.AsyncClient(timeout=60, limits=limits)
upstream = os.environ.get("MOCK_URL", "") + "/v1/chat/completions"
credentials = {"authorization": "Bearer " + os.environ.get("MOCK_KEY", "")}


@app.post("/v1/chat/completions")
async def chat() -> Response | tuple[dict[str, Any], int]:
    """Ask a model's targets in turn, and pass on what the first good one says."""
    if request.headers.get("authorization") != "Bearer " + os.environ["BENCH_KEY"]:
        return {"error": {"message": "Unauthorized"}}, 401
    body = await request.get_json()
    for target in FAILOVERS.get(body["model"], (body["model"],)):
        body["model"] = target
        asked = client.build_request("POST", upstream, json=body, headers=credentials)
        answer = await client.send(asked, stream=True)
        if answer.is_success:
            break
        await answer.aread()
    content_type = answer.headers["content-type"]
    if not body.get("stream"):
        whole = await answer.aread()
        return Response(whole, answer.status_code, content_type=content_type)

    async def relayed() -> AsyncIterator[bytes]:
        try:
            async for piece in answer.aiter_raw():
                yield piece
        finally:
            await answer.aclose()

    response = Response(relayed(), answer.status_code, content_type=content_type)
    response.timeout = None
    return response


def main() -> None:
    """Serve on an inherited socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    config = Config()
    config.bind = [f"fd://{sys.argv[1]}"]
    trio.run(serve, app, config)


if __name__ == "__main__":
    main()
