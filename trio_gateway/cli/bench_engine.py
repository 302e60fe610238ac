"""`trio-gateway bench engine`: what deciding costs, beside what reading JSON costs.

A request without trouble is driven through the engine and its fleet, without a network
and without a clock: start, first token, end. What that takes depends on the machine,
so it is told as a multiple of parsing and writing one request of half a kilobyte in
the same run, which every gateway does anyway.
"""

import json
from random import Random
from time import thread_time
from typing import Final

import click

from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import AnswerEnded, Opened
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.load import read_policy
from trio_gateway.policy.resolve import resolve
from trio_gateway.policy.route import Route

_POLICY: Final = b"""
version: 1
providers:
  one: {base_url: "http://one.invalid/v1"}
  two: {base_url: "http://two.invalid/v1"}
  three: {base_url: "http://three.invalid/v1"}
access_keys: [{name: bench, key: "${KEY}"}]
models:
  bench:
    targets:
      - {provider: one, model: bench}
      - {provider: two, model: bench}
      - {provider: three, model: bench}
"""
_REQUEST: Final = {
    "model": "bench",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. Answer briefly."},
        {"role": "user", "content": "What is a circuit breaker, in one sentence?"},
        {
            "role": "assistant",
            "content": "It stops asking a service that fails, and tries it later.",
        },
        {"role": "user", "content": "And how does it know when to try again?"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.7,
    "top_p": 1.0,
    "max_tokens": 256,
    "user": "a-user-of-some-application",
}

# CPU time, one after the other in many short rounds; the quickest round of each
# counts. What disturbs a machine for a moment disturbs some rounds only.
_ROUNDS: Final = 100
_REQUESTS: Final = 100  # in each round
_ARRIVAL_S: Final = 0.05
_FIRST_TOKEN_S: Final = 0.7
_ANSWER_S: Final = 2.5


@click.command("engine")
@click.option("--json", "is_json", is_flag=True, help="One line for programs.")
def bench_engine(*, is_json: bool) -> None:
    """Measure what the engine adds to a request without trouble.

    Three targets are well, the first of them answers. Measured are its choice, all
    that the engine is told and says, and what the fleet remembers of it.

    \b
    Examples:
      trio-gateway bench engine
      trio-gateway bench engine --json
    """  # noqa: D301 - click's mark of lines to be kept is the character itself
    parsing_s, deciding_s = _measure()
    multiple = deciding_s / parsing_s
    if is_json:
        found = {
            "benchmark": "engine",
            "parsing_us": round(parsing_s * 1e6, 2),
            "deciding_us": round(deciding_s * 1e6, 2),
            "multiple": round(multiple, 2),
        }
        click.echo(json.dumps(found))
        return
    size = len(json.dumps(_REQUEST))
    click.echo(f"parse and write a request of {size} bytes {parsing_s * 1e6:8.1f} us")
    click.echo(f"decide about one                      {deciding_s * 1e6:8.1f} us")
    click.echo(f"multiple                              {multiple:8.2f}")


def _measure() -> tuple[float, float]:
    """The seconds that parsing and deciding take, for each request."""
    sources = [("bench.yaml", _POLICY)]
    policy = read_policy(sources, environ={"KEY": "bench"}, root="bench")
    load = _Load(resolve(policy, revision="").routes["bench"])
    body = json.dumps(_REQUEST)
    parsing_s, deciding_s = [], []
    for _ in range(_ROUNDS):
        began_at = thread_time()
        for _ in range(_REQUESTS):
            json.dumps(json.loads(body))
        parsed_at = thread_time()
        load.run(_REQUESTS)
        decided_at = thread_time()
        parsing_s.append(parsed_at - began_at)
        deciding_s.append(decided_at - parsed_at)
    return min(parsing_s) / _REQUESTS, min(deciding_s) / _REQUESTS


class _Load:
    """Requests without trouble, one after the other."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._fleet = Fleet(Random("bench"))
        self._wish = Wish(is_stream=True, max_tokens=256, request_bytes=600)
        self._now = 0.0

    def run(self, count: int) -> None:
        """Drive so many from their start to their end."""
        for number in range(count):
            now = self._now = self._now + _ARRIVAL_S
            engine = Engine(
                self._route, self._fleet, self._wish, ticket=number, random_for=Random
            )
            engine.start(now)
            engine.advance(Opened(1), now + _FIRST_TOKEN_S)
            engine.advance(AnswerEnded(1), now + _ANSWER_S)
