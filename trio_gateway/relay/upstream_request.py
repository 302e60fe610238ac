"""One attempt's way over the network: from the dial to its commit point or its failure.

Whatever goes wrong on this way is an event for the engine. An attempt owns the stream
that was opened for it, and closes it unless its answer is still to be read.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import trio

from trio_gateway.failover.commands import Dial, Reason
from trio_gateway.failover.deadlines import what_is_late
from trio_gateway.failover.events import AttemptFailed, Opened
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitPoint, Target
from trio_gateway.providers.base import Provider
from trio_gateway.providers.table import provider_for
from trio_gateway.relay.leash import Leash
from trio_gateway.relay.letterhead import Fields
from trio_gateway.relay.opening import (
    Body,
    Opening,
    ReadyAnswer,
    body_of,
    is_success,
    read_error,
    read_opening,
    without_secrets,
)
from trio_gateway.relay.port import Call, UpstreamStream
from trio_gateway.relay.recording import Heard
from trio_gateway.relay.relay import Relay
from trio_gateway.wire.chat import ChatRequest

_REDIAL: Final = Reason.REDIAL  # found more quickly, in Python 3.11


class Winner(NamedTuple):
    """The attempt that committed, and what it has to say."""

    attempt: int
    target: Target
    stream: UpstreamStream
    body: Body
    opening: Opening


@dataclass(slots=True)
class Asking:
    """What all attempts of one exchange have in common.

    Args:
        relay: the network, and what else all exchanges share.
        request: what the client asked for; without its body once no more attempt
            will be made.
        commit: when an answer may flow.
        forwarded: the client's fields that upstreams may see.
    """

    relay: Relay
    request: ChatRequest
    commit: CommitPoint
    forwarded: Fields


class UpstreamRequest:
    """One attempt; to be run once, and closed in any case."""

    __slots__ = ("_asking", "_dial", "_is_dropped", "_leash", "_stream", "heard", "won")

    def __init__(self, asking: Asking, dial: Dial) -> None:
        self._asking = asking
        self._dial = dial
        self._leash = Leash()
        self._stream: UpstreamStream | None = None
        self._is_dropped = False
        self.heard: Heard | None = None  # once a head has come
        self.won: Winner | None = None  # once it has an answer

    def drop(self) -> None:
        """Let `run` end, whatever it is at; nobody wants its answer."""
        self._is_dropped = True
        self._leash.cut()

    async def run(self) -> Opened | AttemptFailed | None:
        """Run to the commit point or to a failure; None if it was dropped."""
        if self._is_dropped:
            return None
        # A small request is sent without a wait: its client might have left by now.
        await trio.lowlevel.checkpoint_if_cancelled()
        alarm = self._asking.relay.alarms.set(self._dial.commit_by, self._leash.cut)
        try:
            event = await self._open()
        finally:
            alarm.off()
        if self._leash.is_cut:
            self.won = None
            event = AttemptFailed(self._dial.attempt, self._lateness())
        if self.won is None or isinstance(self.won.opening, ReadyAnswer):
            await self.aclose()  # nothing more is wanted of the upstream
        return None if self._is_dropped else event

    async def aclose(self) -> None:
        """Close what it holds. Never waits."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _open(self) -> Opened | AttemptFailed:
        asking, dial = self._asking, self._dial
        number, account = dial.attempt, dial.target.account
        provider = provider_for(account)
        stream = await asking.relay.upstream.open(self._call(provider))
        if isinstance(stream, Failure):
            return AttemptFailed(number, stream)
        self._stream = stream
        self.heard = heard = Heard(trio.current_time(), stream.status)
        if not is_success(stream):
            failure = await read_error(
                stream, provider, wall_now=asking.relay.wall_clock()
            )
            return AttemptFailed(number, without_secrets(failure, account))
        body = body_of(stream)
        if isinstance(body, Failure):
            return self._failed(body)
        heard.body = body
        opening = await read_opening(
            body, asking.request, provider, asking.commit, idle_s=dial.idle_s
        )
        if isinstance(opening, Failure):
            return self._failed(opening)
        self.won = Winner(number, dial.target, stream, body, opening)
        return Opened(number)

    def _failed(self, failure: Failure) -> AttemptFailed:
        """Say that an answer is none, and under which status it came."""
        assert self.heard is not None
        failure = replace(failure, status=failure.status or self.heard.status)
        account = self._dial.target.account
        return AttemptFailed(self._dial.attempt, without_secrets(failure, account))

    def _lateness(self) -> Failure:
        """What its hard limit found it doing."""
        stream = self._stream
        if stream is not None and not is_success(stream):
            # Its head says what it is, though its body never came.
            provider = provider_for(self._dial.target.account)
            wall_now = self._asking.relay.wall_clock()
            return provider.read_error(
                stream.status, stream.headers, b"", wall_now=wall_now
            )
        asking = self._asking
        late = what_is_late(asking.commit, is_stream=asking.request.is_stream)
        status = None if stream is None else stream.status
        return Failure(FailureClass.TIMEOUT, late, status)

    def _call(self, provider: Provider) -> Call:
        asking, target = self._asking, self._dial.target
        request, account = asking.request, target.account
        letterheads = asking.relay.letterheads
        letterhead = letterheads.of(account, is_stream=request.is_stream)
        fields = asking.forwarded
        if not letterhead.names.isdisjoint(name for name, _ in fields):
            # An operator's own word goes before a client's.
            fields = tuple(
                field for field in fields if field[0] not in letterhead.names
            )
        return Call(
            account=account,
            path=provider.path(target),
            letterhead=letterhead,
            fields=fields,
            body=request.encode(model=target.model, overrides=target.overrides),
            connect_by=self._dial.connect_by,
            leash=self._leash,
            is_redial=self._dial.reason is _REDIAL,
        )
