"""A scenario's targets as providers in memory, with the luck that decisions would draw.

Each target has a host of its own. What it does with a request is drawn from the same
dice as in the simulator, by the request's name, and played in real bytes; what happens
to a connection before there is a request, by the connection's number.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import trio

from trio_gateway.chaos.network import MemoryNetwork
from trio_gateway.chaos.provider.server import House, Room, SimulatedProvider
from trio_gateway.chaos.scenarios.worlds import Setting
from trio_gateway.chaos.vocabulary.answers import (
    Asked,
    ChatRequest,
    Dialect,
    Pace,
    Voice,
    completion,
    plain_script,
    stream_events,
)
from trio_gateway.chaos.vocabulary.script import (
    Behaviour,
    Ending,
    Overtaken,
    Pause,
    Refusal,
    Script,
    Send,
    Step,
)
from trio_gateway.chaos.worlds.onsets import onset_of, striking
from trio_gateway.chaos.worlds.outline import Answers, Fails, Hangs, Outline
from trio_gateway.chaos.worlds.supply import DrawnSupply, draws
from trio_gateway.chaos.worlds.world import Shrinks, Spell
from trio_gateway.policy.route import ProviderKind, Target

PORT: Final = 80

# An answer's bytes come in so many pieces at most: what a piece costs is the same
# whatever it holds, and no policy asks how many there are after the commit point.
CHUNKS_MAX: Final = 20

_AT_CONNECT: Final = (
    Refusal.CONNECT_REFUSED,
    Refusal.NAME_UNKNOWN,
    Refusal.CONNECT_HANG,
)
_CLOSE: Final = ("connection", "close")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a target must know of a question, which its bytes do not say."""

    tokens: int
    opens_at_token: int


class WireTarget:
    """One target, behind a host.

    Args:
        target: which.
        host: where it is found.
        setting: the world that it is in.
        seed: of the dice of its connections.
        wanted: what a ticket wants; None where its exchange is over.
    """

    def __init__(
        self,
        target: Target,
        host: str,
        setting: Setting,
        *,
        seed: int,
        wanted: Callable[[str], Wanted | None],
    ) -> None:
        spec = setting.world.targets[target.id]
        at_connect = tuple(
            s for s in spec.spells if setting.behind[s.effect] in _AT_CONNECT
        )
        later = tuple(spell for spell in spec.spells if spell not in at_connect)
        self.target = target
        self.host = host
        self._behind = setting.behind
        self._at_connect = at_connect
        self._onsets = striking(spec.spells)
        self._supply = DrawnSupply(replace(spec, spells=later, capacity=None))
        self._wanted = wanted
        self._turns: Counter[str] = Counter()
        self._connections = 0
        self._seed = seed
        is_azure = target.account.kind is ProviderKind.AZURE
        shrinks = tuple(spell for spell in later if isinstance(spell.effect, Shrinks))
        room = None if spec.capacity is None else Room(spec.capacity, shrinks)
        house = House(
            dialect=Dialect.AZURE if is_azure else Dialect.OPENAI,
            models=(target.model,),
            room=room,
        )
        self.provider = SimulatedProvider(self._behave, house=house)
        self._asked = Asked(model=target.model, is_stream=True)
        voice = Voice(target.id, pace=Pace(tokens=CHUNKS_MAX))
        self._events = stream_events(self._asked, voice)
        self._whole = completion(replace(self._asked, is_stream=False), voice)

    async def connect(self, network: MemoryNetwork) -> trio.abc.Stream:
        """Make a connection, if the weather lets it be made.

        Raises:
            OSError: it does not.
        """
        self._connections += 1
        name = f"{self._seed}/{self.target.id}/connect/{self._connections}"
        spell = self._struck(draws(name)[0])
        if spell is not None:
            what = self._behind[spell.effect]
            if what is Refusal.CONNECT_HANG:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()
            if what is Refusal.NAME_UNKNOWN:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            raise ConnectionRefusedError(f"{self.host} refuses connections")
        return await network.connect(self.host, PORT)

    def falls(self, until_s: float) -> Iterator[float]:
        """Each instant before `until_s` at which it goes down for everybody."""
        for spell in self._at_connect:
            at_s, end_s = spell.from_s, min(spell.until_s, until_s)
            while spell.share >= 1.0 and at_s < end_s:
                yield at_s
                at_s = inf if spell.flaps is None else at_s + sum(spell.flaps)

    def forget(self, ticket: str) -> None:
        """An exchange is over."""
        del self._turns[ticket]

    def _struck(self, luck: float) -> Spell | None:
        now = trio.current_time()
        for spell in self._at_connect:
            if spell.is_on(now):
                if luck < spell.share:
                    return spell
                luck -= spell.share
        return None

    def _behave(self, request: ChatRequest, _: int) -> Behaviour | Overtaken:
        now = trio.current_time()
        if any(spell.share >= 1.0 and spell.is_on(now) for spell in self._at_connect):
            return Refusal.RESET  # a connection from before, to what is gone
        said = json.loads(request.body)
        ticket = said["user"]
        wanted = self._wanted(ticket)
        if wanted is None:
            return Refusal.CLOSE  # nobody waits for it any more
        self._turns[ticket] += 1
        name = f"{ticket}/{self.target.id}/{self._turns[ticket]}"
        outline = self._supply.outline(
            name,
            tokens=wanted.tokens,
            opens_at_token=wanted.opens_at_token,
            now=now,
        )
        played = self._played(outline, wanted, is_stream=said.get("stream") is True)
        if isinstance(played, Script) and any(s.is_on(now) for s in self._at_connect):
            # Each attempt connects anew, so that each may be struck.
            played = replace(played, headers=(*played.headers, _CLOSE))
        onset = onset_of(self._onsets, name, after_s=now)
        return played if onset is None else Overtaken(_with_early_head(played), onset)

    def _played(
        self, outline: Outline, wanted: Wanted, *, is_stream: bool
    ) -> Behaviour:
        match outline:
            case Answers() if is_stream:
                return self._stream(outline, wanted)
            case Answers(_, ends_s, None):
                return plain_script(self._whole, head_after_s=ends_s)
            case Answers(_, ends_s):
                return replace(
                    plain_script(self._whole[: len(self._whole) // 2]),
                    head_after_s=ends_s,
                    ending=Ending.RESET,
                )
            case Hangs():
                return Refusal.SILENCE
            case Fails(_, after_s):
                behind = self._behind.get(outline)
                if isinstance(behind, Script | Refusal):
                    return behind
                # It broke before its commit point.
                steps: tuple[Step, ...] = (Send(self._events.roles[0]), Pause(after_s))
                head = ("content-type", "text/event-stream")
                return Script(headers=(head,), steps=steps, ending=Ending.RESET)

    def _stream(self, answer: Answers, wanted: Wanted) -> Script:
        """Tokens one by one up to the commit point, then in as many pieces as fit."""
        pieces = max(1, min(wanted.tokens, CHUNKS_MAX))
        first = min(wanted.opens_at_token, pieces)
        rest = pieces - first
        opens_s, ends_s = answer.opens_s, answer.ends_s
        times = [opens_s * (number + 1) / first for number in range(first)]
        times += [
            opens_s + (ends_s - opens_s) * (number + 1) / rest for number in range(rest)
        ]
        at_s = times[0]
        steps: list[Step] = [Send(self._events.roles[0] + self._events.tokens[0])]
        for number, time in enumerate(times[1:], 1):
            steps += [Pause(time - at_s), Send(self._events.tokens[number])]
            at_s = time
        ending = Ending.RESET
        if answer.breaks is None:
            steps.append(Send(b"".join(self._events.tail)))
            ending = Ending.CLEAN
        return Script(
            headers=(("content-type", "text/event-stream; charset=utf-8"),),
            head_after_s=times[0],
            steps=tuple(steps),
            ending=ending,
        )


def _with_early_head(played: Behaviour) -> Behaviour:
    """Send a stream's head at once, as `stage` does, so that a break is one inside it.

    Else it would be asked for again where its connection was used before.
    """
    if not isinstance(played, Script) or played.declared_length is not None:
        return played
    wait = Pause(played.head_after_s)
    return replace(played, head_after_s=0.0, steps=(wait, *played.steps))
