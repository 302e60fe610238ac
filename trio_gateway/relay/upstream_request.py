"""One attempt's way over the network: from the dial to its commit point or its failure.

Whatever goes wrong on this way is an event for the engine. An attempt owns the stream
that was opened for it, and closes it unless its answer is still to be read.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import trio

from trio_gateway.failover.commands import Dial
from trio_gateway.failover.events import AttemptFailed, Opened
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.policy.route import CommitPoint, Target
from trio_gateway.providers.base import Provider
from trio_gateway.providers.table import provider_for
from trio_gateway.relay.alarms import Alarms
from trio_gateway.relay.leash import Leash
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
from trio_gateway.relay.port import Call, Upstream, UpstreamStream, WallClock
from trio_gateway.relay.recording import Heard
from trio_gateway.wire.chat import ChatRequest

Fields = tuple[tuple[bytes, bytes], ...]


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
        upstream: the network.
        request: what the client asked for; without its body once no more attempt
            will be made.
        commit: when an answer may flow.
        forwarded: the client's fields that upstreams may see.
        wall_clock: for absolute dates in errors.
        alarms: when attempts are late.
    """

    upstream: Upstream
    request: ChatRequest
    commit: CommitPoint
    forwarded: Fields
    wall_clock: WallClock
    alarms: Alarms


class UpstreamRequest:
    """One attempt; to be run once, and closed in any case."""

    __slots__ = ("_asking", "_dial", "_leash", "_stream", "heard", "is_dropped", "won")

    def __init__(self, asking: Asking, dial: Dial) -> None:
        self._asking = asking
        self._dial = dial
        self._leash = Leash()
        self._stream: UpstreamStream | None = None
        self.heard: Heard | None = None  # once a head has come
        self.won: Winner | None = None  # once it has an answer
        self.is_dropped = False

    def drop(self) -> None:
        """Let `run` end, whatever it is at; nobody wants its answer."""
        self.is_dropped = True
        self._leash.cut()

    async def run(self) -> Opened | AttemptFailed | None:
        """Run to the commit point or to a failure; None if it was dropped."""
        if self.is_dropped:
            return None
        # A small request is sent without a wait: its client might have left by now.
        await trio.lowlevel.checkpoint_if_cancelled()
        alarm = self._asking.alarms.set(self._dial.commit_by, self._leash.cut)
        try:
            event = await self._open()
        finally:
            alarm.off()
        if self._leash.is_cut:
            self.won = None
            event = AttemptFailed(self._dial.attempt, self._lateness())
        if self.won is None or isinstance(self.won.opening, ReadyAnswer):
            await self.aclose()  # nothing more is wanted of the upstream
        return None if self.is_dropped else event

    async def aclose(self) -> None:
        """Close what it holds. Never waits."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _open(self) -> Opened | AttemptFailed:
        asking, dial = self._asking, self._dial
        number, account = dial.attempt, dial.target.account
        provider = provider_for(account)
        stream = await asking.upstream.open(self._call(provider))
        if isinstance(stream, Failure):
            return AttemptFailed(number, stream)
        self._stream = stream
        self.heard = heard = Heard(trio.current_time(), stream.status)
        if not is_success(stream):
            failure = await read_error(stream, provider, wall_now=asking.wall_clock())
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
            wall_now = self._asking.wall_clock()
            return provider.read_error(
                stream.status, stream.headers, b"", wall_now=wall_now
            )
        late = "first token late" if self._asking.request.is_stream else "answer late"
        status = None if stream is None else stream.status
        return Failure(FailureClass.TIMEOUT, late, status)

    def _call(self, provider: Provider) -> Call:
        target, request = self._dial.target, self._asking.request
        account = target.account
        accept = b"text/event-stream" if request.is_stream else b"application/json"
        fields = {
            b"content-type": b"application/json",
            b"accept": accept,
            b"user-agent": b"trio-gateway",
        }
        fields.update(self._asking.forwarded)
        for name, value in account.headers:
            fields[name.lower().encode("latin-1")] = value.encode("latin-1")
        fields.update(provider.credentials(account))
        return Call(
            account=account,
            path=provider.path(target),
            headers=tuple(fields.items()),
            body=request.encode(model=target.model, overrides=target.overrides),
            connect_by=self._dial.connect_by,
            leash=self._leash,
        )
