"""The demo: two simulated providers on loopback, and how to watch them fail over."""

import json
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Final

import trio

from trio_gateway.access.keys import Keyring, may_use
from trio_gateway.chaos.provider.server import serve_provider
from trio_gateway.chaos.vocabulary.answers import Pace
from trio_gateway.chaos.worlds.presets import PRESETS
from trio_gateway.policy.route import Policy

# It opens nothing but this demo, on loopback.
DEMO_KEY: Final = "demo"
# About a real model's pace, so that a stream is seen to flow.
_PACE: Final = Pace(tokens=24, first_token_s=0.15, gap_s=0.02)


async def start_providers(nursery: trio.Nursery) -> Mapping[str, str]:
    """Start both providers in a nursery; return the variables that a policy needs."""
    flaky = partial(serve_provider, name="flaky", faults=PRESETS["flaky"].faults)
    steady = partial(serve_provider, name="steady")
    ports = [
        await nursery.start(partial(provider, port=0, pace=_PACE))
        for provider in (flaky, steady)
    ]
    return {
        "DEMO_FLAKY_URL": f"http://127.0.0.1:{ports[0]}",
        "DEMO_STEADY_URL": f"http://127.0.0.1:{ports[1]}",
        "DEMO_KEY": DEMO_KEY,
    }


def explain(clients: str, policy: Policy, *, wall_now: float) -> list[str]:
    """Say how to try it, whichever policy it is that is served."""
    demo = Keyring(policy.access_keys).find(f"Bearer {DEMO_KEY}", wall_now=wall_now)
    usable = [
        slug for slug in policy.routes if demo is not None and may_use(demo, slug)
    ]
    bearer, whose = f"'authorization: Bearer {DEMO_KEY}'", "a few times:"
    if not usable:
        bearer, whose = '"authorization: Bearer $KEY"', "with one of the policy's keys:"
    body = json.dumps(
        {
            "model": next(iter(usable or policy.routes)),
            "messages": [{"role": "user", "content": "Where is my refund?"}],
        }
    )
    curl = (
        f"curl {clients}/v1/chat/completions -H {bearer} "
        f"-H 'content-type: application/json' -d {shlex.quote(body)}"
    )
    return [
        "two simulated providers run: 'flaky' fails half of its requests, 'steady'",
        f"does not. Paste this into another terminal, {whose}",
        "",
        curl,
        "",
        'add "stream": true to see it flow; each request is told here as it ends:',
    ]
