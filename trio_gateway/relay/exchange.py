"""One client's request: the loop that turns the engine's commands into awaits.

It holds no `if` about policy. Up to the commit point it performs what the engine says
and reports what happened; after it, `pump` moves the bytes. The exchange owns every
upstream stream that was opened for it and closes each once, on every path. Whoever runs
it cancels it when the client leaves, and then concludes and closes it in any case.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from typing import Final, assert_never

import trio

from trio_gateway.failover.commands import (
    Command,
    Commit,
    Dial,
    Drop,
    Refuse,
    WakeAt,
)
from trio_gateway.failover.deadlines import Wish
from trio_gateway.failover.engine import Engine, State
from trio_gateway.failover.events import (
    AnswerEnded,
    AttemptFailed,
    Called,
    ClientLeft,
    CutShort,
    Event,
    Opened,
    TimeCame,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.failover.fleet import Fleet
from trio_gateway.policy.route import Route, Target
from trio_gateway.providers.base import Provider
from trio_gateway.providers.table import provider_for
from trio_gateway.relay.admission import Admission
from trio_gateway.relay.curfew import Curfew
from trio_gateway.relay.inbox import Inbox
from trio_gateway.relay.opening import (
    Body,
    OpenAnswer,
    Opening,
    ReadyAnswer,
    body_of,
    is_success,
    read_error,
    read_opening,
    without_secrets,
)
from trio_gateway.relay.port import Call, Client, Upstream, UpstreamStream, WallClock
from trio_gateway.relay.pump import Clocks, pump, send_whole
from trio_gateway.relay.record import AttemptRecord, ExchangeRecord, Shed
from trio_gateway.relay.recording import Heard, attempt_record, outcome_of
from trio_gateway.wire.chat import ChatRequest

# Closing only frees what we hold: a TLS goodbye or a peer that stalls must not keep it.
_CLOSE_GRACE_S: Final = 1.0
# After [DONE] a well-behaved upstream ends its body at once, and its connection can be
# used again. One that does not is not worth waiting for.
_LAST_CHUNK_S: Final = 0.05


@dataclass(slots=True)
class Relay:
    """What all exchanges share: the network, the fleet's health, and where records go.

    Args:
        upstream: the network.
        fleet: the health of all targets.
        recorder: told of each exchange, once, when it is over. Must not block.
        wall_clock: seconds since 1970, for absolute dates.
        seed: makes the dice of a simulation repeatable.
        curfew: when every exchange must end.
        engine: what decides; tests give one that is watched.
    """

    upstream: Upstream
    fleet: Fleet
    recorder: Callable[[ExchangeRecord], None]
    wall_clock: WallClock
    seed: str = ""
    curfew: Curfew = field(default_factory=Curfew)
    engine: type[Engine] = Engine
    open_exchanges: dict[Hashable, Inbox] = field(default_factory=dict)

    def deliver_calls(self) -> None:
        """Pass the fleet's calls on to the exchanges that wait for them."""
        calls = self.fleet.calls
        while calls:
            inbox = self.open_exchanges.get(calls.popleft())
            if inbox is not None:
                inbox.put(Called())


@dataclass(frozen=True, slots=True)
class Winner:
    """The attempt that committed, and what it has to say."""

    attempt: int
    target: Target
    stream: UpstreamStream
    body: Body
    opening: Opening


class Exchange:
    """One request's whole life, from admission to record.

    `settle` runs up to the commit point and `deliver` after it; `conclude` and then
    `aclose` always, last, whatever happened.
    """

    def __init__(
        self, relay: Relay, route: Route, request: ChatRequest, admission: Admission
    ) -> None:
        self._relay = relay
        self._route = route
        self._request = request
        self._admission = admission
        self._engine = relay.engine(
            route,
            relay.fleet,
            Wish(
                is_stream=request.is_stream,
                max_tokens=request.max_tokens,
                choices=request.choices,
                request_bytes=request.size,
                is_client_retry=admission.is_client_retry,
                patience_s=admission.client_patience_s,
            ),
            ticket=admission.id,
            random_for=self._random_for,
        )
        self._inbox = Inbox()
        self._running: dict[int, trio.CancelScope] = {}  # attempts before their commit
        self._streams: dict[int, UpstreamStream] = {}  # what must still be closed
        self._opened: dict[int, Winner] = {}
        self._heard: dict[int, Heard] = {}
        self._winner: Winner | None = None

    @property
    def target(self) -> str | None:
        """The winner's name, else that of the last target tried."""
        if self._winner is not None:
            return self._winner.target.id
        attempts = self._engine.attempts
        return attempts[-1].target.id if attempts else None

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """What was tried so far."""
        now = trio.current_time()
        return tuple(
            attempt_record(
                attempt,
                self._heard.get(attempt.number),
                admitted_at=self._admission.started_at,
                commit_by=self._engine.deadlines.precommit_by,
                now=now,
            )
            for attempt in self._engine.attempts
        )

    async def settle(self) -> Winner | Refuse:
        """Try the targets until one reaches its commit point, or none can.

        Attempts run in a nursery that is closed before this returns: losers are gone
        by then, and only the winner's stream is left open.
        """
        self._relay.open_exchanges[self._admission.id] = self._inbox
        try:
            async with trio.open_nursery() as nursery:
                commands = self._engine.start(trio.current_time())
                while not (settled := self._perform(commands, nursery)):
                    event = await self._next_event(commands)
                    commands = self._engine.advance(event, trio.current_time())
                    self._relay.deliver_calls()
                nursery.cancel_scope.cancel()
        finally:
            del self._relay.open_exchanges[self._admission.id]
        for number in tuple(self._streams):
            if self._winner is None or number != self._winner.attempt:
                await self._close(number)
        return settled

    async def deliver(self, winner: Winner, client: Client) -> Failure | None:
        """Pass the winner's answer to the client; None when all of it was sent.

        A failure of class `interrupted` says that the answer broke and that the client
        has seen an error event; of class `cancelled`, that it stopped reading. Either
        way the response must now end uncleanly.
        """
        clocks = Clocks(
            idle_s=winner.target.timeouts.idle_s,
            client_stall_s=self._route.timeouts.client_stall_s,
            total_by=self._engine.deadlines.total_by,
            curfew=self._relay.curfew,
        )
        match winner.opening:
            case ReadyAnswer(body):
                failure = await send_whole(body, client, clocks)
            case OpenAnswer() as answer:
                failure = await pump(answer, winner.body, client, clocks)
                if failure is None:
                    with trio.move_on_after(_LAST_CHUNK_S):
                        await winner.stream.receive()
        self._engine.advance(AnswerEnded(winner.attempt, failure), trio.current_time())
        self._relay.deliver_calls()
        return failure

    def conclude(
        self,
        *,
        status: int | None,
        bytes_out: int = 0,
        detail: str | None = None,
        shed: Shed | None = None,
    ) -> None:
        """Record the exchange, once: it is over, or is being cancelled.

        Args:
            status: what the client was answered; None where it left before.
            bytes_out: how much of a body went out to it.
            detail: why, in one of our own phrases.
            shed: why it was turned away, where it was.
        """
        if self._engine.state not in (State.OVER, State.NEW):
            self._engine.advance(ClientLeft(), trio.current_time())
            self._relay.deliver_calls()
        admission = self._admission
        winner = self._engine.attempts.winner
        first_token_s = None
        if winner is not None and winner.opened_at is not None:
            first_token_s = winner.opened_at - admission.started_at
        failure = None if winner is None else winner.failure
        self._relay.recorder(
            ExchangeRecord(
                id=admission.id,
                request_id=admission.request_id,
                key=admission.key,
                org=admission.org,
                project=admission.project,
                model=self._route.slug,
                is_stream=self._request.is_stream,
                admitted_at=admission.admitted_at,
                duration_s=trio.current_time() - admission.started_at,
                first_token_s=first_token_s,
                outcome=outcome_of(winner, status=status),
                status=status,
                target=self.target,
                attempts=self.attempts,
                bytes_out=bytes_out,
                detail=detail or (failure.cause if failure else None),
                winner=None if winner is None else winner.number,
                shed=shed,
            )
        )

    async def aclose(self) -> None:
        """Close what is still open, within a bound, even while being cancelled."""
        for number in tuple(self._streams):
            await self._close(number)

    # Performing commands

    def _perform(
        self, commands: tuple[Command, ...], nursery: trio.Nursery
    ) -> Winner | Refuse | None:
        """Do what the engine says; return what the exchange has come to, if it has."""
        for command in commands:
            match command:
                case Dial():
                    nursery.start_soon(self._attempt, command)
                case Drop(number):
                    self._drop(number)
                case WakeAt():
                    pass  # `_next_event` keeps it
                case Commit(number):
                    self._winner = self._opened[number]
                    return self._winner
                case Refuse():
                    return command
                case _:
                    assert_never(command)
        return None

    def _drop(self, number: int) -> None:
        scope = self._running.pop(number, None)
        if scope is not None:
            scope.cancel()
        else:
            # It has reported in this very instant: that news is void.
            self._inbox.forget(number)
            self._opened.pop(number, None)

    async def _next_event(self, commands: tuple[Command, ...]) -> Event:
        alarm_at = inf
        for command in commands:
            if isinstance(command, WakeAt):
                alarm_at = command.at
        curfew = self._relay.curfew
        with curfew.until(alarm_at):
            return await self._inbox.get()
        return CutShort() if curfew.has_come else TimeCame()

    async def _attempt(self, dial: Dial) -> None:
        """Run one attempt to its commit point or its failure; report it as an event."""
        number = dial.attempt
        self._running[number] = scope = trio.CancelScope(deadline=dial.commit_by)
        event: Event | None = None
        with scope:
            event = await self._open(dial)
        if event is None:
            event = AttemptFailed(number, self._lateness(dial))
        winner = self._opened.get(number)
        if winner is None or isinstance(winner.opening, ReadyAnswer):
            await self._close(number)  # nothing more is wanted of the upstream
        if self._running.pop(number, None) is not None:
            self._inbox.put(event)

    def _lateness(self, dial: Dial) -> Failure:
        """What its hard limit found an attempt doing."""
        stream = self._streams.get(dial.attempt)
        if stream is not None and not is_success(stream):
            # Its head says what it is, though its body never came.
            provider = provider_for(dial.target.account)
            wall_now = self._relay.wall_clock()
            return provider.read_error(
                stream.status, stream.headers, b"", wall_now=wall_now
            )
        late = "first token late" if self._request.is_stream else "answer late"
        status = None if stream is None else stream.status
        return Failure(FailureClass.TIMEOUT, late, status)

    async def _close(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            with trio.move_on_after(_CLOSE_GRACE_S, shield=True):
                await stream.aclose()

    async def _open(self, dial: Dial) -> Event:
        number, target = dial.attempt, dial.target
        provider = provider_for(target.account)
        stream = await self._relay.upstream.open(self._call(dial, provider))
        if isinstance(stream, Failure):
            return AttemptFailed(number, stream)
        self._streams[number] = stream
        self._heard[number] = heard = Heard(trio.current_time(), stream.status)
        if not is_success(stream):
            wall_now = self._relay.wall_clock()
            failure = await read_error(stream, provider, wall_now=wall_now)
            return AttemptFailed(number, without_secrets(failure, target.account))
        opening: Opening | Failure
        body = body_of(stream)
        if isinstance(body, Failure):
            opening = body
        else:
            heard.body = body
            opening = await read_opening(
                body, self._request, provider, self._route.commit, idle_s=dial.idle_s
            )
        if isinstance(opening, Failure):
            status = opening.status or stream.status
            failure = replace(opening, status=status)
            return AttemptFailed(number, without_secrets(failure, target.account))
        assert isinstance(body, Body)
        self._opened[number] = Winner(number, target, stream, body, opening)
        return Opened(number)

    def _call(self, dial: Dial, provider: Provider) -> Call:
        target, request = dial.target, self._request
        account = target.account
        accept = b"text/event-stream" if request.is_stream else b"application/json"
        fields = {
            b"content-type": b"application/json",
            b"accept": accept,
            b"user-agent": b"trio-gateway",
        }
        fields.update(self._admission.forwarded)
        for name, value in account.headers:
            fields[name.lower().encode("latin-1")] = value.encode("latin-1")
        fields.update(provider.credentials(account))
        return Call(
            account=account,
            path=provider.path(target),
            headers=tuple(fields.items()),
            body=request.encode(model=target.model, overrides=target.overrides),
            connect_by=dial.connect_by,
        )

    def _random_for(self, actor: str) -> Random:
        return Random(f"{self._relay.seed}/{self._admission.id}/{actor}")
