"""What deciding about a request costs, in calls: a count is the same on every machine.

Whoever needs more than this has a reason to say, and raises the number with it.
"""

import sys
from collections.abc import Callable
from random import Random
from statistics import median
from types import FrameType

import pytest

from tests.factories import a_route
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import AnswerEnded, AttemptFailed, Event, Opened
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route

WISH = Wish(is_stream=True, max_tokens=256, request_bytes=600)
GOOD = (Opened(1), AnswerEnded(1))
FAILED_OVER = (
    AttemptFailed(1, Failure(FailureClass.OVERLOADED, "status 503", 503)),
    Opened(2),
    AnswerEnded(2),
)


def calls_in(act: Callable[[], object]) -> int:
    """How many functions are called, Python's own included."""
    calls = 0

    def note(_frame: FrameType, what: str, _of: object) -> None:
        nonlocal calls
        calls += what in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return calls


class Clients:
    """Requests of one route, one after the other."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.fleet = Fleet(Random("cost"))
        self.now = 0.0

    def ask(self, events: tuple[Event, ...]) -> None:
        self.now += 0.05
        engine = Engine(self.route, self.fleet, WISH, ticket=1, random_for=Random)
        engine.start(self.now)
        for event in events:
            engine.advance(event, self.now + 0.5)


@pytest.mark.parametrize(
    ("targets", "events", "calls_max"),
    [("a", GOOD, 127), ("abc", GOOD, 136), ("ab", FAILED_OVER, 281)],
    ids=["one target", "three targets", "the first of two fails"],
)
def test_deciding_stays_as_cheap_as_it_is(
    targets: str, events: tuple[Event, ...], calls_max: int
) -> None:
    clients = Clients(a_route(targets))
    counts = []
    for _ in range(11):
        clients.now += 60.0  # so that a failure is news, and no verdict
        for _ in range(5):
            clients.ask(GOOD)
        counts.append(calls_in(lambda: clients.ask(events)))

    calls = median(counts)

    assert 0 < calls <= calls_max
