"""One visit to a server over memory, in virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from tests.serving.http2.client import Client
from tests.serving.toy import Toy
from trio_gateway.serving.limits import Limits
from trio_gateway.serving.server import serve_stream

# Virtual seconds, longer than any test's story.
HANGS_S = 5000

Visit = Callable[[Client], Awaitable[None]]


async def visit(
    app: Toy,
    story: Visit,
    *,
    limits: Limits | None = None,
    lockstep: bool = False,
    reads: bool = True,
) -> None:
    pair = lockstep_stream_pair if lockstep else memory_stream_pair
    ours, theirs = pair()
    serve = partial(serve_stream, app, theirs, limits, kind="hypercorn")
    with trio.fail_after(HANGS_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            client = Client(ours, reads=reads)
            if not lockstep:
                await client.begin()
            await story(client)
            await ours.aclose()
