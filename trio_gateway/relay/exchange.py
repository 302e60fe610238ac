"""One client's request: what turns the engine's commands into awaits.

It holds no `if` about policy. Up to the commit point it performs what the engine says
and reports what happened; after it, `pump` moves the bytes. The exchange owns every
attempt that was made for it and closes each, on every path. Whoever runs it cancels it
when the client leaves, and then concludes and closes it in any case.

Most exchanges make one attempt at a time. So attempts run in the exchange's own task,
one after the other; only one that is wanted beside another gets a task. Meanwhile news
comes from outside, as alarms and as calls of the fleet: the engine never waits, so its
decision is taken and performed at once, in the task of whoever brings the news.
"""

from functools import partial
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
from trio_gateway.failover.engine import State
from trio_gateway.failover.events import (
    AnswerEnded,
    ClientLeft,
    CutShort,
    Event,
    TimeCame,
)
from trio_gateway.failover.failures import Failure
from trio_gateway.policy.route import Route
from trio_gateway.relay.admission import Admission
from trio_gateway.relay.alarms import Alarm
from trio_gateway.relay.late_nursery import LateNursery
from trio_gateway.relay.opening import OpenAnswer, ReadyAnswer
from trio_gateway.relay.port import Client
from trio_gateway.relay.pump import STALLED, Clocks, pieces, pump
from trio_gateway.relay.record import AttemptRecord, ExchangeRecord, Shed
from trio_gateway.relay.recording import Heard, attempt_record, outcome_of
from trio_gateway.relay.relay import Relay
from trio_gateway.relay.upstream_request import Asking, UpstreamRequest, Winner
from trio_gateway.wire.chat import ChatRequest

# After [DONE] a well-behaved upstream ends its body at once, and its connection can be
# used again. One that does not is not worth waiting for.
_LAST_CHUNK_S: Final = 0.05
# An answer may be read slowly, and a prompt may be megabytes. A whole answer is mostly
# gone at once: to let go of a prompt that is no longer than this is not worth it.
_PROMPT_BYTES: Final = 64 * 1024


class Exchange:
    """One request's whole life, from admission to record.

    `settle` runs up to the commit point and `deliver` after it; `conclude` and then
    `aclose` always, last, whatever happened. Nothing that it holds points back at it by
    then: a prompt of megabytes must not wait for the garbage collector.
    """

    __slots__ = (
        "_admission",
        "_alarm",
        "_asking",
        "_broken_after",
        "_crash",
        "_curfew_alarm",
        "_engine",
        "_has_stalled",
        "_is_settling",
        "_others",
        "_own",
        "_relay",
        "_requests",
        "_settled",
        "_wake",
        "route",
    )

    _alarm: Alarm | None
    _curfew_alarm: Alarm | None

    def __init__(
        self, relay: Relay, route: Route, request: ChatRequest, admission: Admission
    ) -> None:
        self._relay = relay
        self.route = route
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
            random_for=partial(_random_for, relay.seed, admission.id),
        )
        self._asking = Asking(relay, request, route.commit, admission.forwarded)
        self._requests: dict[int, UpstreamRequest] = {}  # by the attempt's number
        self._own: UpstreamRequest | None = None  # that this exchange's own task runs
        self._has_stalled = False  # the client, with a whole answer before it
        self._broken_after: str | None = None  # an answer that was whole by then
        self._is_settling = False  # news mean something
        self._others: LateNursery | None = None  # once there is a second attempt
        self._alarm = self._curfew_alarm = None
        self._settled: Winner | Refuse | None = None
        self._wake: trio.Event | None = None  # if this exchange's own task waits
        self._crash: Exception | None = None

    @property
    def target(self) -> str | None:
        """The winner's name, else that of the last target tried."""
        if isinstance(self._settled, Winner):
            return self._settled.target.id
        attempts = self._engine.attempts
        return attempts[-1].target.id if attempts else None

    @property
    def attempts_made(self) -> int:
        """How many attempts were tried so far."""
        return len(self._engine.attempts)

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """What was tried so far."""
        return self._attempts_until(trio.current_time())

    def _attempts_until(self, now: float) -> tuple[AttemptRecord, ...]:
        records = [
            attempt_record(
                attempt,
                self._heard_by(attempt.number),
                admitted_at=self._admission.started_at,
                commit_by=self._engine.deadlines.precommit_by,
                now=now,
            )
            for attempt in self._engine.attempts
        ]
        return tuple(records)

    def _heard_by(self, number: int) -> Heard | None:
        request = self._requests.get(number)  # none, if a bug kept it from being made
        return None if request is None else request.heard

    async def settle(self) -> Winner | Refuse:
        """Try the targets until one reaches its commit point, or none can.

        When this returns, nothing of the attempts is left but the winner's stream.
        """
        relay = self._relay
        self._is_settling = True
        relay.open_exchanges[self._admission.id] = self._hear
        relay.curfew.waits.add(self)
        if relay.curfew.by < inf:
            self.heed(relay.curfew.by)
        try:
            self._perform(self._engine.start(trio.current_time()))
            while self._settled is None:
                if self._own is not None:
                    await self._attempt(self._own)
                else:
                    await self._wait_for_news()
                if self._crash is not None:
                    raise self._crash
        finally:
            # What the others still have to say must not begin anything any more.
            self._is_settling = False
            del relay.open_exchanges[self._admission.id]
            relay.curfew.waits.discard(self)
            self._set_alarm(inf)
            if self._curfew_alarm is not None:
                self._curfew_alarm.off()
            if self._others is not None:
                await self._others.aclose()
                self._others = None  # which points back at this
        if self._crash is not None:
            raise self._crash  # from one that was being closed
        for request in self._requests.values():
            if request.won is not self._settled:
                await request.aclose()
        return self._settled

    async def deliver(self, winner: Winner, client: Client) -> Failure | None:
        """Pass the winner's answer to the client; None when all of it was sent.

        A failure of class `interrupted` says that the answer broke and that the client
        has seen an error event; of class `cancelled`, that it stopped reading. Either
        way the response must now end uncleanly. Where a whole answer is not taken in
        time, the exchange is cancelled by way of `client.abandon`.
        """
        clocks = Clocks(
            idle_s=winner.target.timeouts.idle_s,
            client_stall_s=self.route.timeouts.client_stall_s,
            total_by=self._engine.deadlines.total_by,
            curfew=self._relay.curfew,
            alarms=self._relay.alarms,
        )
        match winner.opening:
            case ReadyAnswer(body):
                if self._asking.request.size > _PROMPT_BYTES:
                    self._asking.request = self._asking.request.without_body()
                failure = None
                await self._send_whole(body, client, clocks)
            case OpenAnswer() as answer:
                self._asking.request = self._asking.request.without_body()
                failure = await pump(answer, winner.body, client, clocks)
                self._broken_after = answer.passage.broken_after
                if failure is None:
                    with trio.move_on_after(_LAST_CHUNK_S):
                        await winner.stream.receive()
        self._engine.advance(AnswerEnded(winner.attempt, failure), trio.current_time())
        self._relay.deliver_calls()
        return failure

    async def _send_whole(self, body: bytes, client: Client, clocks: Clocks) -> None:
        """Send an answer that is here in full; a client that takes none is left."""
        abandon = partial(self._abandon, client)
        since = now = trio.current_time()
        *before, last = pieces(body)
        for piece in before:
            alarm = self._relay.alarms.set(clocks.taken_by(now, since), abandon)
            try:
                await client.send(piece)
            finally:
                alarm.off()
            now = trio.current_time()
        alarm = self._relay.alarms.set(clocks.taken_by(now, since), abandon)
        try:
            await client.finish(last)
        finally:
            alarm.off()

    def _abandon(self, client: Client) -> None:
        self._has_stalled = True
        client.abandon()

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
        now = trio.current_time()
        if self._engine.state not in (State.OVER, State.NEW):
            event: Event = ClientLeft()
            if self._has_stalled and isinstance(self._settled, Winner):
                event = AnswerEnded(self._settled.attempt, STALLED)
            self._engine.advance(event, now)
            self._relay.deliver_calls()
        admission = self._admission
        winner = self._engine.attempts.winner
        first_token_s = None
        if winner is not None and winner.opened_at is not None:
            first_token_s = winner.opened_at - admission.started_at
        failure = None if winner is None else winner.failure
        if failure is not None:
            detail = detail or failure.cause
        elif self._broken_after is not None:
            detail = detail or f"{self._broken_after}, after its last word"
        self._relay.recorder(
            ExchangeRecord(
                id=admission.id,
                request_id=admission.request_id,
                key=admission.key,
                org=admission.org,
                project=admission.project,
                model=self.route.slug,
                is_stream=self._asking.request.is_stream,
                admitted_at=admission.admitted_at,
                duration_s=now - admission.started_at,
                first_token_s=first_token_s,
                outcome=outcome_of(winner, status=status),
                status=status,
                target=self.target,
                attempts=self._attempts_until(now),
                bytes_out=bytes_out,
                detail=detail,
                winner=None if winner is None else winner.number,
                shed=shed,
            )
        )

    async def aclose(self) -> None:
        """Close what is still open. Never waits."""
        for request in self._requests.values():
            await request.aclose()

    # News, and what the engine says to it

    def heed(self, curfew_by: float) -> None:
        """Settle by then, with a refusal where nothing else has come."""
        if self._curfew_alarm is not None:
            self._curfew_alarm.off()
        ring = partial(self._hear, CutShort())
        self._curfew_alarm = self._relay.alarms.set(curfew_by, ring)

    def _tell(self, event: Event) -> None:
        """Let the engine decide, and do what it says."""
        if self._is_settling and self._settled is None:
            self._perform(self._engine.advance(event, trio.current_time()))
            self._relay.deliver_calls()

    def _hear(self, event: Event) -> None:
        """Be told by somebody else, who is not to blame for what goes wrong here."""
        try:
            self._tell(event)
        except Exception as error:  # noqa: BLE001 - it is raised in our own task
            self._note_crash(error)

    def _note_crash(self, error: Exception) -> None:
        self._crash = error
        for request in self._requests.values():
            request.drop()
        self._wake_up()

    def _perform(self, commands: tuple[Command, ...]) -> None:
        alarm_at = inf
        for command in commands:
            match command:
                case Dial():
                    self._start(command)
                case Drop(number):
                    self._requests[number].drop()
                case WakeAt(at):
                    alarm_at = at
                case Commit(number):
                    self._settled = self._requests[number].won
                    self._wake_up()
                case Refuse():
                    self._settled = command
                    self._wake_up()
                case _:
                    assert_never(command)
        self._set_alarm(alarm_at)

    def _start(self, dial: Dial) -> None:
        request = UpstreamRequest(self._asking, dial)
        self._requests[dial.attempt] = request
        if self._own is None:
            self._own = request
            self._wake_up()
        else:
            if self._others is None:
                self._others = LateNursery(self._note_crash)
            self._others.start_soon(partial(self._attempt, request))

    def _set_alarm(self, at: float) -> None:
        alarm = self._alarm
        if alarm is not None:
            if alarm.at == at and alarm.ring is not None:
                return
            alarm.off()
            self._alarm = None
        if at < inf:
            self._alarm = self._relay.alarms.set(at, partial(self._hear, TimeCame()))

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set()

    async def _wait_for_news(self) -> None:
        """Wait in this exchange's own task, while others run or all wait in line."""
        self._wake = trio.Event()
        await self._wake.wait()
        self._wake = None

    async def _attempt(self, request: UpstreamRequest) -> None:
        """Make an attempt, in this exchange's own task or beside it."""
        event = await request.run()
        if request is self._own:
            self._own = None  # before the engine may want the next one
        if event is not None:
            self._tell(event)


def _random_for(seed: str, exchange_id: str, actor: str) -> Random:
    return Random(f"{seed}/{exchange_id}/{actor}")
