"""The whole gateway in a simulated world: real bytes, virtual time.

Who composes the gateway takes `policy`, `connect`, `engine` and `record` from here and
gives `drive` the door at which connections are served. Everything between a client's
first byte and a provider's last is then the production code; only the network, the
clock and the weather are ours. What is counted is what the simulator counts, so the two
depths can be held against each other.
"""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from hashlib import sha256
from typing import Final

import trio

from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.scenarios.visitors import Visitors
from trio_gateway.chaos.scenarios.wire_clients import KEY, Answered, ask, ticket_of
from trio_gateway.chaos.scenarios.wire_targets import PORT, Wanted, WireTarget
from trio_gateway.chaos.scenarios.witness import Witness
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.simulation.crowd import Question
from trio_gateway.chaos.simulation.history import WatchedEngine
from trio_gateway.chaos.simulation.tally import Result, Tally
from trio_gateway.chaos.worlds.supply import opens_at_token
from trio_gateway.failover.commands import Command, Dial, RefusalKind
from trio_gateway.failover.engine import Engine
from trio_gateway.failover.events import AnswerEnded, AttemptFailed, Event
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import (
    AccessKey,
    Policy,
    ProviderKind,
    Route,
    Target,
)
from trio_gateway.relay.record import ExchangeRecord, Outcome

# One way, for every connection. The simulator's targets are as near as their first
# tokens say; this only keeps things that follow each other from happening at once.
LATENCY_S: Final = 0.0002

_GATEWAY: Final = "gateway.simulated"
_TICK_S: Final = 1.0
# A record may come a moment after its client has read the last byte.
_LAST_RECORDS_S: Final = 10.0

Door = Callable[[trio.abc.Stream], Awaitable[None]]


class Wire:
    """One run of one world, in bytes.

    Args:
        setting: the world, and what is behind its effects.
        policy: what the gateway is to serve; `self.policy` is to be used instead, whose
            targets are found in this network.
        seed: of all dice.
        witness: is shown each exchange when it is over.
    """

    def __init__(
        self, setting: Setting, policy: Policy, *, seed: int, witness: Witness
    ) -> None:
        self._world = setting.world
        self._witness = witness
        self._seed = seed
        self._network = MemoryNetwork(latency_s=LATENCY_S)
        self._questions: dict[str, Question] = {}
        self._engines: dict[Hashable, WatchedEngine] = {}
        self._live: set[tuple[Hashable, int]] = set()
        hosts = {
            target.id: f"t{number}.simulated"
            for number, target in enumerate(setting.targets)
        }
        self.policy = _moved(policy, hosts)
        self.tally = Tally(str(seed), setting.world.duration_s)
        self._routes = {
            route.slug: self.policy.routes[route.slug] for route in self._world.routes
        }
        for slug in self._routes:
            self.tally.route(slug)
        self._targets = {
            hosts[target.id]: WireTarget(
                target, hosts[target.id], setting, seed=seed, wanted=self._wanted
            )
            for target in setting.targets
        }
        self.engine = _seen_by(self)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Connect to a provider: the gateway's `relay.port.Connect`."""
        assert port == PORT
        return await self._targets[host].connect(self._network)

    async def drive(self, door: Door, fleet: Fleet) -> Result:
        """Let everything happen, and say what has come of it.

        Args:
            door: serves one connection, until it ends.
            fleet: the gateway's.
        """
        async with trio.open_nursery() as nursery:
            for wire_target in self._targets.values():
                listener = self._network.listen(wire_target.host, PORT)
                await nursery.start(wire_target.provider.serve, [listener])
                nursery.start_soon(self._lose_connections, wire_target)
            listeners = [self._network.listen(_GATEWAY, PORT)]
            await nursery.start(trio.serve_listeners, door, listeners)
            nursery.start_soon(self._watch_breakers, fleet)
            visitors = Visitors(self._world, self._seed, self.tally, self._ask_once)
            await visitors.come()
            await self._last_records()
            nursery.cancel_scope.cancel()
        return self.tally.result()

    # Clients

    async def _ask_once(self, question: Question, ticket: str) -> Answered:
        self._questions[ticket] = question
        stream = await self._network.connect(_GATEWAY, PORT)
        async with stream:
            return await ask(stream, question, ticket)

    def _wanted(self, ticket: str) -> Wanted | None:
        question = self._questions.get(ticket)
        if question is None:
            return None  # its client had gone before the request arrived
        clients = question.crowd.clients
        commit = self._routes[clients.slug].commit
        opens_at = opens_at_token(commit, is_stream=clients.is_stream)
        return Wanted(question.tokens, opens_at)

    # What the gateway does

    def saw(
        self,
        engine: WatchedEngine,
        event: Event | None,
        commands: tuple[Command, ...],
        now: float,
    ) -> None:
        """Count what an engine was told and said."""
        ticket = engine.history.ticket
        self._engines[ticket] = engine
        attempts = engine.attempts
        match event:
            case AttemptFailed(number, failure):
                tally = self.tally.target(attempts[number - 1].target.id)
                tally.failures[failure.kind] += 1
            case AnswerEnded(number, failure) if failure is not None:
                tally = self.tally.target(attempts[number - 1].target.id)
                tally.failures[failure.kind] += 1
            case _:
                pass
        for command in commands:
            if isinstance(command, Dial):
                tally = self.tally.target(command.target.id)
                self.tally.dialled(tally, now, is_first=command.attempt == 1)
                self._live.add((ticket, command.attempt))
        for attempt in attempts:
            if not attempt.is_alive and (ticket, attempt.number) in self._live:
                self._live.discard((ticket, attempt.number))
                self.tally.target(attempt.target.id).live -= 1

    def record(self, record: ExchangeRecord) -> None:
        """Take an exchange's record: the gateway's recorder."""
        engine = self._engines.pop(record.id, None)
        ticket = ticket_of(record.request_id)
        question = self._questions.pop(ticket, None)
        for target in self._targets.values():
            target.forget(ticket)
        if question is None:
            return
        # Who is turned away at the door has not been asked for a model.
        slug, now = question.crowd.clients.slug, trio.current_time()
        if engine is None:
            if record.outcome is Outcome.REFUSED:
                self.tally.refused(slug, RefusalKind.UNAVAILABLE)
            return
        engine.history.ticket = ticket
        began_at = engine.history.steps[0].at
        winner = engine.attempts.winner
        if winner is not None and winner.opened_at is not None:
            self.tally.opened(
                slug,
                first_token_s=winner.opened_at - began_at,
                wait_s=winner.opened_at - question.asked_at,
            )
        refuse = engine.watch.refusal
        if record.outcome is Outcome.REFUSED and refuse is not None:
            self.tally.refused(slug, refuse.kind)
        self.tally.over(slug, ticket, began_at, now, engine, record.outcome)
        self._witness.over(engine, record.outcome)

    async def _lose_connections(self, target: WireTarget) -> None:
        """Whoever goes down takes along the connections that wait for reuse."""
        for at_s in target.falls(self._world.duration_s):
            await trio.sleep_until(at_s)
            target.provider.lose()

    async def _last_records(self) -> None:
        with trio.move_on_after(_LAST_RECORDS_S):
            while self._engines:  # noqa: ASYNC110 - a recorder sets no event
                await trio.sleep(LATENCY_S)

    async def _watch_breakers(self, fleet: Fleet) -> None:
        targets = {
            target.id: target
            for route in self._routes.values()
            for target in (*route.targets, *route.context_chain)
        }
        while True:
            now = trio.current_time()
            for target in targets.values():
                state = fleet.health(target, now).breaker.state(now)
                tally = self.tally.target(target.id)
                if state is not tally.state:
                    self.tally.changed(tally, state, now)
            await trio.sleep(_TICK_S)


def _seen_by(wire: Wire) -> type[Engine]:
    """A watched engine's class, whose objects also show themselves to a wire."""

    class SeenEngine(WatchedEngine):
        """Tells of every step."""

        def start(self, now: float) -> tuple[Command, ...]:
            """As `Engine.start`."""
            commands = super().start(now)
            wire.saw(self, None, commands, now)
            return commands

        def advance(self, event: Event, now: float) -> tuple[Command, ...]:
            """As `Engine.advance`."""
            commands = super().advance(event, now)
            wire.saw(self, event, commands, now)
            return commands

    return SeenEngine


def _moved(policy: Policy, hosts: dict[str, str]) -> Policy:
    """The policy with its targets in the simulated network, and one access key."""

    def target(old: Target) -> Target:
        host = hosts.get(old.id, "nowhere.simulated")
        # Azure's address is without a path: what follows depends on the deployment.
        path = "" if old.account.kind is ProviderKind.AZURE else "/v1"
        account = replace(
            old.account, base_url=f"http://{host}{path}", proxy=None, authorities=None
        )
        return replace(old, account=account)

    def route(old: Route) -> Route:
        return replace(
            old,
            tiers=tuple(tuple(map(target, tier)) for tier in old.tiers),
            context_chain=tuple(map(target, old.context_chain)),
        )

    key = AccessKey("simulated", sha256(KEY.encode()).digest())
    routes = {slug: route(old) for slug, old in policy.routes.items()}
    return replace(policy, routes=routes, access_keys=(key,))
