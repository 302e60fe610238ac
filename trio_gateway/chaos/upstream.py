"""The in-memory upstream: plays scripts behind the port, without a byte of HTTP.

It runs on Trio's clock, so under an autojump clock a script of hours takes no time. It
keeps a log of what was opened, delivered and closed, which is what tests of the relay
ask about.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

import trio

from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Pause,
    Refusal,
    Script,
)
from trio_gateway.failover.failures import Failure, FailureClass
from trio_gateway.relay.port import Call

# To whoever has cut the leash, and asks for no reason.
_CUT: Final = Failure(FailureClass.INTERRUPTED, "let go of")

# The log forgets its oldest calls beyond this: a day of simulated traffic must not stay
# in memory, and no test looks at more.
CALLS_MAX: Final = 10_000


class CallState(Enum):
    """What has become of a call."""

    OPENING = "opening"  # no head yet
    OPEN = "open"  # the stream is with the caller
    CLOSED = "closed"  # the caller has closed it
    FAILED = "failed"  # there was no head, and the caller was told so
    CANCELLED = "cancelled"  # the caller left before the head


@dataclass(slots=True, eq=False)
class SeenCall:
    """One call and what has become of it so far. Times are on Trio's clock.

    The one value here that changes: it is a log that is read while it is written.
    """

    call: Call
    opened_at: float  # when it was asked for
    head_at: float | None = None
    closed_at: float | None = None  # closed, failed or cancelled
    bytes_delivered: int = 0
    is_read_to_end: bool = False  # by its clean end, or by its break
    closes: int = 0  # a caller that owns its stream closes it once
    state: CallState = CallState.OPENING


class ScriptedUpstream:
    """An `Upstream` that does with each call what it is told to."""

    def __init__(self, behave: Callable[[Call], Behaviour]) -> None:
        self._behave = behave
        self.calls: deque[SeenCall] = deque(maxlen=CALLS_MAX)

    @classmethod
    def by_account(
        cls, behaviours: Mapping[str, Sequence[Behaviour]]
    ) -> "ScriptedUpstream":
        """Play each account's behaviours in turn; the last one is played for ever."""
        served = dict.fromkeys(behaviours, 0)

        def behave(call: Call) -> Behaviour:
            turns = behaviours[call.account.name]
            turn = served[call.account.name]
            served[call.account.name] = turn + 1
            return turns[min(turn, len(turns) - 1)]

        return cls(behave)

    @property
    def left_open(self) -> list[SeenCall]:
        """The calls that somebody still waits for or has not closed."""
        live = (CallState.OPENING, CallState.OPEN)
        return [seen for seen in self.calls if seen.state in live]

    async def open(self, call: Call) -> "ScriptedStream | Failure":
        """Play a call's behaviour up to its head."""
        seen = SeenCall(call, opened_at=trio.current_time())
        self.calls.append(seen)
        opened: ScriptedStream | Failure = _CUT
        with trio.CancelScope() as wait:
            call.leash.hold(wait.cancel)
            try:
                opened = await self._open(seen)
            except trio.Cancelled:
                _end(seen, CallState.CANCELLED)
                raise
        if wait.cancelled_caught:
            return _CUT
        if isinstance(opened, Failure):
            _end(seen, CallState.FAILED)
        else:
            seen.state = CallState.OPEN
            seen.head_at = trio.current_time()
        return opened

    async def _open(self, seen: SeenCall) -> "ScriptedStream | Failure":
        behaviour = self._behave(seen.call)
        await trio.lowlevel.checkpoint()
        match behaviour:
            case Script():
                await trio.sleep(behaviour.head_after_s)
                return ScriptedStream(behaviour, seen)
            case Refusal.CONNECT_REFUSED:
                return Failure(FailureClass.CONNECT, "connection refused")
            case Refusal.NAME_UNKNOWN:
                return Failure(FailureClass.CONNECT, "name not resolved")
            case Refusal.CONNECT_HANG:
                await trio.sleep_until(seen.call.connect_by)
                return Failure(FailureClass.CONNECT, "not connected in time")
            case Refusal.CLOSE:
                return Failure(FailureClass.RESET, "closed without an answer")
            case Refusal.RESET:
                return Failure(FailureClass.RESET, "connection reset")
            case Refusal.SILENCE:
                return await trio.sleep_forever()
            case _:
                assert_never(behaviour)


def _end(seen: SeenCall, state: CallState) -> None:
    seen.state = state
    seen.closed_at = trio.current_time()


class ScriptedStream:
    """The body of one script, step by step, on the script's own timetable.

    A step is due so long after the head as the pauses before it say, whenever the
    reader comes for it: a slow reader does not slow its provider down.
    """

    def __init__(self, script: Script, seen: SeenCall) -> None:
        self.status = script.status
        self.headers: tuple[tuple[bytes, bytes], ...] = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in script.headers
        )
        self._steps = iter(script.steps)
        self._ending = script.ending
        self._length = script.declared_length
        self._due_at = trio.current_time()
        self._seen = seen

    def take_rest(self) -> bytes | None:
        """Know of nothing: a script is played step by step."""
        return None

    async def receive(self) -> bytes | Failure:
        """Wait for the next step that sends; then for the ending, again and again."""
        if self._seen.state is not CallState.OPEN:
            raise trio.ClosedResourceError("this stream is closed")
        with trio.CancelScope() as wait:
            self._seen.call.leash.hold(wait.cancel)
            return await self._receive()
        return _CUT

    async def _receive(self) -> bytes | Failure:
        await trio.lowlevel.checkpoint()
        if self._is_whole():
            return self._end()
        for step in self._steps:
            if isinstance(step, Pause):
                self._due_at += step.seconds
            elif step.data:
                await trio.sleep_until(self._due_at)
                return self._deliver(step.data)
        await trio.sleep_until(self._due_at)
        match self._ending:
            case Ending.CLEAN | Ending.EOF if self._length is None:
                return self._end()
            case Ending.CLEAN | Ending.EOF | Ending.CUT | Ending.UNTERMINATED:
                return self._end(Failure(FailureClass.INTERRUPTED, "body cut"))
            case Ending.RESET:
                return self._end(Failure(FailureClass.INTERRUPTED, "connection reset"))
            case Ending.HANG:
                return await trio.sleep_forever()
            case _:
                assert_never(self._ending)

    def _deliver(self, data: bytes) -> bytes:
        """Pass bytes on; what is beyond the announced length is not of this answer."""
        if self._length is not None:
            data = data[: self._length - self._seen.bytes_delivered]
        self._seen.bytes_delivered += len(data)
        return data

    def _is_whole(self) -> bool:
        """Say whether the body is as long as announced: its end needs no ending."""
        return self._length is not None and self._length <= self._seen.bytes_delivered

    def _end(self, failure: Failure | None = None) -> bytes | Failure:
        self._seen.is_read_to_end = True
        return b"" if failure is None else failure

    async def aclose(self) -> None:
        """Note that the caller has closed; closed is closed, even when cancelled."""
        self._seen.closes += 1
        if self._seen.state is CallState.OPEN:
            _end(self._seen, CallState.CLOSED)
        await trio.lowlevel.cancel_shielded_checkpoint()
